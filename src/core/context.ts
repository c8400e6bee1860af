/**
 * What every procedure works on: the tables, the clock's reading of this turn, and where effects go.
 *
 * One context is one gateway. `now` and the effects belong to the turn; the rest lives as long as the gateway.
 */
import { Counters } from "./counters.ts";
import { Deadline, Deadlines } from "./deadlines.ts";
import type { Effect } from "./effect.ts";
import { Effects } from "./effects.ts";
import type { DropReason } from "./event.ts";
import type { PredefinedTopics } from "./input.ts";
import { Journal } from "./journal.ts";
import type { CoreEnvironment, CoreOptions } from "./options.ts";
import { OncePerSecond, RatePerSecond } from "./rates.ts";
import type { Link } from "./state/broker-session.ts";
import { Letters } from "./state/letters.ts";
import type { Session } from "./state/session.ts";
import { SessionTable } from "./state/session-table.ts";
import type { Setup } from "./state/setup.ts";
import type { RetainedWait } from "./state/trunk.ts";
import { Upstreams } from "./state/upstream.ts";
import type { CommitToken, Instant, LinkId, PeerId } from "./types.ts";

/** Clients remembered as accepted by the broker; beyond, the first is forgotten. */
const knownMax = 100_000;

export type GatewayDeadline = Deadline<"gateway", "start" | "advertise" | "drain" | "probe" | "retained">;

export type AnyDeadline = Session["life"] | Session["retry"] | Session["expiry"] | Setup["expiry"] | GatewayDeadline;

export class Context {
  readonly options: CoreOptions;
  readonly environment: CoreEnvironment;
  now: Instant = 0;
  readonly counters = new Counters();
  readonly out = new Effects(this.counters);
  readonly deadlines = new Deadlines<AnyDeadline>();
  readonly sessions: SessionTable;
  /** CONNECTs under way, by peer. */
  readonly setups = new Map<PeerId, Setup>();
  readonly links = new Map<LinkId, Link>();
  readonly journal: Journal;
  readonly upstreams: Upstreams;
  readonly strangers: OncePerSecond;
  readonly newSessions: RatePerSecond;
  predefined: PredefinedTopics;
  stopping = false;
  /** The store did not take the last commit, or has not answered one for too long. */
  storeFails = false;
  /** All commits up to this one are answered. */
  answeredCommit: CommitToken = 0;
  /** Since when the store owes an answer. */
  storeBusySince: Instant | undefined;
  readonly probe: GatewayDeadline = new Deadline("gateway", "probe");
  /** Clients that the broker has accepted, longest ago first: they may connect while it is away. */
  readonly known = new Set<string>();
  /** Sessions whose backlog may have something to send. */
  readonly draining = new Set<Session>();
  readonly drain: GatewayDeadline = new Deadline("gateway", "drain");
  /** Publications that may leave the backlogs now. */
  drainCredit = 0;
  readonly letters = new Letters();
  /** Reads of backlogs, to be asked for behind what this turn writes. */
  reads: Extract<Effect, { kind: "fetch" }>[] = [];
  readonly advertise: GatewayDeadline = new Deadline("gateway", "advertise");
  /** Who waits for retained messages over a shared connection, longest first. */
  readonly retainedWaits: RetainedWait[] = [];
  readonly retained: GatewayDeadline = new Deadline("gateway", "retained");
  #lastLink = 0;

  constructor(options: CoreOptions, environment: CoreEnvironment) {
    this.options = options;
    this.environment = environment;
    this.predefined = options.topics.predefined;
    this.upstreams = new Upstreams(options.upstream, options.upstreams, () => environment.random());
    this.sessions = new SessionTable(environment);
    this.journal = new Journal(options.durable, this.out);
    this.strangers = new OncePerSecond(options.strangerAnswersPerSecondMax);
    this.newSessions = new RatePerSecond({
      totalMax: options.clients.newPerSecondMax,
      perKeyMax: options.clients.newPerSecondPerHostMax,
    });
  }

  /** Counts and reports something that is not done. */
  drop(reason: DropReason, about: { clientId?: string | undefined; peer?: PeerId | undefined; detail: string }): void {
    this.counters.dropped[reason]++;
    this.out.report({ event: "drop", reason, clientId: about.clientId, peer: about.peer, detail: about.detail });
  }

  /** The broker has accepted this client. */
  noteKnown(clientId: string): void {
    if (!this.journal.enabled || this.known.has(clientId)) return;
    this.known.add(clientId);
    this.journal.remember({ of: "known", clientId, id: 0, record: {} });
    const oldest = this.known.size > knownMax ? this.known.values().next() : undefined;
    if (oldest && !oldest.done) this.forgetKnown(oldest.value);
  }

  /** The broker will not have this client. */
  forgetKnown(clientId: string): void {
    if (this.known.delete(clientId)) this.journal.remove({ of: "known", clientId, id: 0, record: undefined });
  }

  nextLinkId(of: string): LinkId {
    return `${of}~${++this.#lastLink}`;
  }

  /** How long a peer may go on repeating itself: T_retry x (N_retry + 1). */
  get repetitionMs(): number {
    const { retryIntervalSeconds, retryLimit } = this.options.retry;
    return retryIntervalSeconds * 1000 * (retryLimit + 1);
  }

  hostOf(peer: PeerId): string {
    const node = peer.indexOf("#");
    return this.environment.hostOf(node < 0 ? peer : peer.slice(0, node));
  }
}

/** Octets of one message that this peer can take, encapsulation paid. */
export function maxMessageBytes(context: Context, peer: PeerId): number {
  const node = peer.indexOf("#");
  if (node < 0) return context.environment.maxMessageBytes(peer);
  return context.environment.maxMessageBytes(peer.slice(0, node)) - 3 - (peer.length - node - 1) / 2;
}
