/**
 * One MQTT session that many clients share. [MQTT-SN 1.2 §4.2]
 *
 * The broker knows nobody but the trunk: who wants what is in its trie, each client's session, buffer and acknowledgements
 * are the gateway's own, and a delivery of the broker is acknowledged when every recipient has it in custody (fan-out.ts).
 * Publications wait for the broker's window in a line that takes turns between clients (broker-session.ts). A client
 * keeps to one trunk, by a hash of its id, so its order is kept.
 */
import type { UpstreamPolicy } from "../options.ts";
import { ownId } from "../own-ids.ts";
import { BrokerSession } from "./broker-session.ts";
import type { ExchangeClient, Received, TrunkFilter } from "./exchanges.ts";
import { FilterTrie } from "./filter-trie.ts";

export class Trunk<Client extends ExchangeClient> {
  /** Name of the upstream that it belongs to, and how that is to be spoken to. */
  readonly upstreamName: string;
  readonly policy: UpstreamPolicy;
  readonly index: number;
  readonly broker: BrokerSession<Client>;
  readonly filters = new FilterTrie<TrunkFilter<Client>>();
  /** Filters to be subscribed to when a packet id is free. */
  readonly unasked = new Set<TrunkFilter<Client>>();
  /** Deliveries at QoS 1 that were acknowledged, by packet id, the latest last: the broker may not have heard so. */
  readonly lately = new Map<number, { readonly received: Received; readonly hash: number }>();
  /** Deliveries in custody whose commit failed: acknowledged when the store takes them. */
  unkept: Received[] = [];
  /** The broker's session is ours to go on with; else it is ended first, whoever left it there. */
  resumes = false;
  /** No connection, and an attempt has failed. */
  isAway = false;

  constructor(
    upstream: { readonly name: string; readonly options: UpstreamPolicy },
    index: number,
    firstPacketId: number,
  ) {
    this.upstreamName = upstream.name;
    this.policy = upstream.options;
    this.index = index;
    this.broker = new BrokerSession(firstPacketId, { key: this.key, isShared: true });
  }

  /** Names the trunk in what clients' records say. */
  get home(): string {
    return `${this.upstreamName}/${this.index}`;
  }

  /** Under which its own records are kept: no client id has a U+0000. */
  get key(): string {
    return `\0${this.home}`;
  }

  get mqttClientId(): string {
    return ownId(this.policy, this.index);
  }
}

/** FNV-1a; which trunk of several, and subscription identifiers. */
export function hashOfText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
