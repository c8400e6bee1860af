/** A line that is paid by the octet, with mosquitto: topic aliases, resumed TLS, a keep alive that is stretched. */
import mqtt from "mqtt";
import { type Parser, parser } from "mqtt-packet";
import { afterEach, describe, expect, test } from "vitest";
import type { QoS } from "../../src/core/types.ts";
import { MqttUpstream } from "../../src/upstream/mqtt-upstream.ts";
import { upstreamOptions } from "../../src/upstream/options.ts";
import { CutProxy } from "../helpers/cut-proxy.ts";
import { findMosquitto, fixture, Mosquitto } from "../helpers/mosquitto.ts";
import { Publisher, startGateway, until } from "../helpers/test-gateway.ts";
import { upstreamEvents } from "../helpers/upstream-events.ts";

const program = findMosquitto();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const toClose: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

async function newBroker(further: readonly string[] = []): Promise<Mosquitto> {
  if ("missing" in program) throw new Error(program.missing);
  const broker = await Mosquitto.create(program, further);
  toClose.push(() => broker.dispose());
  return broker;
}

/** What PUBLISH packets of one connection said of their topics. */
interface Said {
  both: number;
  aliasAlone: number;
  nameAlone: number;
  highest: number;
}

/** Reads what goes to the broker. */
function listening() {
  const connections = new Map<number, { readonly said: Said; readonly reading: Parser }>();
  const heard = (chunk: Buffer, connection: number) => {
    let found = connections.get(connection);
    if (!found) {
      const said: Said = { both: 0, aliasAlone: 0, nameAlone: 0, highest: 0 };
      const reading = parser({ protocolVersion: 5 });
      reading.on("packet", (packet) => {
        if (packet.cmd !== "publish") return;
        const alias = packet.properties?.topicAlias ?? 0;
        said.highest = Math.max(said.highest, alias);
        said[alias === 0 ? "nameAlone" : packet.topic === "" ? "aliasAlone" : "both"]++;
      });
      found = { said, reading };
      connections.set(connection, found);
    }
    found.reading.parse(chunk);
  };
  return { heard, said: () => [...connections.values()].map(({ said }) => said) };
}

describe.skipIf(missing !== undefined)(`mosquitto${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  test.each([
    ["more names than the 10 aliases that it grants", 14, {}, 10],
    ["fewer aliases, as the option says", 14, { topicAliases: 3 }, 3],
    ["fewer names than aliases", 6, {}, 6],
  ])("each message has its topic, over connections that are cut: %s", async (_what, count, over, aliases) => {
    const broker = await newBroker();
    const { heard, said } = listening();
    const proxy = await CutProxy.to(broker.plainPort, heard);
    toClose.push(() => proxy.close());
    const { gateway, port } = await startGateway({
      upstream: {
        url: `mqtt://127.0.0.1:${proxy.port}`,
        protocol: "5",
        mode: "aggregating",
        reconnect: { minSeconds: 0.1, maxSeconds: 0.5 },
        ...over,
      },
    });
    toClose.push(() => gateway.stop());
    const observer = mqtt.connect(`mqtt://127.0.0.1:${broker.plainPort}`, { clientId: "observer", clean: false });
    toClose.push(() => observer.endAsync(true));
    const seen = new Map<string, number>();
    const wrong: string[] = [];
    observer.on("message", (topic, payload) => {
      const text = String(payload);
      seen.set(text, (seen.get(text) ?? 0) + 1);
      if (topic !== `site/hall/${text.split("#")[0]}`) wrong.push(`${text} under ${topic}`);
    });
    await observer.subscribeAsync("site/#", { qos: 2 });
    const devices = Array.from(
      { length: count },
      (_, i) => new Publisher({ clientId: `d${i}`, port, topic: `site/hall/d${i}` }),
    );
    for (const device of devices) await device.start();
    await until("everybody is connected", () => devices.every((device) => device.connected));
    const traffic = setInterval(() => {
      for (const device of devices) device.publish((device.sent % 3) as QoS);
    }, 5);
    const goesOn = async (more: number) => {
      const target = devices.map((device) => device.acknowledged.size + more);
      await until("traffic goes on", () => devices.every((device, i) => device.acknowledged.size >= (target[i] ?? 0)));
    };
    for (let i = 0; i < 4; i++) {
      await goesOn(6);
      proxy.reset();
    }
    await goesOn(10);
    clearInterval(traffic);
    await until("everybody is idle again", () => devices.every((device) => device.idle));
    const acknowledged = devices.flatMap((device) => [...device.acknowledged]).filter(([, qos]) => qos > 0);
    await until("all acknowledged messages at the observer", () =>
      acknowledged.every(([payload]) => seen.has(payload)),
    );
    for (const [payload, qos] of acknowledged) if (qos === 2) expect(seen.get(payload), payload).toBe(1);
    for (const device of devices) device.stop();
    expect(wrong).toEqual([]);
    const last = said().at(-1);
    expect(last?.aliasAlone).toBeGreaterThan(0);
    expect(Math.max(...said().map(({ highest }) => highest))).toBe(aliases);
    if (count === aliases) expect(last).toMatchObject({ both: count, nameAlone: 0 });
  });

  test.each([
    ["is resumed, with a client certificate", "tlsPort", { full: 1, resumed: 3 }],
    ["is not, with a pre-shared key: it would be nobody's", "pskPort", { full: 4, resumed: 0 }],
  ] as const)("a connection that was cut %s", async (_what, port, expected) => {
    process.env["METERED_PSK"] = "0123456789abcdef";
    const broker = await newBroker();
    const proxy = await CutProxy.to(broker[port]);
    toClose.push(() => proxy.close());
    const certificate = { ca: fixture("ca.pem"), cert: fixture("client.pem"), key: fixture("client-key.pem") };
    const psk = { identity: "gateway", key: { env: "METERED_PSK" } };
    const options = upstreamOptions.parse({
      url: `mqtts://127.0.0.1:${proxy.port}`,
      protocol: "5",
      reconnect: { minSeconds: 0.05, maxSeconds: 0.1 },
      tls: port === "pskPort" ? { psk } : { serverName: "localhost", ...certificate },
    });
    const upstream = new MqttUpstream(options);
    toClose.push(() => upstream.shutdown(500));
    let ups = 0;
    const acked: number[] = [];
    await upstream.start(
      upstreamEvents({
        up: () => ups++,
        acked: (_link, _kind, packetId) => acked.push(packetId),
      }),
    );
    upstream.open({ linkId: "c~1", upstream: "", mqttClientId: "c", identity: "c", clean: false, will: undefined });
    for (let i = 1; i <= 4; i++) {
      await until(`connection ${i}`, () => ups === i);
      upstream.publish("c~1", { topicName: "site/hall", payload: Buffer.from("p"), qos: 1, retain: false }, i, false);
      await until("its answer", () => acked.includes(i));
      if (i < 4) proxy.reset();
    }
    expect(upstream.counters.tls).toEqual(expected);
  });

  test("a keep alive that is stretched: mosquitto waits for it, and the connection stands", async () => {
    const broker = await newBroker(["max_keepalive 10"]); // CONNACK says so
    const pings: number[] = [];
    const proxy = await CutProxy.to(broker.plainPort, (chunk, connection) => {
      if (chunk.equals(Buffer.from("c000", "hex"))) pings.push(connection);
    });
    toClose.push(() => proxy.close());
    const { gateway } = await startGateway({
      upstream: {
        url: `mqtt://127.0.0.1:${proxy.port}`,
        protocol: "5",
        mode: "aggregating",
        keepAliveSeconds: 5,
        keepAliveMaxSeconds: 600,
      },
    });
    toClose.push(() => gateway.stop());
    await until("two PINGREQ, after 5 and 10 seconds", () => pings.length === 2);
    await new Promise((done) => setTimeout(done, 5_000));
    expect(pings).toHaveLength(2);
    expect(new Set(pings).size).toBe(1);
    expect(gateway.health().broker).toBe("connected");
  });
});
