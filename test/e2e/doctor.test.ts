/** `doctor` in broken worlds: the first line that is wrong is the cause, and says what to type. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { gunzipSync } from "node:zlib";
import { Aedes, type AedesOptions } from "aedes";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { bundleOf, doctor, examine } from "../../src/cli/doctor/doctor.ts";
import type { Finding } from "../../src/cli/doctor/finding.ts";
import { freePort } from "../helpers/ports.ts";

const fixture = (name: string) => new URL(`../helpers/fixtures/${name}`, import.meta.url).pathname;
let folder: string;
const ends: (() => void)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "doctor-"));
});
afterEach(() => {
  for (const end of ends.splice(0)) end();
  process.exitCode = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function listening(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return typeof address === "object" && address ? address.port : 0;
}

async function broker(options: AedesOptions = {}, tls?: { cert: string; key: string }): Promise<number> {
  const aedes = await Aedes.createBroker(options);
  ends.push(() => aedes.close());
  const pem = (name: string) => readFileSync(fixture(name));
  const server = tls
    ? createTlsServer({ cert: pem(tls.cert), key: pem(tls.key) }, (socket) => {
        socket.on("error", () => {});
        aedes.handle(socket);
      })
    : createServer(aedes.handle);
  return listening(server);
}

async function file(config: Record<string, unknown>): Promise<string> {
  const path = join(folder, "gateway.config.json");
  const transports = [{ type: "udp", host: "127.0.0.1", port: 0, receiveBufferBytes: 4_096 }];
  writeFileSync(path, JSON.stringify({ transports, api: { port: await freePort() }, ...config }));
  return path;
}

/** Everything that is wrong, and what is doubtful besides the unit. */
async function seen(config: Record<string, unknown>): Promise<{ wrong: Finding[]; doubtful: Finding[] }> {
  const { findings } = await examine(await file(config), true);
  return {
    wrong: findings.filter(({ is }) => is === "wrong"),
    doubtful: findings.filter(({ is, about }) => is === "doubtful" && about !== "store"),
  };
}

async function firstWrong(config: Record<string, unknown>): Promise<string> {
  const [first] = (await seen(config)).wrong;
  return first ? `${first.about}: ${first.what}; ${first.hint}` : "nothing";
}

const at = (port: number, scheme = "mqtt", host = "127.0.0.1") => ({
  url: `${scheme}://${host}:${port}`,
  connectTimeoutSeconds: 1,
});
const ca = fixture("ca.pem");
const server = { cert: "server.pem", key: "server-key.pem" };

test("where all is well, nothing is wrong, and a message came back", async () => {
  const { findings } = await examine(await file({ upstream: at(await broker()) }), true);
  expect(findings.filter(({ is }) => is === "wrong")).toEqual([]);
  expect(findings.map(({ what }) => what).join("\n")).toMatch(
    /log-in: accepted\na test publication came back .*\n.*retained.*: taken\nQoS 2: taken/,
  );
});

test("over TLS: the chain, the name and the end are looked at", async () => {
  const { findings } = await examine(
    await file({ upstream: { ...at(await broker({}, server), "mqtts", "localhost"), tls: { ca } } }),
    true,
  );
  expect(findings.map(({ what }) => what).join("\n")).toMatch(
    /TLS: the certificate is trusted, has the name, and is valid until/,
  );
  expect(findings.filter(({ is }) => is === "wrong")).toEqual([]);
});

describe("broken worlds", () => {
  test("a mistake in the configuration", async () => {
    expect(await firstWrong({ upstream: { url: "tcp://b:1" } })).toMatch(
      /^configuration: upstream\.url: .*type "mqtt:\/\/b:1"/,
    );
  });

  test("a file that is not there", async () => {
    expect(await firstWrong({ upstream: { url: "mqtts://127.0.0.1:1", tls: { ca: "none.pem" } } })).toMatch(
      /^configuration: upstream\.tls\.ca: there is no file/,
    );
  });

  test("another program has the UDP port", async () => {
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    ends.push(() => socket.close());
    const { port } = socket.address();
    const transports = [{ type: "udp", host: "127.0.0.1", port, receiveBufferBytes: 4_096 }];
    expect(await firstWrong({ transports, upstream: at(1) })).toMatch(
      /^transport udp: .*another program has this port; to see which: sudo ss/,
    );
  });

  test("another program has the port of health and metrics", async () => {
    const port = await listening(createServer());
    const { doubtful } = await seen({ api: { port }, upstream: at(1) });
    expect(doubtful[0]?.what).toMatch(/another program has this port; the gateway would run without it/);
  });

  test("a store where nothing can be written", async () => {
    expect(await firstWrong({ store: { folder: "/proc/store" }, upstream: at(1) })).toMatch(
      /^configuration: store\.folder: nothing can be written/,
    );
  });

  test("a name that nobody knows", async () => {
    expect(await firstWrong({ upstream: at(1883, "mqtt", "no-such-broker.invalid") })).toMatch(
      /^upstream .*name no-such-broker\.invalid/,
    );
  });

  test("nobody listens", async () => {
    expect(await firstWrong({ upstream: at(await freePort()) })).toMatch(
      /no program listens there; is the broker running/,
    );
  });

  test("no TLS on this port", async () => {
    expect(await firstWrong({ upstream: at(await broker(), "mqtts") })).toMatch(
      /TLS: .*(does not speak TLS|no answer).*mqtt:\/\//,
    );
  });

  test("a certificate that nobody trusted has signed", async () => {
    expect(await firstWrong({ upstream: at(await broker({}, server), "mqtts", "localhost") })).toMatch(
      /TLS: no trusted authority.*set upstream\.tls\.ca/,
    );
  });

  test("a certificate for another name", async () => {
    const tls = { ca, serverName: "elsewhere.example" };
    expect(await firstWrong({ upstream: { ...at(await broker({}, server), "mqtts"), tls } })).toMatch(
      /TLS: .*for another name; it has .*localhost/,
    );
  });

  test("a certificate of the future", async () => {
    const port = await broker({}, { cert: "not-yet-valid.pem", key: "not-yet-valid-key.pem" });
    const tls = { ca: fixture("not-yet-valid.pem") };
    expect(await firstWrong({ upstream: { ...at(port, "mqtts", "localhost"), tls } })).toMatch(
      /TLS: .*not valid yet; the clock of this machine is behind/,
    );
  });

  test("a password that the broker does not take", async () => {
    const port = await broker({ authenticate: (_client, _user, _password, done) => done(null, false) });
    expect(await firstWrong({ upstream: at(port) })).toMatch(/log-in: .*refused.*see upstream\.username and password/);
  });

  test("a port that does not speak MQTT", async () => {
    const port = await listening(createServer((socket) => socket.resume()));
    expect(await firstWrong({ upstream: at(port) })).toMatch(
      /log-in: no answer to CONNECT .*does this port speak MQTT/,
    );
  });

  test("rules of the broker that let nothing through", async () => {
    const port = await broker({ authorizeSubscribe: (_client, _subscription, done) => done(null, null) });
    expect(await firstWrong({ upstream: at(port) })).toMatch(
      /test publication .*did not come back; the broker's rules/,
    );
  }, 30_000);

  test("what a broker refuses is found by trying, with the key that says so", async () => {
    const port = await broker({
      authorizePublish: (_client, { qos, retain, payload }, done) =>
        done(qos === 2 || retain || payload.length > 1_000 ? new Error("no") : null),
    });
    const { wrong, doubtful } = await seen({ upstream: at(port) });
    expect(wrong).toEqual([]);
    expect(doubtful.map(({ what, hint }) => `${what}: ${hint}`).join("\n")).toMatch(
      /retained message: not taken: set upstream\.retain to false\nQoS 2: not taken: set upstream\.qosMax to 1\na message of 65535 octets: not taken: set upstream\.packetBytesMax/,
    );
    // What the configuration says is not asked again.
    const known = await seen({ upstream: { ...at(port), retain: false, qosMax: 1, payloadBytesMax: 500 } });
    expect(known.doubtful).toEqual([]);
  }, 60_000);
});

test("the bundle has no secret, no client id, and is for its owner alone", async () => {
  vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  const path = await file({
    upstream: {
      ...at(await freePort()),
      url: "mqtt://user:hunter2@127.0.0.1:1",
      credentials: [{ clients: "pump-7", username: "hunter-user", passwordCommand: ["echo", "hunter2"] }],
    },
    access: { rules: [{ allow: "pump-7" }] },
    topics: { predefinedFor: { "pump-7": { "1": "a" } } },
  });
  const bundle = join(folder, "bundle.json.gz");
  await doctor(path, "9.9.9", { json: true, bundle, try: false });
  vi.restoreAllMocks();
  const text = gunzipSync(readFileSync(bundle)).toString();
  expect(text).not.toMatch(/hunter|pump-7/);
  expect(JSON.parse(text)).toMatchObject({ version: "9.9.9", configuration: { clients: { sessionsMax: 10_000 } } });
  expect(statSync(bundle).mode & 0o777).toBe(0o600);
  expect(process.exitCode).toBe(1);
  expect(await bundleOf("1", [], undefined)).toMatchObject({ findings: [] });
});
