/** A broker that sends without a pause gets its share of each turn of the event loop, and all it sends arrives. */
import type { Socket } from "node:net";
import { generate } from "mqtt-packet";
import { expect, onTestFinished, test } from "vitest";
import { turnOctets } from "../../src/upstream/read-share.ts";
import { fixture } from "../helpers/mosquitto.ts";
import { ScriptedBroker } from "../helpers/scripted-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { TlsBroker } from "../helpers/tls-broker.ts";
import { upstreamEvents } from "../helpers/upstream-events.ts";
import { upstreamBy, type Way } from "../helpers/ways-to-connect.ts";

const messages = 8_000;
const octets = 1_000;
/** One chunk that goes beyond the share, and one that the stream had read before it was paused. */
const chunkMax = 65_536;

interface Flood {
  readonly url: string;
  readonly socket: () => Socket;
}

async function plain(): Promise<Flood> {
  const broker = await ScriptedBroker.start();
  onTestFinished(() => broker.close());
  return { url: broker.url, socket: () => broker.last.socket };
}

const secure = (scheme: "mqtts" | "wss") => async (): Promise<Flood> => {
  const broker = await TlsBroker.start(scheme);
  onTestFinished(() => broker.close());
  return {
    url: `${scheme}://localhost:${broker.port}`,
    socket: () => broker.secured.at(-1)?.visit.socket as Socket,
  };
};

const ways = [
  { name: "mqtt, by the gateway", flood: plain, connectBy: "gateway" },
  { name: "mqtt, together with others", flood: plain, connectBy: "gateway", readTogether: true },
  { name: "mqtt, by MQTT.js", flood: plain, connectBy: "mqtt.js" },
  { name: "mqtts", flood: secure("mqtts"), connectBy: "gateway" },
  { name: "wss", flood: secure("wss"), connectBy: "gateway" },
] as const satisfies readonly (Pick<Way, "name" | "connectBy" | "readTogether"> & {
  readonly flood: () => Promise<Flood>;
})[];

test.each(ways)("a flood of 8 MB is read in shares, and whole: $name", async ({ flood, ...way }) => {
  const { url, socket } = await flood();
  const tls = url.startsWith("mqtt:") ? {} : { tls: { ca: fixture("ca.pem") } };
  const upstream = upstreamBy({ ...way, ioUring: false }, { url, protocol: "3.1.1", ...tls });
  onTestFinished(() => upstream.shutdown(500));
  let isUp = false;
  let came = 0;
  let inTurn = 0;
  let mostInTurn = 0;
  const events = upstreamEvents({
    up: () => {
      isUp = true;
    },
    delivered: () => {
      came++;
      inTurn += octets;
      mostInTurn = Math.max(mostInTurn, inTurn);
    },
  });
  await upstream.start(events);
  upstream.open({ linkId: "l~1", upstream: "", mqttClientId: "c", identity: "c", clean: true, will: undefined });
  await until("CONNACK", () => isUp);
  const one = generate({
    cmd: "publish",
    topic: "t",
    payload: Buffer.alloc(octets - 6, 0x78),
    qos: 0,
    retain: false,
    dup: false,
  });
  // Over WebSocket each write is a message, and a message is one chunk.
  const ten = Buffer.concat(Array.from({ length: 10 }, () => one));
  for (let sent = 0; sent < messages; sent += 10) socket().write(ten);
  let isCounting = true;
  const turn = () => {
    inTurn = 0;
    if (isCounting) setImmediate(turn);
  };
  turn();
  onTestFinished(() => {
    isCounting = false;
  });
  await until("all of them", () => came === messages);
  expect(mostInTurn, String(mostInTurn)).toBeLessThanOrEqual(turnOctets + 2 * chunkMax);
});
