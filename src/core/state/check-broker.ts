/** Checks of the state between the gateway and a broker: connections, exchanges, deliveries. See check.ts. */
import type { Found } from "../assert.ts";
import type { BrokerSession } from "./broker-session.ts";
import type { Checked } from "./checked.ts";
import type { Exchange, Received } from "./exchanges.ts";
import type { Session } from "./session.ts";

/**
 * When so many deliveries wait without room, further ones are not acknowledged at the broker. See session/deliver.ts.
 */
const outsideMax = 1_000;

interface Subject {
  readonly gateway: Checked;
  readonly broker: BrokerSession<Session>;
  /** The name of the subject, for the findings. */
  readonly who: () => string;
  /** Collects the accepted publications that each client has in flight here. */
  readonly accepted: Map<Session, number>;
  readonly found: Found;
}

/**
 * Each connection in the table serves the MQTT session that knows it, and each connection that a session knows is in
 * the table.
 */
export function checkLinks({ links, sessions, upstreams }: Checked, found: Found): void {
  for (const [id, link] of links) {
    if (link.id !== id) found(`link ${link.id} stands in the table as ${id}`);
    if (link.broker.link !== link) found(`link ${id} is in the table, and its MQTT session has done with it`);
    const { session, shared } = link;
    if (session && !sessions.isCurrent(session))
      found(`link ${id} is for a session of client ${session.clientId} that is over`);
    if ((session ?? shared ?? { broker: link.upstream.service }).broker !== link.broker)
      found(`link ${id} serves another MQTT session than that of its owner`);
  }
  const known = (broker: BrokerSession<Session>, who: string) => {
    if (broker.link && links.get(broker.link.id) !== broker.link)
      found(`${who}: its link ${broker.link.id} is not in the table`);
  };
  for (const { name, service, sharedConnections } of upstreams.all) {
    known(service, `the gateway's own connection to "${name}"`);
    for (const { broker, upstreamKey } of sharedConnections) known(broker, `the shared connection ${upstreamKey}`);
  }
  for (const { broker, clientId, shared } of sessions.live()) if (!shared) known(broker, `client ${clientId}`);
}

/** Returns how many deliveries say that a message of a client holds them. */
export function checkBroker(subject: Subject): number {
  const { broker, who, found, accepted } = subject;
  broker.check((finding) => found(`${who()}: ${finding}`));
  for (const [packetId, exchange] of broker.inFlight) {
    if (exchange.packetId !== packetId) found(`${who()}: packet ${exchange.packetId} is in flight as ${packetId}`);
    checkOrigin(subject, exchange);
    if (exchange.kind === "publish" && exchange.owner?.isParked)
      found(`${who()}: packet ${packetId} is of client ${exchange.owner.clientId}, which is parked`);
    if (exchange.kind === "publish" && exchange.accepted && exchange.owner)
      accepted.set(exchange.owner, (accepted.get(exchange.owner) ?? 0) + 1);
  }
  let held = 0;
  for (const [packetId, received] of broker.received) {
    if (received.held) held++;
    if (received.packetId !== packetId) found(`${who()}: delivery ${received.packetId} is known as ${packetId}`);
    checkHolder(subject, received);
  }
  for (const received of broker.deferred.keys()) {
    const { packetId, stage, held } = received;
    if (broker.received.get(packetId) !== received)
      found(`${who()}: delivery ${packetId} waits for room, and is not among what the broker delivered`);
    if (stage !== "open" || held)
      found(`${who()}: delivery ${packetId} waits for room, and is ${held ? "held" : stage} already`);
  }
  return held;
}

/** An exchange and the client that waits for it must refer to each other. */
function checkOrigin({ gateway, who, found }: Subject, exchange: Exchange<Session>): void {
  const { origin, packetId } = exchange;
  if (!origin) return;
  const { session, msgId } = origin;
  // On a shared connection the broker must still be told, and the session of its client may have ended.
  if (exchange.kind === "unsubscribe" && session.shared && session.subscribesInFlight.get(msgId)?.origin !== origin)
    return;
  const waiting = () =>
    `${who()}: the ${exchange.kind.toUpperCase()} under packet ${packetId} is MsgId ${msgId} of client ${session.clientId}`;
  if (!gateway.sessions.isCurrent(session)) found(`${waiting()}, whose session is over`);
  if (exchange.kind === "publish") {
    if (exchange.accepted) found(`${waiting()}, which has its answer`);
    if (exchange.owner !== session) found(`${waiting()}, and on the account of another`);
    if (session.publishesInFlight.get(msgId) !== exchange) found(`${waiting()}, which does not wait for it`);
  } else if (!session.shared && session.subscribesInFlight.get(msgId) !== exchange)
    found(`${waiting()}, which does not wait for it`);
}

/** A delivery that the gateway has to acknowledge is in some outbox, or the broker sends it again. */
function checkHolder({ gateway, broker, who, found }: Subject, received: Received): void {
  const { packetId, stage, held, connection } = received;
  if (held && stage !== "open") found(`${who()}: delivery ${packetId} is held for a client, and ${stage}`);
  const isOurs = stage === "open" && broker.link?.up === true && connection === broker.connection;
  if (!isOurs || held || broker.deferred.has(received) || broker.deferred.size >= outsideMax) return;
  const isAwaitingStore = gateway.upstreams.all.some(({ sharedConnections }) =>
    sharedConnections.some(({ ackAwaitingStore }) => ackAwaitingStore.includes(received)),
  );
  if (!isAwaitingStore) found(`${who()}: delivery ${packetId} is not acknowledged, and waits nowhere`);
}
