/**
 * The open exchanges between the gateway and a broker, packet by packet: publications and subscriptions of the gateway,
 * and deliveries of the broker. Plain data. The client is a type parameter, because the type of a client is built on
 * these types (session.ts gives the parameter its type).
 */
import type { PayloadPolicy } from "../payloads.ts";
import type { CommitToken, Instant, Publication, QoS, SubscribedBy } from "../types.ts";
import type { Account } from "./account.ts";
import { Members } from "./members.ts";
import type { Suspicion } from "./suspicion.ts";

/** What this file needs of a client: its name, and the account of its publications that are not at the broker yet. */
export interface ExchangeClient {
  readonly clientId: string;
  readonly account: Account;
}

/** The PUBLISH of a client that a publication comes from. */
export interface PublishOrigin<Client> {
  readonly session: Client;
  readonly msgId: number;
  readonly topicId: number;
  /** `hashOf` the payload as the client sent it, where another was made of it; absent: they are the same. */
  readonly heard?: number;
}

export interface PublishExchange<Client extends ExchangeClient> {
  readonly kind: "publish";
  readonly packetId: number;
  readonly publication: Publication;
  /** Whose account it is on; undefined for the gateway's own. */
  readonly owner: Client | undefined;
  /** Where the publication comes from: answers go there. The gateway's own have none. */
  origin: PublishOrigin<Client> | undefined;
  /** The client has connected again since and may not know of it; only a repetition with DUP matches it. */
  fromBeforeConnect: boolean;
  /**
   * waiting: not sent on this connection; sent: PUBLISH is out; received: the broker has answered it, and at QoS 2 PUBREL
   * waits for the device; released: PUBREL is out.
   */
  stage: "waiting" | "sent" | "received" | "released";
  /** PUBLISH was sent on an earlier connection. */
  sentBefore: boolean;
  /** A will of a lost client: the link closes when the broker has it. */
  readonly isWill: boolean;
  /** It has a record, to be deleted at its end. */
  stored: boolean;
  /** The client has been answered: what is left is between us and the broker. */
  accepted: boolean;
  /** Number of the record in the backlog that it came from, to be deleted at its end; 0 = none. */
  readonly backlogId: number;
  /** It was outside when a connection ended, or is like one that was (suspects.ts). */
  suspicion: Suspicion<Exchange<Client>> | undefined;
}

/**
 * A new publication for a broker: not sent, without a client that waits for an answer, without a record, unless `of` says so. One is made
 * for each publication of a client; without `of` only this object is allocated.
 */
export function newPublishExchange<Client extends ExchangeClient>(
  packetId: number,
  publication: Publication,
  owner: Client | undefined,
  of?: Partial<
    Omit<PublishExchange<Client>, "kind" | "packetId" | "publication" | "owner" | "fromBeforeConnect" | "suspicion">
  >,
): PublishExchange<Client> {
  return {
    kind: "publish",
    packetId,
    publication,
    owner,
    origin: of?.origin,
    fromBeforeConnect: false,
    stage: of?.stage ?? "waiting",
    sentBefore: of?.sentBefore ?? false,
    isWill: of?.isWill ?? false,
    stored: of?.stored ?? false,
    accepted: of?.accepted ?? false,
    backlogId: of?.backlogId ?? 0,
    suspicion: undefined,
  };
}

export interface SubscribeExchange<Client extends ExchangeClient> {
  readonly kind: "subscribe";
  readonly packetId: number;
  readonly filter: string;
  readonly qos: QoS;
  /** The SUBSCRIBE to answer; undefined when the gateway subscribes again by itself. */
  readonly origin:
    | {
        readonly session: Client;
        readonly msgId: number;
        readonly topicId: number;
        readonly by: SubscribedBy;
        readonly predefinedId: number;
      }
    | undefined;
  /** A repetition, made in doubt: the client has what is retained. */
  readonly withoutRetained?: boolean;
  /** Over a shared connection: the requests of clients that it answers, and who waits for what is retained. */
  readonly shared?: {
    readonly entry: SharedFilter<Client>;
    readonly requests: readonly SubscribeExchange<Client>[];
    readonly waits: readonly RetainedWait<Client>[];
  };
  /** It is out on the present connection. */
  isSent: boolean;
  suspicion: Suspicion<Exchange<Client>> | undefined;
}

export interface UnsubscribeExchange<Client extends ExchangeClient> {
  readonly kind: "unsubscribe";
  readonly packetId: number;
  readonly filter: string;
  readonly origin: { readonly session: Client; readonly msgId: number } | undefined;
  isSent: boolean;
  suspicion: Suspicion<Exchange<Client>> | undefined;
}

export function newSubscribe<Client extends ExchangeClient>(
  of: Omit<SubscribeExchange<Client>, "kind" | "isSent" | "suspicion">,
): SubscribeExchange<Client> {
  return { kind: "subscribe", ...of, isSent: false, suspicion: undefined };
}

export function newUnsubscribe<Client extends ExchangeClient>(
  of: Omit<UnsubscribeExchange<Client>, "kind" | "isSent" | "suspicion">,
): UnsubscribeExchange<Client> {
  return { kind: "unsubscribe", ...of, isSent: false, suspicion: undefined };
}

/** Is it sent on the present connection, and not answered? */
export function isOutside<Client extends ExchangeClient>(exchange: Exchange<Client>): boolean {
  return exchange.kind === "publish" ? exchange.stage === "sent" : exchange.isSent;
}

export type Exchange<Client extends ExchangeClient> =
  | PublishExchange<Client>
  | SubscribeExchange<Client>
  | UnsubscribeExchange<Client>;

/** A delivery at QoS 1 or 2 that the broker has not finished with. */
export interface Received {
  readonly packetId: number;
  readonly publication: Publication;
  /** On which connection it came (last). Acknowledgements for another one are not sent: the broker will ask again. */
  connection: number;
  /** open: ours to acknowledge; done: to be acknowledged as soon as the broker asks again; acknowledged: PUBREC is out. */
  stage: "open" | "done" | "acknowledged";
  /** MQTT 5 message expiry. */
  readonly expiresAt: Instant | undefined;
  /** A message in the client's outbox is this one; which, its `OutboxEntry.received` says. */
  held: boolean;
  /** It has a record, to be deleted when the broker releases it. */
  stored: boolean;
  /** Of QoS 2: `contentHash`; undefined = not known, from an older store. */
  readonly hash: number | undefined;
  /** What a script made of it, while it waits for room. */
  payloads?: PayloadPolicy;
  /** The commit that its acknowledgement waits for, also where it is said again over another connection. */
  after?: CommitToken | undefined;
}

/** A client that has subscribed and gets the retained messages. */
export interface RetainedWait<Client extends ExchangeClient> {
  readonly session: Client;
  readonly entry: SharedFilter<Client>;
  /** Names that it got already. When the broker repeats them for another client, they are not passed to it again. */
  seen: Set<string> | undefined;
  /** Undefined until the broker has answered the SUBSCRIBE. */
  until: Instant | undefined;
}

/** What is under way for a filter. Nearly always nothing is. */
interface FilterRequests<Client extends ExchangeClient> {
  asking: SubscribeExchange<Client> | undefined;
  next: SubscribeExchange<Client>[];
  waits: Map<Client, RetainedWait<Client>> | undefined;
}

const none: readonly never[] = [];

/** A filter that at least one client of the shared connection subscribes to. There may be one for each client, or more. */
export class SharedFilter<Client extends ExchangeClient> extends Members {
  readonly filter: string;
  /** MQTT 5 subscription identifier, made of the filter: a later run of the gateway makes the same. */
  readonly id: number;
  #requests: FilterRequests<Client> | undefined = undefined;

  /** Makes an entry without members: `newSharedFilter`. */
  constructor(filter: string, id: number) {
    super();
    this.filter = filter;
    this.id = id;
  }

  /** Who subscribes, with the QoS asked for. Of a shared subscription the first in the row is next. */
  get members(): Members {
    return this; // an object less for each filter
  }

  /** The SUBSCRIBE that the broker has not answered. */
  get asking(): SubscribeExchange<Client> | undefined {
    return this.#requests?.asking;
  }

  set asking(asking: SubscribeExchange<Client> | undefined) {
    this.#requests = orNone({ ...presentOf(this.#requests), asking });
  }

  /** Nothing is under way for it. */
  get isQuiet(): boolean {
    return this.#requests === undefined;
  }

  /** Requests that wait for the SUBSCRIBE after that. */
  get next(): readonly SubscribeExchange<Client>[] {
    return this.#requests?.next ?? none;
  }

  set next(next: readonly SubscribeExchange<Client>[]) {
    this.#requests = orNone({ ...presentOf(this.#requests), next: [...next] });
  }

  addNext(request: SubscribeExchange<Client>): void {
    if (this.#requests) this.#requests.next.push(request);
    else this.next = [request];
  }

  /** Who gets what is retained. */
  get waits(): ReadonlyMap<Client, RetainedWait<Client>> | undefined {
    return this.#requests?.waits;
  }

  addWait(wait: RetainedWait<Client>): void {
    const waits = this.#requests?.waits ?? new Map<Client, RetainedWait<Client>>();
    waits.set(wait.session, wait);
    this.#requests = orNone({ ...presentOf(this.#requests), waits });
  }

  removeWait(session: Client): void {
    if (!this.#requests?.waits?.delete(session)) return;
    if (this.#requests.waits.size === 0) this.#requests = orNone({ ...this.#requests, waits: undefined });
  }
}

function presentOf<Client extends ExchangeClient>(
  requests: FilterRequests<Client> | undefined,
): FilterRequests<Client> {
  return requests ?? { asking: undefined, next: [], waits: undefined };
}

function orNone<Client extends ExchangeClient>(requests: FilterRequests<Client>): FilterRequests<Client> | undefined {
  const { asking, next, waits } = requests;
  return asking || next.length > 0 || waits ? requests : undefined;
}
