/** The ways in which a link gets its connection over TCP, and writes to it: they all have to behave alike. */
import { MqttUpstream } from "../../src/upstream/mqtt-upstream.ts";
import { upstreamOptions } from "../../src/upstream/options.ts";
import { TcpReads } from "../../src/upstream/tcp-reads.ts";
import { TcpRing } from "../../src/upstream/tcp-ring.ts";
import { TurnEnd } from "../../src/upstream/turn-end.ts";

export interface Way {
  readonly name: string;
  readonly connectBy: "gateway" | "mqtt.js";
  readonly ioUring: boolean;
  readonly readTogether?: boolean;
}

export const waysToConnect: readonly Way[] = [
  { name: "MQTT.js", connectBy: "mqtt.js", ioUring: false },
  { name: "the gateway", connectBy: "gateway", ioUring: false },
  {
    name: "the gateway, all connections together where that can be had",
    connectBy: "gateway",
    ioUring: true,
    readTogether: true,
  },
];

/** `mayLeave`: of one of a pair, whether it is the active one. */
export function upstreamBy(
  { connectBy, ioUring, readTogether = false }: Way,
  options: Record<string, unknown>,
  mayLeave: () => boolean = () => true,
): MqttUpstream {
  const parsed = upstreamOptions.parse({ connectBy, ioUring, readTogether, ...options });
  const turnEnd = new TurnEnd(mayLeave);
  const ring = ioUring ? TcpRing.open(turnEnd, () => {}) : undefined;
  const reads = readTogether ? TcpReads.open((work) => turnEnd.around(work)) : undefined;
  return new MqttUpstream(parsed, undefined, undefined, turnEnd, {
    ring: ring instanceof TcpRing ? ring : undefined,
    reads: reads instanceof TcpReads ? reads : undefined,
  });
}
