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

/**
 * What this file needs of a client: its name, and the account of its publications that the broker does not have yet.
 */
export interface ExchangeClient {
  readonly clientId: string;
  readonly account: Account;
}

/** The PUBLISH of a client from which a publication was made. */
export interface PublishOrigin<Client> {
  readonly session: Client;
  readonly msgId: number;
  readonly topicId: number;
  /** `hashOf` the payload as the client sent it, if the gateway changed the payload. Absent if both are the same. */
  readonly heard?: number;
}

export interface PublishExchange<Client extends ExchangeClient> {
  readonly kind: "publish";
  readonly packetId: number;
  readonly publication: Publication;
  /** The client on whose account the publication is; undefined for the gateway's own publications. */
  readonly owner: Client | undefined;
  /** The PUBLISH that the publication comes from, and to which answers go. The gateway's own publications have none. */
  origin: PublishOrigin<Client> | undefined;
  /**
   * The client has connected again since then and may not know of this publication. Only a repetition with DUP matches
   * it.
   */
  fromBeforeConnect: boolean;
  /**
   * waiting: not sent on this connection. sent: PUBLISH was sent. received: the broker has answered; at QoS 2 the
   * exchange waits for the PUBREL of the device. released: PUBREL was sent.
   */
  stage: "waiting" | "sent" | "received" | "released";
  /** PUBLISH was sent on an earlier connection. */
  sentBefore: boolean;
  /** The will of a lost client. The link closes when the broker has it. */
  readonly isWill: boolean;
  /** The exchange has a record, which is deleted when the exchange ends. */
  stored: boolean;
  /** The commit with the last change of the record. No step that the record shows may leave before it. 0 = none. */
  writtenWith: CommitToken;
  /** The client has been answered. What is left of the exchange is between the gateway and the broker. */
  accepted: boolean;
  /**
   * The number of the record in the backlog from which this publication was made. The record is deleted when the
   * exchange ends. 0 = none.
   */
  readonly backlogId: number;
  /** The packet was unanswered when a connection ended, or it is like one that was (suspects.ts). */
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
    Omit<
      PublishExchange<Client>,
      "kind" | "packetId" | "publication" | "owner" | "fromBeforeConnect" | "suspicion" | "writtenWith"
    >
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
    writtenWith: 0,
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
  /** The SUBSCRIBE to answer; undefined if the gateway subscribes again by itself, or if the client has given it up. */
  origin:
    | {
        readonly session: Client;
        readonly msgId: number;
        readonly topicId: number;
        readonly by: SubscribedBy;
        readonly predefinedId: number;
      }
    | undefined;
  /**
   * The SUBSCRIBE is repeated because it is uncertain whether the subscription exists. The client has the retained
   * messages already.
   */
  readonly withoutRetained?: boolean;
  /**
   * Over a shared connection: the requests of clients that this exchange answers, and the clients that wait for
   * retained messages.
   */
  readonly shared?: {
    readonly entry: SharedFilter<Client>;
    readonly requests: readonly SubscribeExchange<Client>[];
    readonly waits: readonly RetainedWait<Client>[];
  };
  /** The client has connected again since. It gets an answer only if it repeats the request. */
  fromBeforeConnect: boolean;
  /** The packet was sent on the present connection. */
  isSent: boolean;
  suspicion: Suspicion<Exchange<Client>> | undefined;
}

export interface UnsubscribeExchange<Client extends ExchangeClient> {
  readonly kind: "unsubscribe";
  readonly packetId: number;
  readonly filter: string;
  origin: { readonly session: Client; readonly msgId: number } | undefined;
  fromBeforeConnect: boolean;
  isSent: boolean;
  suspicion: Suspicion<Exchange<Client>> | undefined;
}

export function newSubscribe<Client extends ExchangeClient>(
  of: Omit<SubscribeExchange<Client>, "kind" | "fromBeforeConnect" | "isSent" | "suspicion">,
): SubscribeExchange<Client> {
  return { kind: "subscribe", ...of, fromBeforeConnect: false, isSent: false, suspicion: undefined };
}

export function newUnsubscribe<Client extends ExchangeClient>(
  of: Omit<UnsubscribeExchange<Client>, "kind" | "fromBeforeConnect" | "isSent" | "suspicion">,
): UnsubscribeExchange<Client> {
  return { kind: "unsubscribe", ...of, fromBeforeConnect: false, isSent: false, suspicion: undefined };
}

/** Whether the packet was sent on the present connection and is not answered. */
export function isOutside<Client extends ExchangeClient>(exchange: Exchange<Client>): boolean {
  return exchange.kind === "publish" ? exchange.stage === "sent" : exchange.isSent;
}

export type Exchange<Client extends ExchangeClient> =
  | PublishExchange<Client>
  | SubscribeExchange<Client>
  | UnsubscribeExchange<Client>;

/** A delivery at QoS 1 or 2 that the broker has not completed. */
export interface Received {
  readonly packetId: number;
  readonly publication: Publication;
  /**
   * The number of the connection on which it last came. An acknowledgement is not sent over another connection, because
   * the broker will send the delivery again there.
   */
  connection: number;
  /**
   * open: the gateway has to acknowledge it. done: the gateway acknowledges it as soon as the broker sends it again.
   * acknowledged: PUBREC was sent.
   */
  stage: "open" | "done" | "acknowledged";
  /** When the message expires (MQTT 5 message expiry). */
  readonly expiresAt: Instant | undefined;
  /** A message in the client's outbox holds this delivery: the one whose `OutboxEntry.received` is this object. */
  held: boolean;
  /** The delivery has a record, which is deleted when the broker releases the delivery. */
  stored: boolean;
  /** At QoS 2: `contentHash`. Undefined if it is not known, because an older version stored the record. */
  readonly hash: number | undefined;
  /** The payloads that a script made from it, while it waits for room. */
  payloads?: PayloadPolicy;
  /** The commit that the acknowledgement waits for, also if the acknowledgement is repeated over another connection. */
  after?: CommitToken | undefined;
}

/** A client that has subscribed and gets the retained messages. */
export interface RetainedWait<Client extends ExchangeClient> {
  readonly session: Client;
  readonly entry: SharedFilter<Client>;
  /**
   * Topic names of which the client has got the retained message already. If the broker repeats such a message for
   * another client, the client does not get it again.
   */
  seen: Set<string> | undefined;
  /** The end of the wait. Undefined until the broker has answered the SUBSCRIBE. */
  until: Instant | undefined;
}

/** The open requests for a filter. Nearly always there are none. */
interface FilterRequests<Client extends ExchangeClient> {
  asking: SubscribeExchange<Client> | undefined;
  next: SubscribeExchange<Client>[];
  waits: Map<Client, RetainedWait<Client>> | undefined;
}

const none: readonly never[] = [];

/**
 * A filter to which at least one client of the shared connection subscribes. There may be one or more for each client.
 */
export class SharedFilter<Client extends ExchangeClient> extends Members {
  readonly filter: string;
  /** MQTT 5 subscription identifier, computed from the filter. A later run of the gateway computes the same one. */
  readonly id: number;
  #requests: FilterRequests<Client> | undefined = undefined;

  /** Makes an entry without members: `newSharedFilter`. */
  constructor(filter: string, id: number) {
    super();
    this.filter = filter;
    this.id = id;
  }

  /**
   * The clients that subscribe, with the QoS that each asked for. In a shared subscription the first one in the order
   * is the next recipient.
   */
  get members(): Members {
    return this; // this object itself, which saves an object for each filter
  }

  /** The SUBSCRIBE that the broker has not answered. */
  get asking(): SubscribeExchange<Client> | undefined {
    return this.#requests?.asking;
  }

  set asking(asking: SubscribeExchange<Client> | undefined) {
    this.#requests = orNone({ ...presentOf(this.#requests), asking });
  }

  /** Whether nothing is under way for the filter. */
  get isQuiet(): boolean {
    return this.#requests === undefined;
  }

  /** Requests that wait for the next SUBSCRIBE. */
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

  /** The clients that get the retained messages. */
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
