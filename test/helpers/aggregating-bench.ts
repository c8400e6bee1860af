/** A gateway core whose clients a, b and c share one connection to the broker. */
import type { CoreOptions } from "../../src/core/options.ts";
import type { PeerId, QoS } from "../../src/core/types.ts";
import { testOptions } from "../simulation/options.ts";
import { Bench, connect, subscribe, type Turn } from "./bench.ts";

export const a: PeerId = "udp/192.0.2.1:1";
export const b: PeerId = "udp/192.0.2.2:2";
export const c: PeerId = "udp/192.0.2.3:3";
export const idOf = new Map([
  [a, "a"],
  [b, "b"],
  [c, "c"],
]);

export type Over = Partial<Omit<CoreOptions, "upstream">> & { upstream?: Partial<CoreOptions["upstream"]> };

export function bench(over: Over = {}): Bench {
  const upstream = { ...testOptions.upstream, mode: "aggregating" as const, ...over.upstream };
  const gateway = new Bench({ ...over, upstream });
  gateway.link("gateway").up(); // the second: what the first found there was ended
  return gateway;
}

export function connected(gateway: Bench, ...peers: PeerId[]): Bench {
  for (const peer of peers) gateway.client(connect({ clientId: idOf.get(peer) as string }), peer).gets("CONNACK");
  return gateway;
}

export const shared = (gateway: Bench) => gateway.link("gateway");

/** Subscribes, with the broker's answer. */
export function subscribed(gateway: Bench, peer: PeerId, filter: string, qos: QoS = 1, granted: number = qos): Turn {
  const { packetId } = gateway.client(subscribe(filter, qos), peer).gets().effect("subscribe");
  return shared(gateway).acks("suback", packetId, granted);
}

/** To whom a turn sends PUBLISH (or the REGISTER before it), with QoS. */
export function receivers(turn: Turn): string[] {
  return turn.effects.flatMap((effect) =>
    effect.kind === "send" && effect.message.type === "PUBLISH"
      ? [`${idOf.get(effect.to)}${effect.message.qos}${effect.message.retain ? "r" : ""}`]
      : [],
  );
}
