/**
 * What must hold of the messages between the gateway and its clients, judged by what goes over the network alone. Each rule is
 * a method with its reason.
 */
import type { PeerId } from "../../src/core/types.ts";
import { decode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { type ClientTracks, PeerTrack } from "./judge-tracks.ts";
import type { PolicyLaw } from "./policy-law.ts";
import { Repeated } from "./repeated.ts";
import { clientAt } from "./sim-address.ts";
import { isForAll } from "./texts.ts";
import { Violation } from "./violation.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** The longest time of a datagram, and of the commit for which it waits. */
export const onNetworkMs = 5_000;

/** A CONNECT that does not continue is given up after some time, and then the earlier session continues. */
const dialogueMs = 10_000;

/** A commit is done in this time. */
const commitMs = 500;

/** Clients keep MsgIds in 16 bits, some of them signed. */
const msgIdMax = 0x7fff;

export interface NetworkRulesOptions {
  /** Clients share a connection to the broker. */
  readonly isShared: boolean;
  readonly law: PolicyLaw | undefined;
  readonly copiesPerRound: number;
}

export class NetworkRules {
  readonly #time: VirtualTime;
  readonly #clients: ClientTracks;
  readonly #options: NetworkRulesOptions;
  readonly #peers = new Map<PeerId, PeerTrack>();
  readonly #denied = new Map<string, number>();
  /** A gateway died without having all on disk. */
  #crashed = false;
  #wentOnAt = Number.NEGATIVE_INFINITY;

  constructor(time: VirtualTime, clients: ClientTracks, options: NetworkRulesOptions) {
    this.#time = time;
    this.#clients = clients;
    this.#options = options;
  }

  isAt(clientId: string, address: PeerId): void {
    const client = this.#clients.of(clientId);
    const before = this.#peers.get(client.address);
    client.address = address;
    this.#peers.set(
      address,
      new PeerTrack(before?.told ?? new Map(), before?.repeated ?? new Repeated(this.#options.copiesPerRound)),
    );
  }

  /** See `Judge.gatewayCrashed`. */
  gatewayCrashed({ kept, durable }: { kept: boolean; durable: boolean }): void {
    if (kept) {
      for (const peer of this.#peers.values()) {
        peer.inFlight.clear();
        // The CONNECT may be stored, and the CONNACK not sent: it counts as there.
        if (peer.connects) peer.sleeps = false;
        peer.connects = false;
      }
      return;
    }
    this.#crashed = true;
    for (const peer of this.#peers.values()) {
      peer.inFlight.clear();
      peer.sleeps = false;
      peer.connects = false;
      if (!durable) peer.told.clear();
    }
  }

  /** A gateway starts: it has not received what was sent to the dead one. */
  gatewayBegins(): void {
    for (const peer of this.#peers.values()) peer.connects = false;
  }

  /** The gateway stood still until now. */
  goesOn(): void {
    this.#wentOnAt = this.#time.now();
  }

  /** It fell asleep over what was in flight; that is off the network then. */
  fellAsleep(peer: PeerId): void {
    this.#peers.get(peer)?.inFlight.clear();
  }

  /** From now on this client is not admitted. */
  denies(clientId: string): void {
    this.#denied.set(clientId, this.#time.now());
  }

  atGateway(from: PeerId, bytes: Uint8Array): void {
    const decoded = decode(bytes);
    const peer = this.#peers.get(from);
    if (!decoded.ok || !peer) return;
    this.#clients.of(clientAt(from)).heardAt = this.#time.now();
    const { message } = decoded;
    switch (message.type) {
      case "CONNECT":
        if (!peer.connects || peer.connectsSince === Number.POSITIVE_INFINITY) peer.connectsSince = this.#time.now();
        if (!peer.connects) peer.answeredLate.clear();
        peer.connects = true;
        return;
      case "DISCONNECT":
        peer.wantsSleep = (message.duration ?? 0) > 0;
        // An old copy of a CONNECT was read after its CONNACK; the device has continued.
        if (this.#hasJustGoneOn()) peer.connects = false;
        return;
      case "PINGREQ":
        // Two requests before the first answer: that answer may wait for a commit, and the second request wakes the client again.
        if (message.clientId !== "" && peer.wakesAgain && this.#time.now() - this.#wentOnAt < onNetworkMs)
          peer.wakesAtOnce++;
        if (message.clientId !== "" && peer.wakes) peer.wakesAgain = true;
        if (message.clientId !== "" && peer.sleeps) {
          peer.sleeps = false;
          peer.wakes = true;
        }
        return;
      case "REGISTER":
        if (typeof message.topicName === "string") peer.registering.set(message.msgId, message.topicName);
        return;
      case "SUBSCRIBE":
        if (typeof message.topic !== "string") return;
        peer.subscribing.set(message.msgId, message.topic);
        if (isForAll(message.topic)) this.#clients.of(clientAt(from)).subscribes++;
        return;
      case "PUBLISH":
        peer.publishing.set(message.msgId, message.topicId);
        return;
      case "REGACK": {
        const registered = peer.registered.get(message.msgId);
        if (registered && message.returnCode === 0) peer.told.set(registered.id, registered.name);
        peer.inFlight.delete(`r${message.msgId}`);
        return;
      }
      case "PUBACK":
      case "PUBREC":
      case "PUBCOMP":
        if (message.type !== "PUBREC") peer.inFlight.delete(`p${message.msgId}`);
        if ((peer.connects || this.#hasJustGoneOn()) && message.type !== "PUBREC") peer.answeredLate.add(message.msgId);
        if (message.type !== "PUBCOMP") return;
        this.#clients.of(clientAt(from)).open.delete(message.msgId);
        this.#clients.of(clientAt(from)).detached.delete(message.msgId);
        return;
      default:
        return;
    }
  }

  fromGateway(to: PeerId, bytes: Uint8Array): void {
    const decoded = decode(bytes);
    if (!decoded.ok) throw new Violation(`the gateway sent something malformed to ${to}: ${decoded.code}`);
    const peer = this.#peers.get(to);
    if (peer) this.#judgeMessage(to, peer, decoded.message);
  }

  #judgeMessage(to: PeerId, peer: PeerTrack, message: Message): void {
    this.#notToTheDenied(clientAt(to), message);
    if (message.type === "REGISTER" || message.type === "PUBLISH") {
      this.#nothingBeforeConnAck(to, peer, message);
      if (message.msgId > msgIdMax) throw new Violation(`${message.type} to ${to} under the MsgId ${message.msgId}`);
    }
    switch (message.type) {
      case "CONNACK":
        peer.connectsSince = Number.POSITIVE_INFINITY; // it is answered, also where it is refused
        if (message.returnCode !== 0) return;
        peer.connects = false;
        peer.sleeps = false;
        peer.wakes = false;
        peer.wantsSleep = false;
        peer.inFlight.clear();
        return;
      case "DISCONNECT":
        peer.sleeps = peer.wantsSleep;
        peer.inFlight.clear();
        return;
      case "PINGRESP":
        // After a wake it ends the handing over; to a keep-alive ping it changes nothing.
        if (peer.wakesAtOnce-- > 0 && this.#time.now() - this.#wentOnAt < onNetworkMs) return;
        peer.wakesAtOnce = 0;
        if (peer.wakes && !peer.wakesAgain) peer.sleeps = true;
        peer.wakes = peer.wakesAgain;
        peer.wakesAgain = false;
        return;
      case "REGACK":
        if (message.returnCode === 0) peer.told.set(message.topicId, peer.registering.get(message.msgId) ?? "");
        return;
      case "SUBACK":
        if (message.returnCode === 0 && message.topicId !== 0)
          peer.told.set(message.topicId, peer.subscribing.get(message.msgId) ?? "");
        return;
      case "REGISTER":
        this.#notWhileAsleep(to, peer, message);
        peer.registered.set(message.msgId, {
          id: message.topicId,
          name: typeof message.topicName === "string" ? message.topicName : "",
        });
        if (typeof message.topicName === "string") this.#options.law?.registered(clientAt(to), message.topicName);
        return this.#oneInFlight(to, peer, `r${message.msgId}`, `r${message.topicId}`);
      case "PUBLISH":
        this.#notWhileAsleep(to, peer, message);
        this.#onlyToldIds(to, peer, message);
        this.#options.law?.copied(clientAt(to), Buffer.from(message.data).toString());
        if (!message.dup) this.#options.law?.sent(clientAt(to), Buffer.from(message.data).toString());
        if (message.retain && !message.dup) this.#retainedWhenAsked(clientAt(to), Buffer.from(message.data).toString());
        if (message.qos === 2) this.#noteOpen(clientAt(to), message);
        // The copy stood behind the CONNACK, or behind a commit, when the answer to the one before came, as if they had met on the network.
        if (message.dup && peer.answeredLate.delete(message.msgId)) return;
        if (message.qos > 0) this.#oneInFlight(to, peer, `p${message.msgId}`);
        return;
      case "PUBREL":
        if (peer.inFlight.has(`p${message.msgId}`)) this.#oneInFlight(to, peer, `p${message.msgId}`);
        return;
      case "PUBACK":
        if (message.returnCode === 0 && this.#publishedUnder(to, peer, message.msgId) !== message.topicId) {
          throw new Violation(
            `PUBACK ${message.msgId} to ${to} carries topic id ${message.topicId}, published was ${peer.publishing.get(message.msgId)}`,
          );
        }
        return;
      default:
        return;
    }
  }

  /** What waited in the sockets while it stood still is read in one go, and answered behind one commit. */
  #hasJustGoneOn(): boolean {
    return this.#time.now() - this.#wentOnAt < commitMs;
  }

  /** A client that is not admitted any more gets only this answer, with any session that it had. */
  #notToTheDenied(clientId: string, { type }: Message): void {
    const since = this.#denied.get(clientId);
    if (since === undefined || this.#time.now() - since < onNetworkMs || type === "DISCONNECT" || type === "CONNACK")
      return;
    throw new Violation(`${type} to ${clientId}, which is not let in any more`);
  }

  /** A device may have restarted: nothing of its earlier connection comes before its CONNACK, except what waited for a commit. */
  #nothingBeforeConnAck(to: PeerId, { connects, connectsSince }: PeerTrack, { type }: Message): void {
    const sinceMs = this.#time.now() - connectsSince;
    if (connects && sinceMs > commitMs && sinceMs < dialogueMs)
      throw new Violation(`${type} to ${to} ${sinceMs} ms after its CONNECT, before CONNACK`);
  }

  /** The topic id; it may have been published from an address that the device had before. */
  #publishedUnder(to: PeerId, { publishing }: PeerTrack, msgId: number): number | undefined {
    const earlier = [...this.#peers].filter(([address]) => clientAt(address) === clientAt(to));
    return (
      publishing.get(msgId) ?? earlier.findLast(([, each]) => each.publishing.has(msgId))?.[1].publishing.get(msgId)
    );
  }

  /** Nothing goes to a sleeping client but answers to what it sent. [§6.14] */
  #notWhileAsleep(to: PeerId, peer: PeerTrack, message: Message): void {
    if (peer.sleeps) throw new Violation(`${message.type} to ${to}, which is asleep`);
  }

  /** A PUBLISH uses only topic ids that the client was told, for this name. [§6.10] */
  #onlyToldIds(to: PeerId, peer: PeerTrack, message: Extract<Message, { type: "PUBLISH" }>): void {
    if (message.topicIdType !== "normal") return;
    const name = peer.told.get(message.topicId);
    const [meant] = Buffer.from(message.data).toString().split("|");
    // A device that kept ids of a dead gateway may have published to one that means another topic now.
    if (this.#crashed && meant?.includes("#")) return;
    if (name !== meant)
      throw new Violation(`PUBLISH to ${to} under id ${message.topicId}, told as "${name}", means "${meant}"`);
  }

  #noteOpen(clientId: string, { msgId, data }: Extract<Message, { type: "PUBLISH" }>): void {
    const { open, detached, swallowed } = this.#clients.of(clientId);
    open.add(msgId);
    if (detached.has(msgId)) swallowed.add(Buffer.from(data).toString());
  }

  /** Retained messages go only to the client that has just subscribed, and to no other on the same connection. */
  #retainedWhenAsked(clientId: string, payload: string): void {
    const { retainedCopies, subscribes } = this.#clients.of(clientId);
    const copies = (retainedCopies.get(payload) ?? 0) + 1;
    retainedCopies.set(payload, copies);
    if (this.#options.isShared && copies > subscribes)
      throw new Violation(
        `"${payload}" goes to ${clientId} as retained for the ${copies}th time, it asked ${subscribes} times`,
      );
  }

  /** One REGISTER or QoS 1/2 PUBLISH at a time, until it was repeated enough. [interpretation 13, 40] */
  #oneInFlight(to: PeerId, peer: PeerTrack, what: string, of = what): void {
    const { inFlight, repeated } = peer;
    for (const [other, each] of [...inFlight]) {
      // Whether it is awake is not always seen from here; the observer looks closer.
      if (other !== what && repeated.isEnough(each, true)) inFlight.delete(other);
    }
    inFlight.set(what, of);
    repeated.sent(of);
    // An answer may be lost, so the gateway may know of fewer. Two at once in its view are a fault.
    if (inFlight.size > 1) throw new Violation(`two in flight towards ${to}: ${[...inFlight.keys()].join(", ")}`);
  }
}
