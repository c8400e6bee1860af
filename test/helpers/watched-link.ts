/** A link to a scripted broker, and its events. */
import type { LinkEnd } from "../../src/core/input.ts";
import { ScriptedBroker, type ScriptedBrokerOptions } from "./scripted-broker.ts";
import { until } from "./test-gateway.ts";
import { upstreamEvents } from "./upstream-events.ts";
import { upstreamBy, type Way } from "./ways-to-connect.ts";

export async function watchedLink(
  way: Way,
  protocol: "3.1.1" | "5",
  script: ScriptedBrokerOptions = {},
  over: Record<string, unknown> = {},
  mayLeave: () => boolean = () => true,
) {
  const broker = await ScriptedBroker.start(script);
  const upstream = upstreamBy(
    way,
    {
      url: broker.url,
      protocol,
      reconnect: { minSeconds: 0.05, maxSeconds: 0.1 },
      ...over,
    },
    mayLeave,
  );
  const ends: LinkEnd[] = [];
  const seen: string[] = [];
  const events = upstreamEvents({
    up: () => seen.push("up"),
    refused: (_link, _refusal, _reason, reasonCode) => seen.push(`refused ${reasonCode}`),
    down: (_link, end) => ends.push(end),
    pong: () => seen.push("pong"),
    delivered: (_link, { publication }) => seen.push(publication.topicName),
    acked: (_link, ack) => seen.push(ack),
  });
  await upstream.start(events);
  upstream.open({ linkId: "l~1", upstream: "", mqttClientId: "c", identity: "c", clean: true, will: undefined });
  const up = () => until("CONNACK", () => seen.includes("up"));
  const end = async () => {
    await until("its end", () => ends.length > 0);
    return ends[0] as LinkEnd;
  };
  const close = async () => {
    await upstream.shutdown(500);
    await broker.close();
  };
  return { broker, upstream, seen, up, end, close };
}
