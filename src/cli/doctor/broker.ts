/**
 * Checks the connection to a broker step by step. A failed step ends the check, because the following steps would fail
 * too.
 */
import { lookup } from "node:dns/promises";
import { connect as connectTcp, isIP } from "node:net";
import { performance } from "node:perf_hooks";
import { connect as connectTls, type TLSSocket, type TLSSocketOptions } from "node:tls";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { type BrokerUrl, parseBrokerUrl, usualPorts } from "../../upstream/broker-url.ts";
import { refusalOf } from "../../upstream/connack.ts";
import { Credentials, type Identity } from "../../upstream/credentials.ts";
import { type UpstreamOptions, urlsOf } from "../../upstream/options.ts";
import { waysOf } from "../../upstream/presets.ts";
import { codeOf, doubtful, type Finding, messageOf, ok, wrong } from "./finding.ts";

/** Milliseconds until an answer counts as missing. A broker that works answers sooner. */
const answerMs = 5_000;
const dayMs = 86_400_000;

/** `path`: upstream, upstreams.0. `tries`: also try packets that some brokers refuse. */
export async function lookAtUpstream(path: string, options: UpstreamOptions, tries: boolean): Promise<Finding[]> {
  let credentials: Credentials;
  try {
    credentials = new Credentials(options);
  } catch (error) {
    return [wrong(path, messageOf(error), "see the lines about the configuration")];
  }
  const found: Finding[] = [];
  for (const text of urlsOf(options)) {
    const url = parseBrokerUrl(text);
    if (url) found.push(...(await lookAtBroker(`${path} ${url.shown}`, path, url, options, credentials, tries)));
  }
  return found;
}

async function lookAtBroker(
  about: string,
  path: string,
  url: BrokerUrl,
  options: UpstreamOptions,
  credentials: Credentials,
  tries: boolean,
): Promise<Finding[]> {
  const found: Finding[] = [];
  const steps = [
    () => lookAtName(about, url),
    () => lookAtPort(about, path, url, options),
    () => lookAtTls(about, path, url, options, credentials),
    () => lookAtLogIn(about, path, url, options, credentials, tries),
  ];
  for (const step of steps) {
    const findings = await step();
    found.push(...findings);
    if (findings.some(({ is }) => is === "wrong")) break;
  }
  return found;
}

async function lookAtName(about: string, { host }: BrokerUrl): Promise<Finding[]> {
  if (isIP(host) !== 0) return [];
  try {
    const addresses = await lookup(host, { all: true });
    return [ok(about, `${host} is ${addresses.map(({ address }) => address).join(", ")}`)];
  } catch (error) {
    const isUnknown = codeOf(error) === "ENOTFOUND";
    return [
      isUnknown
        ? wrong(about, `the name ${host} is not known`, `is it spelt correctly? see: getent hosts ${host}`)
        : wrong(
            about,
            `the name ${host} cannot be looked up (${codeOf(error)})`,
            "no name server answers; see: resolvectl status, cat /etc/resolv.conf",
          ),
    ];
  }
}

function lookAtPort(about: string, path: string, url: BrokerUrl, options: UpstreamOptions): Promise<Finding[]> {
  const port = url.port ?? usualPorts[url.scheme];
  const place = `${url.host}:${port}`;
  const from = performance.now();
  return new Promise((done) => {
    const socket = connectTcp({ host: url.host, port });
    const end = (finding: Finding) => {
      socket.destroy();
      done([finding]);
    };
    socket.setTimeout(options.connectTimeoutSeconds * 1_000, () =>
      end(
        wrong(
          about,
          `${place} does not answer`,
          `is there a firewall, or is it another address? see: nc -vz ${url.host} ${port}`,
        ),
      ),
    );
    socket.once("connect", () => end(ok(about, `${place} answers after ${Math.round(performance.now() - from)} ms`)));
    socket.once("error", (error) => {
      const isRefused = codeOf(error) === "ECONNREFUSED";
      end(
        isRefused
          ? wrong(
              about,
              `${place}: no program listens there`,
              `is the broker running, and on this port? Otherwise change ${path}.url`,
            )
          : wrong(about, `${place}: ${messageOf(error)}`, `see: ip route get ${url.host}; ping ${url.host}`),
      );
    });
  });
}

/** Checks the whole chain, also where the gateway would refuse at the first fault. */
function lookAtTls(
  about: string,
  path: string,
  url: BrokerUrl,
  options: UpstreamOptions,
  credentials: Credentials,
): Promise<Finding[]> {
  const tls = credentials.tlsOptions(url);
  if (!tls) return Promise.resolve([]);
  const port = url.port ?? usualPorts[url.scheme];
  const isChecked = options.tls?.verify !== "off-which-is-insecure";
  const name: { servername?: string } = isIP(url.host) === 0 ? { servername: url.host } : {};
  const wishes: TLSSocketOptions & { servername?: string } = { ...name, ...tls, rejectUnauthorized: false };
  return new Promise((done) => {
    const socket = connectTls({ ...wishes, host: url.host, port });
    const end = (findings: Finding[]) => {
      socket.destroy();
      done(findings);
    };
    socket.setTimeout(options.connectTimeoutSeconds * 1_000, () =>
      end([
        wrong(
          about,
          "TLS: no answer to the handshake",
          `does this port speak TLS? Else type "url": "${url.scheme === "wss" ? "ws" : "mqtt"}://..." in ${path}`,
        ),
      ]),
    );
    socket.once("error", (error: Error) => end([tlsFailure(about, path, error)]));
    socket.once("secureConnect", () => end(aboutCertificate(about, path, socket, isChecked)));
  });
}

function tlsFailure(about: string, path: string, error: Error): Finding {
  const code = codeOf(error);
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ECONNRESET" || code === "EPROTO")
    return wrong(
      about,
      `TLS: the other side does not speak TLS, or closed the connection at once (${code})`,
      `is this the port for TLS? Usually 8883; without TLS type mqtt:// in ${path}.url`,
    );
  return wrong(
    about,
    `TLS: ${error.message}`,
    `does the broker want a client certificate? Set ${path}.tls.cert and key`,
  );
}

function aboutCertificate(about: string, path: string, socket: TLSSocket, isChecked: boolean): Finding[] {
  const certificate = socket.getPeerCertificate();
  const fault: unknown = socket.authorizationError;
  const code = fault instanceof Error ? codeOf(fault) || fault.message : fault ? String(fault) : "";
  const until = Date.parse(certificate.valid_to);
  const day = Number.isFinite(until) ? new Date(until).toISOString().slice(0, 10) : "";
  if (code !== "" && isChecked)
    return [wrong(about, `TLS: ${inWords(code, day)}`, hintOf(code, path, certificate.subjectaltname))];
  if (!isChecked)
    return [doubtful(about, "TLS: the broker's certificate is not checked", `set ${path}.tls.ca, and delete verify`)];
  if (day === "") return [ok(about, "TLS: with a pre-shared key")];
  const said = `TLS: the certificate is trusted, has the name, and is valid until ${day}`;
  return [
    until - Date.now() < 14 * dayMs ? doubtful(about, said, "get a new certificate for the broker") : ok(about, said),
  ];
}

function inWords(code: string, day: string): string {
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return `the broker's certificate has expired (${day})`;
    case "CERT_NOT_YET_VALID":
      return "the broker's certificate is not valid yet";
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return "the broker's certificate is for another name";
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return "no trusted authority has signed the broker's certificate";
    default:
      return `the broker's certificate is not accepted (${code})`;
  }
}

function hintOf(code: string, path: string, names: string | undefined): string {
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return "get a new certificate for the broker; if the clock of this machine is wrong: sudo timedatectl set-ntp true";
    case "CERT_NOT_YET_VALID":
      return "the clock of this machine is behind: sudo timedatectl set-ntp true";
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `it has ${names ?? "no names"}: take one of them in ${path}.url, or as ${path}.tls.serverName`;
    default:
      return `set ${path}.tls.ca to a file with the certificate of the broker's authority (PEM), whole chain`;
  }
}

type Try = (client: MqttClient, topic: string, done: (taken: boolean) => void) => void;

interface Refusal {
  readonly what: string;
  readonly hint: string;
  readonly with: Try;
}

async function lookAtLogIn(
  about: string,
  path: string,
  url: BrokerUrl,
  options: UpstreamOptions,
  credentials: Credentials,
  tries: boolean,
): Promise<Finding[]> {
  const identity = await new Promise<Identity>((done) => credentials.of(undefined, url, done));
  if ("failed" in identity) return [wrong(about, identity.failed, `see ${path}.passwordCommand`)];
  const attempt = (what: Try) => once(url, options, identity, what);
  const from = performance.now();
  const first = await attempt(publishAndReceive);
  if (first.refused !== undefined)
    return [
      wrong(
        about,
        `log-in: ${first.refused}`,
        `see ${path}.username and password, and what the broker's log says of the client id "${clientIdOf(options)}"`,
      ),
    ];
  if (!first.connected)
    return [
      wrong(
        about,
        `log-in: no answer to CONNECT (${first.ended})`,
        "does this port speak MQTT? The broker's log may say why",
      ),
    ];
  const loggedIn = ok(about, "log-in: accepted");
  if (!tries) return [loggedIn];
  const found = [loggedIn];
  found.push(
    first.taken
      ? ok(about, `a test publication came back after ${Math.round(performance.now() - from)} ms`)
      : wrong(
          about,
          `a test publication under "${topicOf(options)}" did not come back`,
          "the broker's rules (ACL) do not let this user publish and subscribe there",
        ),
  );
  for (const each of refusals(path, options)) {
    const { taken } = await attempt(each.with);
    found.push(taken ? ok(about, `${each.what}: taken`) : doubtful(about, `${each.what}: not taken`, each.hint));
  }
  return found;
}

/**
 * The packets to try because some brokers refuse them. Packets that the configuration already excludes are not tried.
 */
function refusals(path: string, options: UpstreamOptions): Refusal[] {
  const { qosMax, retain, packetBytesMax } = waysOf(options);
  const bytes = Math.min(options.payloadBytesMax, packetBytesMax === undefined ? 65_535 : packetBytesMax - 1_000);
  return [
    ...(retain ? [{ what: "a retained message", hint: `set ${path}.retain to false`, with: publishRetained }] : []),
    ...(qosMax === 2 ? [{ what: "QoS 2", hint: `set ${path}.qosMax to 1`, with: publishAt(2, 8) }] : []),
    {
      what: "a subscription with wildcard",
      hint: "devices that subscribe with + or # get nothing; the broker's rules (ACL) may allow it",
      with: subscribeWildcard,
    },
    ...(bytes > 0
      ? [
          {
            what: `a message of ${bytes} octets`,
            hint: `set ${path}.packetBytesMax, or ${path}.payloadBytesMax, to what the broker accepts`,
            with: publishAt(1, bytes),
          },
        ]
      : []),
  ];
}

const publishAndReceive: Try = (client, topic, done) => {
  client.on("message", () => done(true));
  client.subscribe(topic, { qos: 0 }, (error) => {
    if (error) done(false);
    else client.publish(topic, "doctor", { qos: 1 }, (failed) => failed && done(false));
  });
};

const publishRetained: Try = (client, topic, done) => {
  client.publish(topic, "doctor", { qos: 1, retain: true }, (error) => {
    if (error) return done(false);
    client.publish(topic, "", { qos: 1, retain: true }, () => done(true)); // removes the retained message again
  });
};

function publishAt(qos: 1 | 2, bytes: number): Try {
  return (client, topic, done) => {
    client.publish(topic, Buffer.alloc(bytes), { qos }, (error) => done(!error));
  };
}

const subscribeWildcard: Try = (client, topic, done) => {
  client.subscribe(`${topic}/#`, { qos: 0 }, (error, granted) =>
    done(!error && granted?.every(({ qos }) => qos < 128) === true),
  );
};

interface Outcome {
  readonly connected: boolean;
  readonly taken: boolean;
  /** The refusal of CONNACK, in words. */
  readonly refused?: string;
  readonly ended: string;
}

function clientIdOf({ clientIdPrefix, serviceClientId }: UpstreamOptions): string {
  return `${clientIdPrefix}${serviceClientId}-doctor`;
}

function topicOf({ topicPrefix, serviceClientId }: UpstreamOptions): string {
  return `${topicPrefix}${serviceClientId}/doctor`;
}

/** A separate connection for each: a broker of MQTT 3.1.1 refuses by closing the connection. */
function once(url: BrokerUrl, options: UpstreamOptions, identity: IClientOptions, what: Try): Promise<Outcome> {
  const isV5 = options.protocol === "5";
  return new Promise((resolve) => {
    let connected = false;
    let refused: string | undefined;
    let ended = "no answer";
    const client = mqtt.connect({
      protocol: url.scheme,
      host: url.host,
      ...(url.port !== undefined && { port: url.port }),
      transformWsUrl: () => url.webSocketUrl,
      ...identity,
      clientId: clientIdOf(options),
      protocolVersion: isV5 ? 5 : 4,
      clean: true,
      connectTimeout: options.connectTimeoutSeconds * 1_000,
      reconnectPeriod: 0,
      log: () => {},
    });
    let isOver = false;
    const end = (taken: boolean) => {
      if (isOver) return; // the end of the connection is reported, too
      isOver = true;
      clearTimeout(patience);
      client.end(true, () => resolve({ connected, taken, ended, ...(refused !== undefined && { refused }) }));
    };
    const patience = setTimeout(() => end(false), options.connectTimeoutSeconds * 1_000 + answerMs);
    client.on("packetreceive", (packet) => {
      if (packet.cmd !== "connack") return;
      const code = (isV5 ? packet.reasonCode : packet.returnCode) ?? 0;
      if (code !== 0) refused = refusalOf(isV5, code).reason;
    });
    client.on("connect", () => {
      connected = true;
      what(client, topicOf(options), end);
    });
    client.on("error", (error) => {
      ended = error.message;
    });
    client.on("close", () => end(false));
  });
}
