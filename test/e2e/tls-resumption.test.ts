/** A connection that is made again over TLS begins with what the broker gave for that: a ticket. [RFC 8446 2.2, RFC 5077] */
import { afterEach, describe, expect, test } from "vitest";
import { MqttUpstream } from "../../src/upstream/mqtt-upstream.ts";
import { upstreamOptions } from "../../src/upstream/options.ts";
import { OwnConnection, type Speaker } from "../../src/upstream/own-connection.ts";
import { WireOctets } from "../../src/upstream/wire-octets.ts";
import { fixture } from "../helpers/mosquitto.ts";
import { until } from "../helpers/test-gateway.ts";
import { TlsBroker } from "../helpers/tls-broker.ts";
import { upstreamEvents } from "../helpers/upstream-events.ts";

const toClose: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

interface Way {
  readonly scheme: "mqtts" | "wss";
  readonly version: "TLSv1.2" | "TLSv1.3";
}
const ways = (["mqtts", "wss"] as const).flatMap((scheme) =>
  (["TLSv1.2", "TLSv1.3"] as const).map((version): Way => ({ scheme, version })),
);

async function setUp({ scheme, version }: Way, over: Record<string, unknown> = {}) {
  const { tls = {}, ...rest } = over as { tls?: object };
  const broker = await TlsBroker.start(scheme, {
    minVersion: version,
    maxVersion: version,
    requestCert: true,
    rejectUnauthorized: false,
  });
  const options = (): Parameters<MqttUpstream["reload"]>[0] =>
    upstreamOptions.parse({
      url: `${scheme}://localhost:${broker.port}`,
      reconnect: { minSeconds: 0.05, maxSeconds: 0.1 },
      connectTimeoutSeconds: 5,
      tls: { ca: fixture("ca.pem"), ...tls },
      ...rest,
    });
  const upstream = new MqttUpstream(options());
  toClose.push(async () => {
    await upstream.shutdown(500);
    await broker.close();
  });
  const seen: string[] = [];
  await upstream.start(
    upstreamEvents({
      up: (link) => seen.push(`up ${link}`),
      refused: (link) => seen.push(`refused ${link}`),
      down: (link) => seen.push(`down ${link}`),
    }),
  );
  const open = (identity: string) =>
    upstream.open({
      linkId: `${identity}~1`,
      upstream: "",
      mqttClientId: identity,
      identity,
      clean: true,
      will: undefined,
    });
  const count = (what: string) => seen.filter((each) => each === what).length;
  const ups = (n: number, identity = "c") => until(`up ${n}`, () => count(`up ${identity}~1`) === n, 10_000);
  /** A connection has been there for so long that its tickets have come. */
  const cut = async (n: number) => {
    await new Promise((done) => setTimeout(done, 50));
    broker.secured.at(-1)?.cut();
    await ups(n);
  };
  const resumed = () => broker.secured.map(({ isResumed }) => isResumed);
  return { broker, upstream, options, seen, open, ups, cut, resumed };
}

describe.each(ways)("$scheme, $version", (way) => {
  test("the second connection is resumed, and the third, and costs less than a whole handshake", async () => {
    const { broker, upstream, open, ups, cut, resumed } = await setUp(way);
    open("c");
    await ups(1);
    await cut(2);
    await cut(3);
    expect(resumed()).toEqual([false, true, true]);
    const [first = 0, second = 0] = broker.secured.map(({ received, sent }) => received + sent);
    // The certificates and what is signed with them; HTTP, which WebSocket begins with, costs the same in both.
    expect(first - second).toBeGreaterThan(1_000);
    expect(upstream.counters.tls).toEqual({ full: 1, resumed: 2 });
  });

  test("a broker that does not take the ticket any more makes a whole handshake, and nobody hears of it", async () => {
    const { broker, seen, open, ups, cut, resumed } = await setUp(way);
    open("c");
    await ups(1);
    await cut(2);
    broker.newKeys();
    await cut(3);
    await cut(4);
    expect(resumed()).toEqual([false, true, false, true]);
    expect(broker.opened).toBe(4);
    expect(seen.filter((what) => what.startsWith("down"))).toHaveLength(3); // the three cuts
  });

  test("a broker that ends the handshake over the ticket is asked again at once, without it", async () => {
    const { broker, seen, open, ups, cut, resumed } = await setUp(way, {
      reconnect: { minSeconds: 0.05, maxSeconds: 0.05 },
    });
    open("c");
    await ups(1);
    broker.alerts = 1;
    await cut(2);
    expect(resumed()).toEqual([false, false]);
    expect(broker.opened).toBe(3);
    expect(seen).toEqual(["up c~1", "down c~1", "up c~1"]);
    await cut(3);
    expect(resumed()).toEqual([false, false, false]); // it would do so each time
    expect(broker.opened).toBe(4);
  });

  test("a broker that does not know whose the resumed connection is, is asked again at once with a whole handshake", async () => {
    const { broker, seen, open, ups, cut, resumed } = await setUp(way);
    open("c");
    await ups(1);
    broker.knowsResumed = false;
    await cut(2);
    await cut(3);
    expect(resumed()).toEqual([false, true, false, false]);
    expect(seen).toEqual(["up c~1", "down c~1", "up c~1", "down c~1", "up c~1"]);
  });

  test("each client certificate has its own ticket: nobody is taken for another", async () => {
    const { broker, open, ups, resumed } = await setUp(way, {
      credentials: [{ clients: "d", cert: fixture("client.pem"), key: fixture("client-key.pem") }],
    });
    open("c");
    await ups(1);
    await new Promise((done) => setTimeout(done, 50));
    open("d");
    await ups(1, "d");
    await new Promise((done) => setTimeout(done, 50));
    for (const { cut } of broker.secured.slice()) cut();
    await ups(2);
    await ups(2, "d");
    expect(resumed()).toEqual([false, false, true, true]);
    const clients = broker.secured.map(({ client }) => client);
    expect(clients.slice(0, 2)).toEqual([undefined, "test-client"]);
    expect(clients.slice(2).sort()).toEqual(["test-client", undefined]);
  });

  test("a broker of another name is let in neither the first time nor the second", async () => {
    const { broker, seen, open } = await setUp(way, { tls: { serverName: "another.example" } });
    open("c");
    await until("three attempts", () => broker.opened >= 3, 10_000);
    expect(seen.filter((what) => what.startsWith("up"))).toEqual([]);
    expect(broker.secured.filter(({ visit }) => visit.packets.length > 0)).toEqual([]);
  });

  test("not where it is not wanted", async () => {
    const { open, ups, cut, resumed } = await setUp(way, { tls: { resume: false } });
    open("c");
    await ups(1);
    await cut(2);
    expect(resumed()).toEqual([false, false]);
  });

  test("what is read again begins with whole handshakes", async () => {
    const { upstream, options, open, ups, cut, resumed } = await setUp(way);
    open("c");
    await ups(1);
    upstream.reload(options());
    await cut(2);
    await cut(3);
    expect(resumed()).toEqual([false, false, true]);
  });
});

test("a connection of the gateway's own is resumed too, and its octets are counted", async () => {
  const broker = await TlsBroker.start("mqtts");
  toClose.push(() => broker.close());
  const options = upstreamOptions.parse({ url: `mqtts://localhost:${broker.port}`, tls: { ca: fixture("ca.pem") } });
  let connected = 0;
  const speaker: Speaker = {
    filters: [],
    qos: 0,
    words: { works: "it works", fails: "it does not" },
    connected: () => connected++,
    disconnected: () => {},
    received: () => {},
  };
  const wire = new WireOctets();
  const own = new OwnConnection(options, "own", speaker, { told: () => {}, random: () => 0, wire });
  toClose.push(() => own.close());
  own.start();
  await until("the first", () => connected === 1);
  await new Promise((done) => setTimeout(done, 50));
  broker.secured.at(-1)?.visit.socket.end();
  await until("the second", () => connected === 2);
  expect(broker.secured.map(({ isResumed }) => isResumed)).toEqual([false, true]);
  await until("its octets", () => JSON.stringify(wire.total) === JSON.stringify(broker.carried));
});
