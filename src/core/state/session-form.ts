/**
 * Turns a session with nothing open into octets, and back. The stored record has most of this too. But a restart may
 * forget what parking must not lose: when the client was heard, its position in the MsgIds, what it may still repeat,
 * and what is left of its limits.
 *
 * What is not written here is empty in a session that is parked (`hasNothingOpen`), or is computed again.
 * `differenceOf` (check-parked.ts) compares every property of two sessions, so the tests find a property that is added
 * to `Session` and forgotten here.
 */
import type { AccessPolicy, Rights } from "../access.ts";
import type { Place } from "../arena.ts";
import type { Counters } from "../counters.ts";
import type { PredefinedTopics } from "../input.ts";
import { Interned } from "../interned.ts";
import { OctetReader, OctetWriter } from "../octet-form.ts";
import type { CoreOptions } from "../options.ts";
import { PeerForm } from "../peer-form.ts";
import type { Speech } from "../speech.ts";
import type { ClientState, Instant, PeerId, QoS } from "../types.ts";
import { Account } from "./account.ts";
import { Allowance } from "./allowance.ts";
import { Outbox } from "./outbox.ts";
import { Session } from "./session.ts";
import {
  flag,
  hasFilter,
  never,
  readFilters,
  readShown,
  readSubscriptions,
  readTopics,
  readWill,
  writeShown,
  writeSubscriptions,
  writeTopics,
  writeWill,
} from "./session-parts.ts";
import { Registry } from "./topic-registry.ts";
import type { Upstream, Upstreams } from "./upstream.ts";

/** The parts of the gateway that are needed to make a session from octets. `Context` has them. */
export interface Surroundings {
  readonly options: CoreOptions;
  readonly now: Instant;
  readonly counters: Counters;
  readonly upstreams: Upstreams<Session>;
  readonly dialects: readonly [Speech, ...Speech[]];
  readonly predefined: PredefinedTopics;
  readonly access: AccessPolicy;
  readonly journal: { readonly enabled: boolean };
}

/** The first octet: the state, and flags. */
const states: readonly ClientState[] = ["asleep", "disconnected", "lost"];
const stateMask = 0x03;
const first = { clean: 0x04, spoke: 0x08, vouched: 0x10, isUnasked: 0x20, lacksId: 0x40 };
/** Flags in the second and third octet: which parts follow. */
const second = {
  peer: 0x01,
  host: 0x02,
  will: 0x04,
  willMessage: 0x08,
  boundTo: 0x10,
  stateSince: 0x20,
  unproven: 0x40,
  reported: 0x80,
};
const third = {
  shown: 0x01,
  recent: 0x02,
  allowance: 0x04,
  rights: 0x08,
  account: 0x10,
  outbox: 0x20,
  unprovenWaits: 0x40,
  /** The session does not use the first dialect at the first connection of the first upstream. */
  place: 0x80,
};
const lastHeardAt = 3;

/** What can be read of a parked session without making an object of it. */
export interface Glance {
  readonly state: ClientState;
  readonly clientId: string;
  readonly peer: PeerId | undefined;
  readonly vouched: boolean;
  readonly lastHeard: Instant;
  readonly hasWill: boolean;
  /** The session has `boundTo`. */
  readonly isBound: boolean;
}

export class SessionForm {
  readonly #around: Surroundings;
  readonly #hostOf: (peer: PeerId) => string;
  readonly #writer = new OctetWriter();
  readonly #peers = new PeerForm();
  /** The reasons of states (`stateWhy`). There are few different ones, and they are long, so each is kept once. */
  readonly #reasons = new Interned<string>();
  readonly #tables = new Interned<PredefinedTopics>();
  readonly #rights = new Interned<Rights | undefined>();
  readonly #policies = new Interned<AccessPolicy>();

  constructor(around: Surroundings, hostOf: (peer: PeerId) => string) {
    this.#around = around;
    this.#hostOf = hostOf;
  }

  /** The number of values that octets refer to. For tests. */
  get interned(): number {
    return this.#reasons.size + this.#tables.size + this.#rights.size + this.#policies.size;
  }

  /**
   * Writes a session with nothing open. The octets are valid until the next call. When the octets are not kept any
   * more, `release` must be called.
   */
  write(session: Session): OctetWriter {
    const into = this.#writer;
    const { peer, host, will, willMessage, boundTo, stateSince, unproven, outbox, account, allowance, shown } = session;
    const { now } = this.#around;
    const hasHost = host !== undefined && (peer === undefined || host !== this.#hostOf(peer));
    const { upstreams, dialects } = this.#around;
    const where = [
      upstreams.all.indexOf(session.upstream),
      session.shared?.index ?? 0,
      dialects.indexOf(session.dialect),
    ];
    const isElsewhere = where.some((number) => number !== 0);
    const recent = session.recentPublishes.since(now - this.#rememberedMs);
    const keepsRights = peer === undefined && session.rightsBy !== undefined;
    const hasAccount = account.backlog.next !== 1 || account.drainedAt !== 0;
    const hasOutbox =
      outbox.vainAt !== never || outbox.pausedUntil !== 0 || outbox.allowance !== Number.POSITIVE_INFINITY;
    into.begin();
    into.octet(
      states.indexOf(session.state) |
        flag(session.clean, first.clean) |
        flag(session.spoke, first.spoke) |
        flag(session.vouched, first.vouched) |
        flag(session.isUnasked, first.isUnasked) |
        flag(session.lacksId, first.lacksId),
    );
    into.octet(
      flag(peer !== undefined, second.peer) |
        flag(hasHost, second.host) |
        flag(will !== undefined, second.will) |
        flag(willMessage !== undefined, second.willMessage) |
        flag(boundTo !== undefined, second.boundTo) |
        flag(stateSince !== undefined, second.stateSince) |
        flag(unproven !== undefined, second.unproven) |
        flag(session.reported, second.reported),
    );
    into.octet(
      flag(shown.size > 0, third.shown) |
        flag(recent.length > 0, third.recent) |
        flag(allowance !== undefined, third.allowance) |
        flag(keepsRights, third.rights) |
        flag(hasAccount, third.account) |
        flag(hasOutbox, third.outbox) |
        flag(unproven?.waits === true, third.unprovenWaits) |
        flag(isElsewhere, third.place),
    );
    into.float(session.lastHeard);
    into.count(this.#reasons.use(session.stateWhy));
    into.count(this.#tables.use(session.predefined));
    if (keepsRights && session.rightsBy) {
      into.count(this.#rights.use(session.rights));
      into.count(this.#policies.use(session.rightsBy));
    }
    into.text(session.clientId);
    if (peer !== undefined) this.#peers.write(into, peer);
    if (hasHost) into.text(host);
    writeSubscriptions(into, session);
    if (isElsewhere) for (const number of where) into.count(number);
    into.count(session.keepAliveSeconds);
    into.count(session.sleepSeconds);
    into.count(session.heard);
    into.count(session.dropped);
    if (stateSince !== undefined) into.float(stateSince);
    if (will) writeWill(into, will);
    if (willMessage) into.bytes(willMessage);
    if (boundTo !== undefined) into.text(boundTo);
    if (unproven) {
      into.count(unproven.heard);
      into.count(unproven.sent);
    }
    writeTopics(into, session);
    into.count(outbox.lastMsgId);
    into.count(outbox.answers);
    into.count(outbox.wakeUps);
    into.count(outbox.triedAsideIn);
    into.count(outbox.silentAt + 1);
    if (hasOutbox) for (const number of [outbox.vainAt, outbox.pausedUntil, outbox.allowance]) into.float(number);
    if (hasAccount)
      for (const number of [account.backlog.next, account.backlog.readUpTo, account.drainedAt]) into.count(number);
    if (shown.size > 0) writeShown(into, session);
    if (recent.length > 0) into.count(recent.length);
    for (const { msgId, topicId, qos, hash, after = -1, at } of recent)
      for (const number of [msgId, topicId, qos, hash, after, at]) into.float(number);
    if (allowance) for (const level of allowance.levels) into.float(level);
    return into;
  }

  /** Makes a session from its octets. It has no row, no deadline is set, and it is in no table. */
  read(place: Place): Session {
    const from = new OctetReader(place);
    const [a, b, c] = [from.octet(), from.octet(), from.octet()];
    const lastHeard = from.float();
    const stateWhy = this.#reasons.get(from.count()) ?? "";
    const { options, journal, counters, upstreams, dialects } = this.#around;
    const predefined = this.#tables.get(from.count()) ?? this.#around.predefined;
    const rights = c & third.rights ? this.#rights.get(from.count()) : undefined;
    const rightsBy = c & third.rights ? this.#policies.get(from.count()) : undefined;
    const clientId = from.text();
    const peer = b & second.peer ? this.#peers.read(from) : undefined;
    const host = b & second.host ? from.text() : peer && this.#hostOf(peer);
    const subscriptions = readSubscriptions(from);
    const where = c & third.place ? [from.count(), from.count(), from.count()] : [0, 0, 0];
    const upstream: Upstream<Session> = upstreams.all[where[0] ?? 0] ?? upstreams.default;
    const shared = upstream.sharedConnections[where[1] ?? 0];
    const broker = shared?.broker ?? upstream.service; // only clients that share a connection are parked
    const dialect = dialects[where[2] ?? 0] ?? dialects[0];
    const [keepAliveSeconds, sleepSeconds, heard, dropped] = [from.count(), from.count(), from.count(), from.count()];
    const stateSince = b & second.stateSince ? from.float() : undefined;
    const will = b & second.will ? readWill(from) : undefined;
    const willMessage = b & second.willMessage ? from.bytes() : undefined;
    const boundTo = b & second.boundTo ? from.text() : undefined;
    const unproven =
      b & second.unproven
        ? { heard: from.count(), sent: from.count(), waits: (c & third.unprovenWaits) !== 0 }
        : undefined;
    const around = this.#around;
    const registry = new Registry({
      isKept: journal.enabled,
      start: from.count(),
      limit: options.topics.idsPerClientMax,
      isPredefined: (id) =>
        around.predefined.forAll.has(id) || around.predefined.byClientId.get(clientId)?.has(id) === true,
    });
    readTopics(from, registry);
    const outbox = new Outbox(from.count(), counters.buffered);
    const account = new Account(counters.backlog);
    const session = new Session({
      clientId,
      clean: (a & first.clean) !== 0,
      dialect,
      registry,
      upstream,
      shared,
      broker,
      account,
      predefined,
      outbox,
    });
    outbox.answers = from.count();
    outbox.wakeUps = from.count();
    outbox.triedAsideIn = from.count();
    outbox.silentAt = from.count() - 1;
    if (c & third.outbox) {
      outbox.vainAt = from.float();
      outbox.pausedUntil = from.float();
      outbox.allowance = from.float();
    }
    if (c & third.account) {
      account.backlog.next = from.count();
      account.backlog.readUpTo = from.count();
      account.drainedAt = from.count();
    }
    if (c & third.shown) readShown(from, session);
    for (let left = c & third.recent ? from.count() : 0; left > 0; left--) this.#readRecent(from, session);
    if (c & third.allowance) session.allowance = readAllowance(from, this.#around, clientId);
    session.state = states[a & stateMask] ?? "lost";
    session.spoke = (a & first.spoke) !== 0;
    session.vouched = (a & first.vouched) !== 0;
    session.isUnasked = (a & first.isUnasked) !== 0;
    session.lacksId = (a & first.lacksId) !== 0;
    session.reported = (b & second.reported) !== 0;
    session.lastHeard = lastHeard;
    session.stateWhy = stateWhy;
    session.stateSince = stateSince;
    session.peer = peer;
    session.host = host;
    session.keepAliveSeconds = keepAliveSeconds;
    session.sleepSeconds = sleepSeconds;
    session.heard = heard;
    session.dropped = dropped;
    session.will = will;
    session.willMessage = willMessage;
    session.boundTo = boundTo;
    session.unproven = unproven;
    session.rights = rights;
    session.rightsBy = rightsBy;
    for (const each of subscriptions) session.subscriptions.set(each.filter, each);
    return session;
  }

  /** The octets at this place are not kept any more. */
  release(place: Place): void {
    const from = new OctetReader(place);
    from.octet();
    from.octet();
    const c = from.octet();
    from.float();
    this.#reasons.release(from.count());
    this.#tables.release(from.count());
    if ((c & third.rights) === 0) return;
    this.#rights.release(from.count());
    this.#policies.release(from.count());
  }

  glance(place: Place): Glance {
    const from = new OctetReader(place);
    const [a, b] = [from.octet(), from.octet()];
    this.#skipToName(from);
    const clientId = from.text();
    return {
      state: states[a & stateMask] ?? "lost",
      clientId,
      peer: b & second.peer ? this.#peers.read(from) : undefined,
      vouched: (a & first.vouched) !== 0,
      lastHeard: place.view.getFloat64(place.at + lastHeardAt),
      hasWill: (b & second.will) !== 0,
      isBound: (b & second.boundTo) !== 0,
    };
  }

  /** Whether these are the octets of this client. */
  isOf(place: Place, clientId: string): boolean {
    const from = new OctetReader(place);
    from.octet();
    from.octet();
    this.#skipToName(from);
    return from.isText(clientId);
  }

  /** Whether these are the octets of a client at this address. */
  isAt(place: Place, peer: PeerId): boolean {
    const from = new OctetReader(place);
    from.octet();
    if ((from.octet() & second.peer) === 0) return false;
    this.#skipToName(from);
    from.skipText(); // skips the client id
    return this.#peers.isNext(from, peer);
  }

  /** Whether the client subscribes to this filter at this QoS, and the broker has not refused it. */
  subscribes(place: Place, filter: string, qos: QoS): boolean {
    return hasFilter(this.#atSubscriptions(place), filter, qos);
  }

  /** All filters for which `subscribes` is true. */
  filtersOf(place: Place, qos: QoS): Iterable<string> {
    return readFilters(this.#atSubscriptions(place), qos);
  }

  #atSubscriptions(place: Place): OctetReader {
    const from = new OctetReader(place);
    from.octet();
    const b = from.octet();
    this.#skipToName(from);
    from.skipText();
    if (b & second.peer) this.#peers.skip(from);
    if (b & second.host) from.skipText();
    return from;
  }

  /** Records that the client was heard at this time. */
  noteHeard(place: Place, at: Instant): void {
    place.view.setFloat64(place.at + lastHeardAt, at);
  }

  /** Continues behind the second octet. */
  #skipToName(from: OctetReader): void {
    const c = from.octet();
    from.float();
    for (let left = c & third.rights ? 4 : 2; left > 0; left--) from.count();
  }

  #readRecent(from: OctetReader, session: Session): void {
    const [msgId, topicId, qos, hash, after, at] = [
      from.float(),
      from.float(),
      from.float() as QoS,
      from.float(),
      from.float(),
      from.float(),
    ];
    session.recentPublishes.note(
      { msgId, topicId, qos, hash, after: after < 0 ? undefined : after, at },
      this.#around.options.clients.uplinkInFlightMax,
    );
  }

  /** How long a client may repeat a publication, in milliseconds: `Context.repetitionMs`. */
  get #rememberedMs(): number {
    const { retryIntervalSeconds, retryLimit } = this.#around.options.retry;
    return retryIntervalSeconds * 1_000 * (retryLimit + 1);
  }
}

function readAllowance(from: OctetReader, { access, now }: Surroundings, clientId: string): Allowance | undefined {
  const levels = [from.float(), from.float(), from.float(), from.float(), from.float(), from.float()];
  const limits = access.limitsOf(clientId);
  if (!limits) return undefined;
  const allowance = new Allowance(limits, now);
  allowance.restore(levels);
  return allowance;
}
