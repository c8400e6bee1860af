/** A link to a scripted broker, and what is told of it. */
import type { LinkEnd } from "../../src/core/input.ts";
import type { UpstreamEvents } from "../../src/upstream/link.ts";
import { ScriptedBroker, type ScriptedBrokerOptions } from "./scripted-broker.ts";
import { until } from "./test-gateway.ts";
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
  const events: UpstreamEvents = {
    up: () => seen.push("up"),
    refused: (_link, _refusal, _reason, reasonCode) => seen.push(`refused ${reasonCode}`),
    down: (_link, end) => ends.push(end),
    pong: () => seen.push("pong"),
    congested: () => {},
    delivered: (_link, { publication }) => seen.push(publication.topicName),
    released: () => {},
    acked: (_link, ack) => seen.push(ack),
  };
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
