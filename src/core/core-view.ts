/**
 * What others may ask about the state of the gateway: metrics, the console, captures and tests. Everything here only
 * reads, and a parked session stays parked.
 */
import { fromBroker } from "./broker/topic-prefix.ts";
import type { Context } from "./context.ts";
import type { Counters } from "./counters.ts";
import { type Dialects, dialectOf } from "./dialects/dialect.ts";
import { peerBehind } from "./peer-id.ts";
import type { SessionRecord } from "./record.ts";
import { publicationNamed } from "./session/publish-topic.ts";
import { recordOf } from "./session/session-record.ts";
import { type PacketView, packetsOf, type SessionView, viewOf } from "./session/session-view.ts";
import type { ClientState, LinkId, PeerId } from "./types.ts";

export class CoreView {
  readonly #context: Context;
  readonly #dialects: Dialects;

  constructor(context: Context, dialects: Dialects) {
    this.#context = context;
    this.#dialects = dialects;
  }

  /** Plain numbers for metrics; read, do not write. */
  get counters(): Counters {
    return this.#context.counters;
  }

  /** True if every broker can be reached, as far as the gateway's own connections show. */
  get brokerThere(): boolean {
    return this.#context.upstreams.all.every(({ isThere }) => isThere);
  }

  /** As `brokerThere`, for each upstream; "" is the default one. */
  get brokersThere(): readonly { readonly name: string; readonly isThere: boolean }[] {
    return this.#context.upstreams.all.map(({ name, isThere }) => ({ name, isThere }));
  }

  /** Whether the store refused the last commit. */
  get storeFails(): boolean {
    return this.#context.storeFails;
  }

  /** Sessions in each state. They are counted when they change, because there may be many. */
  get sessionsByState(): Readonly<Record<ClientState, number>> {
    return this.#context.sessions.byState;
  }

  /** Clients are served, and sessions of an earlier run are still restored. */
  get isRestoring(): boolean {
    return this.#context.restoring?.isComplete === false;
  }

  /** Sizes of the tables, for metrics and tests. */
  get sizes(): {
    readonly sessions: number;
    readonly pendingConnects: number;
    readonly links: number;
    readonly deadlines: number;
    /** Sessions that are parked; they are counted in `sessions` too. */
    readonly parked: number;
    /** Filters of parked sessions for which there is no object. */
    readonly restingFilters: number;
    /** Clients without a session whose use of their limits is remembered. */
    readonly allowances: number;
  } {
    const { sessions, pendingConnects, links, deadlines, allowances, upstreams } = this.#context;
    return {
      sessions: sessions.size,
      pendingConnects: pendingConnects.size,
      links: links.size,
      deadlines: deadlines.size + sessions.parked,
      parked: sessions.parked,
      restingFilters: restingFilters(upstreams),
      allowances: allowances.size,
    };
  }

  /** True if this dead letter is still kept. */
  hasLetter(id: number): boolean {
    return this.#context.letters.present.has(id);
  }

  /** Dead letters that are kept. */
  get letters(): number {
    return this.#context.letters.present.size;
  }

  /** The session of one client, and its record; undefined: the client has no session. */
  session(clientId: string): { readonly view: SessionView; readonly record: SessionRecord } | undefined {
    const session = this.#context.sessions.look(clientId);
    return session && { view: viewOf(session), record: recordOf(session) };
  }

  /** The client at this address, or the one that is connecting from it; undefined: none. */
  clientAt(peer: PeerId): string | undefined {
    const { pendingConnects, sessions } = this.#context;
    return pendingConnects.get(peer)?.clientId ?? sessions.lookAt(peer)?.clientId;
  }

  /**
   * The sender's identity, as far as the datagram contains one or the address is known; behind a forwarder, the node.
   */
  whoSays(from: PeerId, bytes: Uint8Array): { readonly peer: PeerId; readonly clientId: string | undefined } {
    const heard = dialectOf(this.#context, this.#dialects, from, bytes).decode(bytes);
    const peer = heard.forwarded ? peerBehind(from, heard.forwarded.nodeId) : from;
    const said = heard.ok && "clientId" in heard.message ? heard.message.clientId : undefined;
    return { peer, clientId: typeof said === "string" && said !== "" ? said : this.clientAt(peer) };
  }

  /**
   * The publication in this datagram, as the payload policy sees it, and its sender (behind a forwarder, the node).
   * Changes nothing.
   */
  publicationIn(from: PeerId, bytes: Uint8Array): { readonly peer: PeerId; readonly publication?: PublicationHeard } {
    const context = this.#context;
    const dialect = dialectOf(context, this.#dialects, from, bytes);
    const heard = dialect.decode(bytes);
    const peer = heard.forwarded ? peerBehind(from, heard.forwarded.nodeId) : from;
    const message = heard.ok ? dialect.publishIn(heard.message) : undefined;
    const session = message && context.sessions.lookAt(peer);
    const named = message && publicationNamed(context, { peer, session }, message);
    return named ? { peer, publication: { ...named, clientId: session?.clientId } } : { peer };
  }

  /**
   * The client of this delivery, and the topic name that clients use; undefined: none. On a shared connection
   * `clientId` is undefined.
   */
  deliveryFor(
    linkId: LinkId,
    topicName: string,
  ): { readonly clientId: string | undefined; readonly topicName: string } | undefined {
    const link = this.#context.links.get(linkId);
    const name = link && fromBroker(link.upstream.options.topicPrefix, topicName);
    if (name === undefined || (!link?.session && !link?.shared)) return undefined;
    return { clientId: link.session?.clientId, topicName: name };
  }

  /** The topic name of this id for this client, registered or predefined; undefined: not known. */
  topicName(clientId: string, topicId: number, isPredefined: boolean): string | undefined {
    const session = this.#context.sessions.look(clientId);
    if (!isPredefined) return session?.registry.byId(topicId)?.name;
    const predefined = session?.predefined ?? this.#context.predefined;
    return predefined.byClientId.get(clientId)?.get(topicId) ?? predefined.forAll.get(topicId);
  }

  /** Every topic name and filter of each client. A large gateway has many, so they are read on demand only. */
  *topicUses(): IterableIterator<{ readonly name: string; readonly isFilter: boolean; readonly clientId: string }> {
    for (const { clientId, registry, subscriptions } of this.#context.sessions.each()) {
      for (const { name } of registry.topics()) yield { name, isFilter: false, clientId };
      for (const name of subscriptions.keys()) yield { name, isFilter: true, clientId };
    }
  }

  /** Each broker by the name of its upstream ("" = the default one). */
  brokers(): readonly { readonly name: string; readonly isThere: boolean }[] {
    return this.#context.upstreams.all.map(({ name, isThere }) => ({ name, isThere }));
  }

  /** Messages of this client on the way to the broker; undefined: the client has no session. */
  underWay(clientId: string): readonly PacketView[] | undefined {
    const session = this.#context.sessions.look(clientId);
    return session && packetsOf(session);
  }

  /** Records of the client's backlog on disk from this number on are not in flight. */
  firstUnsent(clientId: string): number {
    const backlog = this.#context.sessions.look(clientId)?.account.backlog;
    return backlog ? (backlog.head[0]?.id ?? backlog.readUpTo + 1) : 0;
  }

  /**
   * The clients with publications that the broker does not have yet. None of them is parked. `owedBytes` counts those on disk that are not
   * sent, as `backlogBytes` counts them.
   */
  owing(): { readonly clientId: string; readonly owedToBroker: number; readonly owedBytes: number }[] {
    const owing = [];
    for (const { clientId, account } of this.#context.sessions.live()) {
      const { unforwarded, backlog } = account;
      if (unforwarded > 0) owing.push({ clientId, owedToBroker: unforwarded, owedBytes: backlog.bytes });
    }
    return owing;
  }

  /** The clients whose sessions are not parked: for others nothing is open. */
  liveClientIds(): string[] {
    return Array.from(this.#context.sessions.live(), ({ clientId }) => clientId);
  }

  /**
   * Every session, as a read-only picture of its moment. Sessions may change between two steps of the iterator: one that begins or ends
   * meanwhile may be left out, and every other one appears once.
   */
  *sessions(): IterableIterator<SessionView> {
    for (const session of this.#context.sessions.each()) yield viewOf(session);
  }
}

/** The publication in a datagram, before anything is decided about it. */
export interface PublicationHeard {
  /** Undefined: the sender has no session. */
  readonly clientId: string | undefined;
  readonly topicName: string;
  readonly payload: Uint8Array;
}

function restingFilters({ all }: Context["upstreams"]): number {
  let resting = 0;
  for (const upstream of all) for (const { filters } of upstream.allShared()) resting += filters.resting;
  return resting;
}
