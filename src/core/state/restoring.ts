/**
 * The sessions of an earlier run, while they are restored and clients are already served.
 *
 * A client whose session is not restored yet must not get the answer that a client without a session would get. So its
 * datagrams wait here until its session was read from the store, and what the broker delivers for clients that are not
 * known yet waits until all sessions are restored. Everything here has a limit. Above it, datagrams are dropped and
 * counted; their senders repeat them.
 */
import type { Input } from "../input.ts";
import type { Instant, LinkId, PeerId, Publication } from "../types.ts";
import type { Session } from "./session.ts";
import type { SharedConnection } from "./shared-connection.ts";

export type HeldDatagram = Extract<Input, { kind: "datagram" }>;
export type HeldDelivery = Extract<Input, { kind: "delivered" }>;
/** Inputs about one client, of the operator or of the store. */
export type HeldAboutClient = Extract<Input, { readonly clientId: string }>;

/** The limits. Octets are those of the payloads and datagrams. */
export const restoringLimits = {
  /** Datagrams of one client, or of one address. */
  perKey: 16,
  /** Datagrams and inputs that wait for the sessions of clients, all together; and as many from unknown addresses. */
  waiting: 4_096,
  waitingOctets: 2 ** 21,
  /** Sessions that the store is asked for at a time. */
  asked: 64,
  /** Clients of which is known that they must not be restored any more. */
  settled: 200_000,
  /** Deliveries at QoS 0. Those at QoS 1 and 2 are limited by the window of the broker, and by the octets. */
  unanswered: 1_000,
  deliveryOctets: 2 ** 24,
} as const;

type Held = HeldDatagram | HeldAboutClient;

/** Counts what waits, against the limits. */
class Room {
  #waiting = 0;
  #octets = 0;

  /** Counts one more. `before`: how many wait for the same client or address. False: there is no room. */
  take(input: Held, before: number): boolean {
    const octets = octetsOf(input);
    if (before >= restoringLimits.perKey || this.#waiting >= restoringLimits.waiting) return false;
    if (this.#octets + octets > restoringLimits.waitingOctets) return false;
    this.#waiting++;
    this.#octets += octets;
    return true;
  }

  give(held: readonly Held[]): void {
    this.#waiting -= held.length;
    for (const input of held) this.#octets -= octetsOf(input);
  }
}

export class Restoring {
  /** All sessions are restored. What has waited is handled in its order. */
  isComplete = false;
  /** Something that has waited is being handled. */
  isReleasing = false;
  /** Inputs that can be handled now, in their order. */
  readonly ready: Input[] = [];
  /**
   * Subscriptions of sessions that have ended meanwhile, by the connection that had them. Other clients, which are not
   * restored yet, may have the same filters, so they are ended at the broker when all sessions are restored.
   */
  readonly left = new Map<SharedConnection<Session>, Set<string>>();
  /**
   * Clients whose session must not be restored from a slice any more: it was read when it was needed, has ended since,
   * or there was none.
   */
  readonly #settled = new Set<string>();
  /** What waits for the session of a client, by client id. The store was, or will be, asked for these. */
  readonly #byClientId = new Map<string, Held[]>();
  /** Clients that the store is not asked for yet. */
  readonly #toAsk: string[] = [];
  #asked = 0;
  /** What waits for the session at an address. */
  readonly #byPeer = new Map<PeerId, HeldDatagram[]>();
  /** Requests to subscribe, and to end a subscription, by address: they wait until all sessions are restored. */
  readonly #requests = new Map<PeerId, HeldDatagram[]>();
  /** Other inputs that wait until all sessions are restored; at most `waiting`. */
  readonly #toTheEnd: Input[] = [];
  readonly #deliveries: { readonly input: HeldDelivery; readonly at: Instant }[] = [];
  /** Whoever reaches a port may fill the room of addresses, but not that of clients who say their client id. */
  readonly #ofClients = new Room();
  readonly #ofAddresses = new Room();
  #deliveryOctets = 0;
  #unanswered = 0;

  /** Whether nothing is left to do here. */
  get isOver(): boolean {
    return this.isComplete && !this.hasReady;
  }

  isSettled(clientId: string): boolean {
    return this.#settled.has(clientId);
  }

  /** This client's session must not be restored from a slice any more. */
  settle(clientId: string): void {
    this.#settled.add(clientId);
  }

  /** No more clients can be noted, so no session is read before its turn. */
  get isFull(): boolean {
    return this.#settled.size + this.#byClientId.size >= restoringLimits.settled;
  }

  /** Whether something from this address waits. What comes after it waits too. */
  waitsAt(peer: PeerId): boolean {
    return this.#byPeer.has(peer);
  }

  /** Keeps this until the session of the client was read. False: there is no room. */
  holdFor(clientId: string, input: Held): boolean {
    const held = this.#byClientId.get(clientId);
    if (!held && this.isFull) return false;
    if (!this.#ofClients.take(input, held?.length ?? 0)) return false;
    if (held) held.push(input);
    else {
      this.#byClientId.set(clientId, [input]);
      this.#toAsk.push(clientId);
    }
    return true;
  }

  /** Clients whose sessions the store must be asked for now. */
  toAsk(): string[] {
    const now = this.#toAsk.splice(0, restoringLimits.asked - this.#asked);
    this.#asked += now.length;
    return now;
  }

  /** The store has answered for this client: what waited for it is returned. */
  answered(clientId: string): readonly Held[] {
    this.#asked--;
    const held = this.#byClientId.get(clientId) ?? [];
    this.#byClientId.delete(clientId);
    this.#ofClients.give(held);
    return held;
  }

  /** Keeps this until there is a session at the address, or all sessions are restored. False: there is no room. */
  holdAt(peer: PeerId, input: HeldDatagram): boolean {
    const held = this.#byPeer.get(peer);
    if (!this.#ofAddresses.take(input, held?.length ?? 0)) return false;
    if (held) held.push(input);
    else this.#byPeer.set(peer, [input]);
    return true;
  }

  /** Keeps a request until all sessions are restored. False: there is no room. */
  holdRequest(peer: PeerId, input: HeldDatagram): boolean {
    const held = this.#requests.get(peer);
    if (!this.#ofClients.take(input, held?.length ?? 0)) return false;
    if (held) held.push(input);
    else this.#requests.set(peer, [input]);
    return true;
  }

  /** The client at this address begins anew: it does not wait for answers to what it sent before. */
  beginAnew(peer: PeerId): void {
    this.#ofAddresses.give(this.#byPeer.get(peer) ?? []);
    this.#byPeer.delete(peer);
    this.#ofClients.give(this.#requests.get(peer) ?? []);
    this.#requests.delete(peer);
  }

  /** There is a session at this address now: what waited for it can be handled. */
  release(peer: PeerId): void {
    const held = this.#byPeer.get(peer);
    if (!held) return;
    this.#byPeer.delete(peer);
    this.#ofAddresses.give(held);
    this.ready.push(...held);
  }

  /** Keeps this until all sessions are restored. False: there is no room. */
  holdToTheEnd(input: Input): boolean {
    if (this.#toTheEnd.length >= restoringLimits.waiting) return false;
    this.#toTheEnd.push(input);
    return true;
  }

  /** Whether deliveries wait: until all sessions are restored, and then behind those that have waited. */
  get holdsDeliveries(): boolean {
    return !this.isComplete || this.#deliveries.length > 0;
  }

  /** Keeps this delivery, which arrives now, until all sessions are restored. False: there is no room. */
  holdDelivery(input: HeldDelivery, now: Instant): boolean {
    const { publication } = input;
    const octets = publicationOctets(publication);
    const isUnanswered = publication.qos === 0;
    if (isUnanswered && this.#unanswered >= restoringLimits.unanswered) return false;
    if (this.#deliveryOctets + octets > restoringLimits.deliveryOctets) return false;
    this.#deliveryOctets += octets;
    if (isUnanswered) this.#unanswered++;
    this.#deliveries.push({ input, at: now });
    return true;
  }

  /**
   * The connection ended. The broker sends deliveries at QoS 1 and 2 again, and may use their ids for others then.
   */
  forgetDeliveries(linkId: LinkId): void {
    const kept = this.#deliveries.filter(({ input }) => input.linkId !== linkId || input.publication.qos === 0);
    if (kept.length < this.#deliveries.length) this.#deliveries.splice(0, this.#deliveries.length, ...kept);
    this.#deliveryOctets = kept.reduce((sum, { input }) => sum + publicationOctets(input.publication), 0);
  }

  /** All sessions are restored: everything that waits can be handled. */
  complete(): void {
    this.isComplete = true;
    this.#toAsk.length = 0;
    for (const held of this.#byClientId.values()) this.ready.push(...held);
    this.#byClientId.clear();
    for (const peer of [...this.#byPeer.keys()]) this.release(peer);
    for (const held of this.#requests.values()) this.ready.push(...held);
    this.#requests.clear();
    this.ready.push(...this.#toTheEnd.splice(0));
  }

  /**
   * Takes the next input that can be handled: first those for which everything is there, then deliveries. The time that
   * a delivery has waited is subtracted from the time after which it expires.
   */
  takeReady(now: Instant): Input | undefined {
    const next = this.ready.shift();
    if (next || !this.isComplete) return next;
    const held = this.#deliveries.shift();
    if (!held) return undefined;
    const { input, at } = held;
    this.#deliveryOctets -= publicationOctets(input.publication);
    if (input.publication.qos === 0) this.#unanswered--;
    if (input.expirySeconds === undefined) return input;
    return { ...input, expirySeconds: Math.max(0, input.expirySeconds - (now - at) / 1_000) };
  }

  get hasReady(): boolean {
    return this.ready.length > 0 || (this.isComplete && this.#deliveries.length > 0);
  }
}

function publicationOctets({ payload, topicName }: Publication): number {
  return payload.byteLength + topicName.length;
}

function octetsOf(input: Held): number {
  return input.kind === "datagram" ? input.bytes.byteLength : 0;
}
