/**
 * The invariants of the gateway's state between two turns. Tables agree, and counters are the sums. The two halves of
 * each pair refer to each other. Nothing waits without something that will end the wait. Everything that has changed is
 * written.
 *
 * The judge of the simulation sees only what devices and brokers see, so a fault inside may take long to become visible
 * there. Tests and the simulation check the invariants after each turn. A running gateway never does, and has no cost
 * from it.
 */
import { assert, type Found } from "../assert.ts";
import type { Effect } from "../effect.ts";
import type { Input } from "../input.ts";
import type { SessionRecord } from "../record.ts";
import type { LinkId } from "../types.ts";
import type { BrokerSession } from "./broker-session.ts";
import { checkBroker, checkLinks } from "./check-broker.ts";
import { checkClient } from "./check-client.ts";
import { differenceOf } from "./check-parked.ts";
import { WrittenRecords } from "./check-records.ts";
import { checkRetainedWaits, checkShared } from "./check-shared.ts";
import type { Checked } from "./checked.ts";
import { PendingConnect } from "./pending-connect.ts";
import { Session } from "./session.ts";

/** A turn: its input, and what followed from it. */
export interface Turn {
  /** Undefined: the turn was caused by the time. */
  readonly input: Input | undefined;
  readonly effects: readonly Effect[];
}

/** Functions of higher layers that the check needs. */
export interface Procedures {
  recordOf(session: Session): SessionRecord;
  silenceAllowedMs(session: Session): number;
}

/**
 * Up to so many sessions, all of them are checked after each turn. If there are more, only those that the turn touched
 * or names are checked.
 */
const wholeMax = 200;

/** After so many turns all sessions are checked, however many there are. */
const wholeEvery = 1_000;

/** An error names at most so many findings. */
const toldMax = 5;

/** What a check remembers of earlier turns. */
export class CheckMemory {
  turns = 0;
  readonly written = new WrittenRecords();
}

/** Checks the gateway after this turn. @throws {AssertionError} where the state is not as it must be. */
export function checkInvariants(gateway: Checked, turn: Turn, memory: CheckMemory, procedures: Procedures): void {
  memory.turns++;
  gateway.sessions.watch ??= (session, again) => {
    const difference = differenceOf(session, again, gateway.now - gateway.repetitionMs);
    assert(difference === undefined, `client ${session.clientId} is parked, and would come back with ${difference}`);
  };
  if (gateway.stopping) return; // everything has ended: the tables are not updated any more
  const findings: string[] = [];
  const found: Found = (finding) => findings.push(finding);
  const isWhole = gateway.sessions.size <= wholeMax || memory.turns % wholeEvery === 0;
  const sessions = isWhole ? [...gateway.sessions.each()] : named(gateway, turn);
  if (isWhole) checkTables(gateway, found);
  if (isWhole) checkSums(gateway, sessions, found);
  checkSessions(gateway, sessions, isWhole, procedures, found);
  if (gateway.journal.enabled) {
    memory.written.note(turn);
    for (const session of sessions) memory.written.compare(session, procedures.recordOf, found);
  }
  if (findings.length > 0) assert(false, findings.slice(0, toldMax).join("; "));
}

function checkTables(gateway: Checked, found: Found): void {
  gateway.sessions.check(found);
  checkPendingConnects(gateway, found);
  checkLinks(gateway, found);
  checkDeadlines(gateway, found);
  for (const { sharedConnections } of gateway.upstreams.all)
    for (const shared of sharedConnections) checkShared(gateway, shared, found);
  checkRetainedWaits(gateway, found);
  const { sessionsMax, pendingMax } = gateway.options.clients;
  const { size, restored } = gateway.sessions;
  if (size > Math.max(sessionsMax, restored)) found(`there are ${size} sessions, at most ${sessionsMax}`);
  let waiting = 0;
  for (const pending of gateway.pendingConnects.values()) if (!pending.repeats) waiting++;
  if (waiting > pendingMax) found(`${waiting} set-ups are under way, at most ${pendingMax}`);
  if (gateway.drain.waiting.size > 0 && gateway.drain.deadline.at === undefined)
    found(`${gateway.drain.waiting.size} clients are to send from their backlogs, and no deadline is set for it`);
}

function checkPendingConnects({ pendingConnects, sessions }: Checked, found: Found): void {
  for (const [peer, pending] of pendingConnects) {
    const who = `client ${pending.clientId}`;
    const { session } = pending;
    if (pending.peer !== peer) found(`${who}: its set-up from ${pending.peer} stands in the table for ${peer}`);
    if (pending.expiry.at === undefined) found(`${who}: its set-up has no deadline`);
    if ((pending.stage === "broker") !== (session !== undefined))
      found(`${who}: its set-up is at stage "${pending.stage}" with${session ? "" : "out"} a session`);
    if (session && session.pendingConnect !== pending)
      found(`${who}: its set-up has a session that knows nothing of it`);
    if (session && !sessions.isCurrent(session)) found(`${who}: its set-up has a session that is not in the table`);
  }
}

/** Every deadline belongs to a session that exists. */
function checkDeadlines({ deadlines, sessions, pendingConnects }: Checked, found: Found): void {
  deadlines.check(({ owner, name }) => {
    if (owner instanceof Session && !sessions.isCurrent(owner))
      found(`client ${owner.clientId}: a session that is over has its deadline "${name}" still`);
    if (owner instanceof PendingConnect && pendingConnects.get(owner.peer) !== owner)
      found(`client ${owner.clientId}: a set-up that is over has its deadline still`);
  }, found);
}

function checkSums({ counters }: Checked, sessions: readonly Session[], found: Found): void {
  const sums = { bufferedMessages: 0, bufferedBytes: 0, backlogMessages: 0, backlogBytes: 0 };
  for (const { outbox, account } of sessions) {
    sums.bufferedMessages += outbox.length;
    sums.bufferedBytes += outbox.bytes;
    sums.backlogMessages += account.backlog.count;
    sums.backlogBytes += account.backlog.bytes;
  }
  for (const name of ["bufferedMessages", "bufferedBytes", "backlogMessages", "backlogBytes"] as const)
    if (counters[name] !== sums[name])
      found(`the counter ${name} says ${counters[name]}, all clients together have ${sums[name]}`);
}

/** `isWhole`: these are all sessions, so the shared counters can be compared with the sums over the sessions. */
function checkSessions(
  gateway: Checked,
  sessions: readonly Session[],
  isWhole: boolean,
  procedures: Procedures,
  found: Found,
): void {
  const accepted = new Map<Session, number>();
  const seen = new Set<BrokerSession<Session>>();
  const look = (broker: BrokerSession<Session>, who: () => string): number => {
    if (seen.has(broker)) return 0;
    seen.add(broker);
    return checkBroker({ gateway, broker, who, accepted, found });
  };
  const byBroker = new Map<BrokerSession<Session>, number>();
  for (const { name, service, sharedConnections } of isWhole ? gateway.upstreams.all : []) {
    for (const { broker, upstreamKey } of sharedConnections)
      byBroker.set(
        broker,
        look(broker, () => `the byBroker connection ${upstreamKey}`),
      );
    look(service, () => `the gateway's own connection to "${name}"`);
  }
  for (const session of sessions) {
    const { broker, shared, clientId } = session;
    const said = look(broker, () => (shared ? `the byBroker connection ${shared.upstreamKey}` : `client ${clientId}`));
    const held = checkClient({ gateway, session, accepted: accepted.get(session) ?? 0, found, procedures });
    if (shared) byBroker.set(broker, (byBroker.get(broker) ?? 0) - held);
    else if (said !== held)
      found(`client ${clientId}: ${said} deliveries say that they are held, ${held} messages hold one`);
  }
  if (!isWhole) return;
  for (const { sharedConnections } of gateway.upstreams.all)
    for (const shared of sharedConnections) {
      const unknown = byBroker.get(shared.broker) ?? 0;
      if (unknown !== 0)
        found(
          `the byBroker connection ${shared.upstreamKey}: ${unknown} deliveries say that they are held, and are not`,
        );
    }
}

/** The sessions that a turn touched, or that its input or its effects name. */
function named({ sessions, links, touched }: Checked, { input, effects }: Turn): Session[] {
  const all = new Set<Session>(touched);
  const add = (session: Session | undefined) => session && all.add(session);
  const byLink = (linkId: LinkId) => add(links.get(linkId)?.session);
  if (input?.kind === "datagram") add(sessions.lookAt(input.from));
  else if (input && "linkId" in input) byLink(input.linkId);
  else if (input && "clientId" in input) add(sessions.look(input.clientId));
  for (const effect of effects) {
    if (effect.kind === "send") add(sessions.lookAt(effect.to));
    else if (effect.kind === "persist") for (const { clientId } of effect.changes) add(sessions.look(clientId));
    else if (effect.kind === "report") {
      const { event } = effect;
      if ("clientId" in event && event.clientId !== undefined) add(sessions.look(event.clientId));
    } else if ("linkId" in effect) byLink(effect.linkId);
  }
  return [...all].filter((session) => session.isParked || sessions.isCurrent(session));
}
