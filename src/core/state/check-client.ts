/** The checks of one client: its outbox, what it waits for, its deadlines and its limits. See check.ts. */
import type { Found } from "../assert.ts";
import type { Checked } from "./checked.ts";
import type { UnsubscribeExchange } from "./exchanges.ts";
import { isFree } from "./outbox-entry.ts";
import { isReachable, type Session } from "./session.ts";
import { isPossible } from "./standing.ts";

/**
 * So many publications of a backlog are read ahead before its oldest records can be dropped. See session/backlog.ts.
 */
const beyondBacklogMax = 64;

/** Time between two checks of messages that expire. See session/expiry.ts. */
const lookPauseMs = 1_000;

interface Subject {
  readonly gateway: Checked;
  readonly session: Session;
  /** The client's accepted publications, counted again. */
  readonly accepted: number;
  readonly found: Found;
  readonly procedures: { silenceAllowedMs(session: Session): number };
}

/** Returns how many messages hold a delivery of the broker. */
export function checkClient(subject: Subject): number {
  const { session, found } = subject;
  const tell: Found = (finding) => found(`client ${session.clientId}${finding}`);
  if (!isPossible(session)) tell(" stands in a way that does not exist: see standing.ts");
  const held = checkOutbox(subject, tell);
  checkMoving(subject, tell);
  checkUplink(subject, tell);
  checkSubscribing(subject, tell);
  checkBacklog(subject, tell);
  checkSilence(subject, tell);
  checkConnection(subject, tell);
  checkLimits(subject, tell);
  return held;
}

/** A message and the broker's delivery that it holds refer to each other until the delivery is acknowledged. */
function checkOutbox({ gateway, session }: Subject, tell: Found): number {
  const { outbox, broker, expiry } = session;
  let first = Number.POSITIVE_INFINITY;
  let held = 0;
  outbox.check(
    (entry) => {
      if (entry.expiresAt !== undefined && entry.expiresAt < first && isFree(entry)) first = entry.expiresAt;
      const { received } = entry;
      if (!received) return;
      held++;
      if (!received.held) tell(`: a message holds delivery ${received.packetId}, which does not know`);
      if (broker.received.get(received.packetId) !== received)
        tell(`: a message holds delivery ${received.packetId}, which is over`);
    },
    (finding) => tell(`: ${finding}`),
  );
  const latest = Math.ceil(Math.max(first, gateway.now + lookPauseMs));
  if (first < Number.POSITIVE_INFINITY && (expiry.at === undefined || expiry.at > latest))
    tell(": a message expires, and no deadline says so");
  return held;
}

/** A message that waits for a reachable client is in flight, or waits for something that will happen. */
function checkMoving({ gateway, session }: Subject, tell: Found): void {
  const { outbox, retry, state, peer, subscribesInFlight } = session;
  if (outbox.inFlight) {
    if (!isReachable(session))
      tell(` is ${state}${peer === undefined ? " without an address" : ""}, and something is in flight to it`);
    else if (retry.at === undefined) tell(`: something is in flight to it, and will not be sent again`);
    return;
  }
  if (!isReachable(session) || retry.at !== undefined) return; // the pause ends at the deadline
  // The client is connecting.
  if (session.pendingConnect || (peer !== undefined && gateway.pendingConnects.has(peer))) return;
  const { link } = session.broker;
  const isRestored = session.shared ? !link?.wasUp : link?.resumes && !link.wasUp;
  if (isRestored) return; // after a restart, messages are sent when the connection is up
  const head = outbox.next(gateway.now, { isAwake: state === "awake", overdueMs: gateway.roundMs(session) });
  if (!head) {
    if (state === "awake") tell(` is awake, and nothing waits for it`);
    else if (outbox.length > 0) tell(": messages stand aside, and no deadline says till when");
    return;
  }
  if (head.publication.qos === 2 && gateway.journal.enabled && gateway.storeFails && state === "active") return;
  if (session.unproven?.waits && state === "active") return; // messages are sent when the client is heard
  for (const request of subscribesInFlight.values())
    if (request.kind === "subscribe" && !request.fromBeforeConnect && request.filter === head.publication.topicName)
      return; // SUBACK tells the id
  tell(` is ${state}, ${outbox.length} messages wait for it, none is in flight, and nobody moves them on`);
}

/**
 * A publication that the client waits for is in flight at the broker with its packet id. (check-broker.ts checks the
 * other direction.)
 */
function checkUplink({ session, accepted }: Subject, tell: Found): void {
  for (const [msgId, exchange] of session.publishesInFlight) {
    const { origin, packetId } = exchange;
    if (session.broker.inFlight.get(packetId) !== exchange)
      tell(` waits for its PUBLISH with MsgId ${msgId}, and packet ${packetId} is not in flight`);
    if (origin?.session !== session || origin.msgId !== msgId)
      tell(` waits for its PUBLISH with MsgId ${msgId}, and the answer to packet ${packetId} goes elsewhere`);
  }
  if (session.account.accepted !== accepted)
    tell(`: ${accepted} accepted publications are on their way, its account says ${session.account.accepted}`);
}

function checkSubscribing({ session }: Subject, tell: Found): void {
  const { broker, shared, subscribesInFlight } = session;
  for (const [msgId, request] of subscribesInFlight) {
    const waiting = ` waits for its ${request.kind.toUpperCase()} of ${request.filter} with MsgId ${msgId}`;
    if (request.origin?.session !== session || request.origin.msgId !== msgId)
      tell(`${waiting}, and the answer goes elsewhere`);
    if (!shared) {
      if (broker.inFlight.get(request.packetId) !== request) tell(`${waiting}, and nothing is asked of the broker`);
      continue;
    }
    if (request.kind === "unsubscribe") {
      if (!isUnsubscribing(session, request)) tell(`${waiting}, and nothing is asked of the broker`);
      continue;
    }
    const entry = shared.look(request.filter);
    if (!entry?.next.includes(request) && !entry?.asking?.shared?.requests.includes(request))
      tell(`${waiting}, and nothing is asked of the broker`);
  }
}

function isUnsubscribing({ broker, shared }: Session, { origin }: UnsubscribeExchange<Session>): boolean {
  for (const { inFlight } of shared ? [...shared.all()].map((lane) => lane.broker) : [broker])
    for (const exchange of inFlight.values())
      if (exchange.kind === "unsubscribe" && exchange.origin === origin) return true;
  return false;
}

/** If the broker can be reached, the backlog is in the queue for sending, or an answer will put it there. */
function checkBacklog({ gateway, session }: Subject, tell: Found): void {
  const { backlog, accepted } = session.account;
  const { link } = session.broker;
  const { count, bytes, head, unread, readingUpTo } = backlog;
  if (count < 0 || unread < 0 || bytes < 0 || (count === 0 && bytes !== 0))
    tell(`: its backlog is ${count} publications of ${bytes} octets, ${head.length} of them read`);
  if (count === 0 || link?.up !== true || link.congested) return;
  if (gateway.drain.waiting.has(session) || readingUpTo !== undefined || accepted > 0) return;
  // The client's own window is full of other packets. The next acknowledgement continues the backlog.
  if (!session.shared && session.broker.openPublications >= link.limits.receiveMaximum) return;
  tell(`: ${count} publications wait for the broker, which is there, and nobody sends them`);
}

/** The deadline of the present state is set, and is not later than the state allows. */
function checkSilence({ gateway, session, procedures }: Subject, tell: Found): void {
  const { silence, state, pendingConnect, awaitsForwarding } = session;
  // The session was made for a CONNECT, or for a letter that is sent again. When this ends, the session ends.
  if (silence.at === undefined && !pendingConnect?.isNew && !awaitsForwarding)
    tell(` is ${state}, and no deadline ends that`);
  // A CONNECT that was given up may have delayed the deadline once, by the time that a CONNECT may take.
  const latest = gateway.now + Math.max(procedures.silenceAllowedMs(session), gateway.repetitionMs);
  if (silence.at !== undefined && !pendingConnect && silence.at > Math.ceil(latest))
    tell(` is ${state}, and its deadline comes ${silence.at - latest} ms late`);
}

/** The client has its own connection exactly as long as it is needed. */
function checkConnection({ session }: Subject, tell: Found): void {
  const { state, peer, broker, shared, pendingConnect, willPending, awaitsForwarding, clean, account } = session;
  const isGone = state === "disconnected" || state === "lost";
  // While the client connects from a new address, its old address may belong to another client.
  if (state === "active" && peer === undefined && !pendingConnect) tell(` is active, and has no address`);
  if (isGone && peer !== undefined) tell(` is ${state}, and has an address`);
  if (willPending && state !== "lost") tell(` is ${state}, and its will is on the way`);
  if (awaitsForwarding && !isGone) tell(` is ${state}, and its session waits for what is to be forwarded`);
  if (!pendingConnect && isGone && clean && !willPending && !awaitsForwarding)
    tell(` is ${state}, and its clean session has not ended`);
  if (!pendingConnect && awaitsForwarding && !willPending && account.unforwarded === 0 && broker.link?.up)
    tell(`: its session waits, and nothing is to be forwarded`);
  if (!pendingConnect && willPending && account.unforwarded === 0 && broker.link?.up && !isWillUnderWay(session))
    tell(`: its will is to be published, the broker is there, and nobody does`);
  if (shared || pendingConnect || session.isHeldBack) return;
  const needsLink = !isGone || willPending || awaitsForwarding;
  if (needsLink && !broker.link)
    tell(` is ${state}${willPending || awaitsForwarding ? " and not done" : ""}, and has no link`);
  if (!needsLink && broker.link) tell(` is ${state}, and has link ${broker.link.id} still`);
}

function isWillUnderWay(session: Session): boolean {
  for (const exchange of session.broker.inFlight.values())
    if (exchange.kind === "publish" && exchange.isWill && exchange.owner === session) return true;
  return false;
}

function checkLimits({ gateway, session }: Subject, tell: Found): void {
  const { options } = gateway;
  const { clients, buffer, topics, uplink } = options;
  const { clientId, registry, outbox, subscriptions, subscribesInFlight, account } = session;
  const { receiveMaximum } = session.upstream.options;
  if (registry.size > topics.idsPerClientMax)
    tell(` has ${registry.size} topic ids, at most ${topics.idsPerClientMax}`);
  if (subscriptions.size > clients.subscriptionsMax + clients.uplinkInFlightMax)
    tell(` has ${subscriptions.size} subscriptions, at most ${clients.subscriptionsMax}`);
  if (subscribesInFlight.size > clients.uplinkInFlightMax)
    tell(`: ${subscribesInFlight.size} SUBSCRIBEs wait for the broker`);
  if (outbox.length > buffer.messagesMax + receiveMaximum)
    tell(`: ${outbox.length} messages wait, at most ${buffer.messagesMax} and ${receiveMaximum} at the broker`);
  if (account.backlog.count > uplink.policyOf(clientId).messagesMax + beyondBacklogMax)
    tell(`: ${account.backlog.count} publications wait for the broker`);
  for (const [policy, { messages }] of outbox.tallies()) {
    if (messages <= policy.messagesMax) continue;
    // Unacknowledged messages may wait beyond the limit, as many as the broker's window allows. A message that the
    // client may have seen stays, even while it is put aside, and the newest one is added.
    let seen = 0;
    for (const entry of outbox) if (entry.policy === policy && !isFree(entry)) seen++;
    const most = {
      leave: policy.messagesMax + receiveMaximum,
      // One more is possible after a restart, because it is not stored that a QoS 1 message was sent.
      oldest: Math.max(policy.messagesMax, seen) + 2,
      newest: policy.messagesMax,
    }[policy.atLimit];
    if (messages > most) tell(`: ${messages} messages wait under a rule of at most ${policy.messagesMax}`);
  }
}
