/**
 * Checks that a schema of single fields cannot make: values that contradict each other, so that the gateway could not
 * work as configured.
 */
import { isIP } from "node:net";
import { ownIdsOf } from "../core/own-ids.ts";
import { parseBrokerUrl, usualPorts, withoutSecrets } from "../upstream/broker-url.ts";
import { globToRegExp } from "../upstream/credentials.ts";
import { defaultUrl, placesOf, type UpstreamOptions, urlsOf } from "../upstream/options.ts";
import { checkStatusTopic } from "./fleet-status.ts";
import { originOf } from "./origins.ts";
import { checkPayloads } from "./payloads.ts";
import type { GatewayConfig } from "./schema.ts";

/** Names of transports that are configured without a name. */
const defaultNames: ReadonlySet<string> = new Set(["udp", "ble", "serial", "dtls"]);

/** The problems, each with its key and what to type. */
export function crossCheck(config: GatewayConfig): string[] {
  const problems: string[] = [];
  const names = config.transports.map(({ name }) => name);
  for (const [i, name] of names.entries()) {
    if (names.indexOf(name) !== i)
      problems.push(`transports.${i}.name: "${name}" is taken by another transport; give each its own`);
  }
  const ids = (path: string, table: Readonly<Record<string, string>>) => {
    for (const id of Object.keys(table)) {
      if (Number(id) < 1 || Number(id) > 65_534)
        problems.push(`${path}.${id}: a predefined topic id is a number from 1 to 65534; take another`);
      if (Number(id) === config.topics.timeId)
        problems.push(`${path}.${id}: this id is topics.timeId, with which devices ask for the time; take another`);
    }
  };
  ids("topics.predefined", config.topics.predefined);
  for (const [clientId, table] of Object.entries(config.topics.predefinedFor))
    ids(`topics.predefinedFor.${clientId}`, table);
  const networks = (path: string, from: readonly string[] | undefined) => {
    for (const entry of from ?? []) {
      const origin = originOf(entry);
      if (!origin) {
        problems.push(
          `${path}: "${entry}" is no address, network (192.0.2.0/24) or transport (transport:udp)${meantBy(entry)}`,
        );
      }
      const place = origin?.kind === "node" ? origin.forwarder : origin;
      const transport = place?.kind === "transport" ? place.name : undefined;
      // The default values of `access` have the default names of transports. These may name a transport that is not configured.
      if (transport !== undefined && !names.includes(transport) && !defaultNames.has(transport))
        problems.push(`${path}: there is no transport "${transport}"; type one of ${namesInWords(names)}`);
    }
  };
  networks("access.site", config.access.site);
  networks("access.qosMinusOne.from", config.access.qosMinusOne.from);
  networks("access.forwarders.from", config.access.forwarders.from);
  for (const [i, rule] of config.access.rules.entries()) networks(`access.rules.${i}.from`, rule.from);
  for (const [i, { transports }] of config.retry.rules.entries())
    for (const name of transports ?? [])
      if (!names.includes(name))
        problems.push(
          `retry.rules.${i}.transports: there is no transport "${name}"; type one of ${namesInWords(names)}`,
        );
  problems.push(...checkPlaces(config), ...checkUpstreams(config), ...checkPayloads(config.payloads));
  for (const [path, { tellsSender, protocol }] of [
    ["upstream", config.upstream] as const,
    ...config.upstreams.map((each, i) => [`upstreams.${i}`, each] as const),
  ])
    if (tellsSender && protocol !== "5")
      problems.push(
        `${path}.tellsSender: MQTT 3.1.1 has no user properties; set ${path}.protocol to "5", or leave it out`,
      );
  if (config.tryOutBroker && config.upstream.urls)
    problems.push("tryOutBroker: serves upstream.url alone; leave upstream.urls out, or set it to false");
  if (config.tryOutBroker && !/^mqtt:\/\/(127\.0\.0\.1|localhost|\[::1\])(:|$)/.test(config.upstream.url)) {
    problems.push("tryOutBroker: is only for upstream.url mqtt://127.0.0.1:PORT; set it to false for a real broker");
  }
  if (config.tryOutBroker && config.upstream.protocol === "5") {
    problems.push(
      'upstream.protocol: the try-out broker speaks MQTT 3.1.1 only; set "3.1.1", or tryOutBroker to false',
    );
  }
  problems.push(...checkPair(config), ...checkFleet(config), ...checkStatusTopic(config));
  return problems;
}

function checkPair({ store, tryOutBroker }: GatewayConfig): string[] {
  if (!store.pair.enabled) return [];
  const problems: string[] = [];
  if (store.kind !== "redis")
    problems.push('store.pair.enabled: a pair has its sessions in one place; set store.kind to "redis"');
  if (tryOutBroker)
    problems.push("store.pair.enabled: the try-out broker ends with its gateway; set tryOutBroker to false");
  return problems;
}

/** Finds settings that a fleet does not support, or that each of its shards would execute separately. */
function checkFleet(config: GatewayConfig): string[] {
  const { fleet, store, transports, tryOutBroker, homeAssistant, control } = config;
  if (!fleet.enabled) return [];
  const problems: string[] = [];
  if (store.kind !== "redis")
    problems.push('fleet.enabled: the gateways of a fleet have their sessions in one place; set store.kind to "redis"');
  if (store.pair.enabled)
    problems.push(
      "store.pair.enabled: a fleet has no gateway that stands by: all of them serve; set one of both to false",
    );
  if (fleet.listen === undefined)
    problems.push(
      'fleet.listen: is missing; type the address and port for the other gateways: "listen": "192.0.2.1:1884"',
    );
  for (const [key, place] of [["listen", fleet.listen] as const, ["announce", fleet.announce] as const])
    if (place !== undefined && !isPlace(place, key === "listen"))
      problems.push(
        `fleet.${key}: "${place}" is no address with a port that others can reach; type one as in 192.0.2.1:1884`,
      );
  for (const [i, transport] of transports.entries()) problems.push(...checkNetwork(i, transport, fleet));
  if (tryOutBroker) problems.push("tryOutBroker: ends with its gateway, but the fleet continues; set it to false");
  if (homeAssistant.enabled)
    problems.push(
      "homeAssistant.enabled: is not part of a fleet, where each shard would announce devices; set it to false",
    );
  if (control.topic !== undefined)
    problems.push("control.topic: commands over MQTT are not part of a fleet; take it out");
  return problems;
}

/** Finds what a fleet does not support in one of its transports. */
function checkNetwork(i: number, transport: GatewayConfig["transports"][number], fleet: GatewayConfig["fleet"]) {
  const { type } = transport;
  if (type === "udp") return [];
  if (type !== "dtls")
    return [
      `transports.${i}: a fleet serves UDP and DTLS; ${type} is not part of it, take it out, or run a gateway of its own for it`,
    ];
  const problems: string[] = [];
  if (fleet.key === undefined)
    problems.push(
      `fleet.key: is missing; gateways pass handshakes of transports.${i} (DTLS) to each other, so type "key": { "file": "secrets/fleet" }`,
    );
  if (transport.clients !== "{identity}")
    problems.push(
      `transports.${i}.clients: a fleet finds the shard of a device by its identity, so the client id must be the identity; take "clients" out`,
    );
  if (transport.keys === undefined && transport.certificates === undefined)
    problems.push(
      `transports.${i}.keys: is missing; the keys of a fleet's devices are in files that every gateway has: type "keys": { "file": "secrets/devices.json" }`,
    );
  if (transport.cidOctets > 0 && transport.cidOctets < cidOctetsOfFleet)
    problems.push(
      `transports.${i}.cidOctets: all gateways of a fleet give connection ids without asking each other, so they need ${cidOctetsOfFleet} octets or more`,
    );
  return problems;
}

/** With so many random octets, two devices practically never get the same connection id. */
const cidOctetsOfFleet = 8;

function isPlace(text: string, orAll: boolean): boolean {
  const [, host = "", port = ""] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(text) ?? [];
  const isAll = host === "0.0.0.0" || host === "::";
  return isIP(host) !== 0 && Number(port) > 0 && Number(port) <= 65_535 && (orAll || !isAll);
}

function meantBy(entry: string): string {
  if (entry === "localhost") return '; type "127.0.0.1"';
  const [, address = ""] = /^([^/]+)\/\d+$/.exec(entry) ?? [];
  if (isIP(address) === 4) return `; the number of bits is at most 32: type "${address}/24", or what is meant`;
  return isIP(address) === 6 ? `; the number of bits is at most 128: type "${address}/64", or what is meant` : "";
}

function namesInWords(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(", ");
}

/** Finds two parts of the configuration that use the same port, line or adapter. */
function checkPlaces({ transports, api, upstream, upstreams }: GatewayConfig): string[] {
  const problems: string[] = [];
  for (const [i, one] of transports.entries()) {
    for (const [j, other] of transports.slice(0, i).entries()) {
      if (
        (one.type === "udp" || one.type === "dtls") &&
        (other.type === "udp" || other.type === "dtls") &&
        one.port !== 0 &&
        one.port === other.port &&
        meet(one.host, other.host)
      )
        problems.push(
          `transports.${i}.port: transports.${j} has UDP port ${one.port} already; give each its own port, or its own address with "host"`,
        );
      if (one.type === "ble" && other.type === "ble" && one.adapter === other.adapter)
        problems.push(
          `transports.${i}.adapter: transports.${j} has this adapter already; say which each has: "adapter": 1`,
        );
      if (one.type !== "serial" || other.type !== "serial") continue;
      for (const line of one.ports.filter((port) => other.ports.includes(port)))
        problems.push(`transports.${i}.ports: transports.${j} has ${line} already; take it out of one of both`);
    }
  }
  const isHere = (place: string) => place === `localhost:${api.port}`;
  for (const [i, options] of [upstream, ...upstreams].entries()) {
    if (!api.enabled || api.port === 0 || !placesOf(options).some(isHere)) continue;
    const path = i === 0 ? "upstream" : `upstreams.${i - 1}`;
    problems.push(`api.port: ${api.port} is the port of the broker on this machine (${path}.url); take another`);
  }
  return problems;
}

function meet(one: string, other: string): boolean {
  if (one === other) return true;
  const all = { 4: "0.0.0.0", 6: "::" } as const;
  const family = isIP(one);
  if (family !== isIP(other) || (family !== 4 && family !== 6)) return false;
  return one === all[family] || other === all[family];
}

/** Checks the gateway's identity at the broker: certificates, users and passwords. */
function checkIdentity(path: string, options: UpstreamOptions): string[] {
  const problems: string[] = [];
  const { tls, credentials } = options;
  const urls = urlsOf(options).map(parseBrokerUrl);
  const isSecure = urls.some((url) => url?.isSecure);
  if (tls && urls.every((url) => url !== undefined) && !isSecure) {
    const [url] = urls;
    const meant =
      url &&
      `${url.scheme === "ws" ? "wss" : "mqtts"}://${url.host.includes(":") ? `[${url.host}]` : url.host}:${url.scheme === "ws" ? usualPorts.wss : usualPorts.mqtts}`;
    problems.push(`${path}.tls: is set, but the url is not for TLS; type "url": "${meant}", or delete tls`);
  }
  if (tls?.psk && (tls.cert || tls.ca))
    problems.push(
      `${path}.tls.psk: a pre-shared key and certificates exclude each other; delete psk, or ca, cert and key`,
    );
  const hasUser = urls.every((url) => url?.username !== undefined);
  const check = (where: string, from: Pick<UpstreamOptions, "username" | "password" | "passwordCommand">) => {
    if (from.password && from.passwordCommand)
      problems.push(`${where}.passwordCommand: password is set too; delete one of both`);
    const which = from.password ? "password" : "passwordCommand";
    if (from[which] && from.username === undefined && options.username === undefined && !hasUser)
      problems.push(`${where}.username: is missing; MQTT knows no ${which} without: type "username": "..."`);
  };
  check(path, options);
  for (const [i, group] of credentials.entries()) check(`${path}.credentials.${i}`, group);
  const pairs = [
    ...(tls ? [[`${path}.tls`, tls] as const] : []),
    ...credentials.map((group, i) => [`${path}.credentials.${i}`, group] as const),
  ];
  for (const [where, { cert, key }] of pairs) {
    if ((cert === undefined) === (key === undefined)) continue;
    const missing = cert === undefined ? "cert" : "key";
    const is = cert === undefined ? "certificate" : "private key";
    problems.push(
      `${where}.${missing}: is missing; cert and key go together: type "${missing}": "FILE", the file with the ${is}`,
    );
  }
  return problems;
}

function checkUpstreams(config: GatewayConfig): string[] {
  const { upstream, upstreams, transports } = config;
  const problems: string[] = [];
  const names = transports.map(({ name }) => name);
  const all: { path: string; options: UpstreamOptions }[] = [{ path: "upstream", options: upstream }];
  for (const [i, options] of upstreams.entries()) {
    const path = `upstreams.${i}`;
    all.push({ path, options });
    if (upstreams.findIndex(({ name }) => name === options.name) !== i)
      problems.push(`${path}.name: "${options.name}" is taken by another upstream; give each its own`);
    if (options.clients === undefined && options.transports === undefined)
      problems.push(`${path}: say who uses it with "clients" or "transports" (or make it the general "upstream")`);
    for (const name of options.transports ?? []) {
      if (!transports.some((transport) => transport.name === name))
        problems.push(`${path}.transports: there is no transport "${name}"; type one of ${namesInWords(names)}`);
    }
  }
  const places = new Set<string>();
  for (const { path, options } of all) {
    const { minSeconds, maxSeconds } = options.reconnect;
    const urls = urlsOf(options);
    for (const [i, url] of urls.entries()) {
      const where = options.urls ? `${path}.urls.${i}` : `${path}.url`;
      if (!parseBrokerUrl(url))
        problems.push(
          `${where}: "${withoutSecrets(url)}" is no address of a broker; type "mqtt://HOST:PORT", the port a number up to 65535`,
        );
      else if (urls.indexOf(url) !== i) problems.push(`${where}: this broker is in the list already`);
    }
    if (options.urls && options.url !== defaultUrl && options.url !== options.urls[0])
      problems.push(`${path}.url: is not used, since there are urls; leave it out, or put it first in urls`);
    problems.push(...checkIdentity(path, options));
    if (minSeconds > maxSeconds) problems.push(`${path}.reconnect: minSeconds is greater than maxSeconds`);
    const own = placesOf(options).flatMap((place) => ownIdsOf(options).map((id) => `${place} ${id}`));
    if (own.some((place) => places.has(place)))
      problems.push(`${path}.serviceClientId: another upstream has the same at this broker; the two would take turns`);
    for (const place of own) places.add(place);
  }
  problems.push(...checkClientIds(config));
  return problems;
}

/** Client ids in the configuration that the gateway would refuse, because it uses them itself at the broker. */
function checkClientIds({ upstream, upstreams, topics, access }: GatewayConfig): string[] {
  const own = [upstream, ...upstreams].flatMap(ownIdsOf);
  const problems: string[] = [];
  const check = (path: string, pattern: string, { mode, clientIdPrefix }: typeof upstream) => {
    if (mode !== "transparent" || /^[*?]*$/.test(pattern)) return;
    const fits = globToRegExp(pattern);
    const taken = own.find((id) => id.startsWith(clientIdPrefix) && fits.test(id.slice(clientIdPrefix.length)));
    if (taken !== undefined)
      problems.push(
        `${path}: "${pattern}" names "${taken}", which is the gateway's own client id at the broker; ` +
          "change serviceClientId or clientIdPrefix",
      );
  };
  for (const [i, options] of upstreams.entries())
    for (const pattern of [options.clients ?? []].flat()) check(`upstreams.${i}.clients`, pattern, options);
  const nameOf = (clientId: string) =>
    upstreams.find(
      ({ clients, transports }) =>
        transports === undefined && [clients ?? []].flat().some((pattern) => globToRegExp(pattern).test(clientId)),
    );
  for (const clientId of Object.keys(topics.predefinedFor))
    if (!/[*?]/.test(clientId)) check(`topics.predefinedFor.${clientId}`, clientId, nameOf(clientId) ?? upstream);
  for (const [i, rule] of access.rules.entries())
    for (const pattern of "allow" in rule ? [rule.allow].flat() : [])
      if (!/[*?]/.test(pattern)) check(`access.rules.${i}.allow`, pattern, nameOf(pattern) ?? upstream);
  return problems;
}
