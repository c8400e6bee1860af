/**
 * One MQTT session that many clients share. [MQTT-SN 1.2 §4.2]
 *
 * The broker knows nobody but the trunk: who wants what is in its trie, each client's session, buffer and acknowledgements
 * are the gateway's own, and a delivery of the broker is acknowledged when every recipient has it in custody (fan-out.ts).
 * Publications wait for the broker's window in a line that takes turns between clients (broker-session.ts). A client
 * keeps to one trunk, by a hash of its id, so its order is kept.
 */
import type { SmallMap } from "../small-map.ts";
import type { Instant, QoS } from "../types.ts";
import { BrokerSession, type Received, type SubscribeExchange } from "./broker-session.ts";
import { FilterTrie } from "./filter-trie.ts";
import type { Session } from "./session.ts";
import type { Upstream } from "./upstream.ts";

/** Somebody who subscribed and is to get what is retained. */
export interface RetainedWait {
  readonly session: Session;
  readonly entry: TrunkFilter;
  /** Names that it got, so that what the broker repeats for somebody else is not repeated for it. */
  seen: Set<string> | undefined;
  /** Undefined until the broker has answered the SUBSCRIBE. */
  until: Instant | undefined;
}

/** A filter that at least one client of the trunk subscribes to. */
export interface TrunkFilter {
  readonly filter: string;
  /** MQTT 5 subscription identifier, made of the filter: a later life of the gateway makes the same. */
  readonly id: number;
  /** Who subscribes, with the QoS asked for. Of a shared subscription the first in the row is next. */
  readonly members: SmallMap<Session, QoS>;
  /** The SUBSCRIBE that the broker has not answered. */
  asking: SubscribeExchange | undefined;
  /** Requests that wait for the SUBSCRIBE after that. */
  next: SubscribeExchange[];
  waits: Map<Session, RetainedWait> | undefined;
}

export class Trunk {
  readonly upstream: Upstream;
  readonly index: number;
  readonly broker: BrokerSession;
  readonly filters = new FilterTrie<TrunkFilter>();
  /** Filters to be subscribed to when a packet id is free. */
  readonly unasked = new Set<TrunkFilter>();
  /** Deliveries at QoS 1 that were acknowledged, by packet id, the latest last: the broker may not have heard so. */
  readonly lately = new Map<number, { readonly received: Received; readonly hash: number }>();
  /** Deliveries in custody whose commit failed: acknowledged when the store takes them. */
  unkept: Received[] = [];
  /** The broker's session is ours to go on with; else it is ended first, whoever left it there. */
  resumes = false;
  /** No connection, and an attempt has failed. */
  isAway = false;

  constructor(upstream: Upstream, index: number, firstPacketId: number) {
    this.upstream = upstream;
    this.index = index;
    this.broker = new BrokerSession(firstPacketId);
  }

  /** Names the trunk in what clients' records say. */
  get home(): string {
    return `${this.upstream.name}/${this.index}`;
  }

  /** Under which its own records are kept: no client id has a U+0000. */
  get key(): string {
    return `\0${this.home}`;
  }

  get mqttClientId(): string {
    const { clientIdPrefix, serviceClientId } = this.upstream.options;
    return clientIdPrefix + serviceClientId + (this.index === 0 ? "" : `-${this.index}`);
  }
}

/** FNV-1a; which trunk of several, and subscription identifiers. */
export function hashOfText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
