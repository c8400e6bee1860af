/**
 * A second judge of the network. It knows only the datagrams that passed, keeps its own picture of each client, and reports when the
 * gateway breaks a rule of the exchange itself (order, repetition, silence, DISCONNECT). Everything is judged at the gateway, at the time
 * of sending: the gateway is not responsible for what the network does afterwards.
 */
import type { GatewayEvent } from "../../src/core/event.ts";
import type { Instant, PeerId, Publication } from "../../src/core/types.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { answersTo, ObservedAddress, ObservedClient, type Published, type Sent } from "./observed.ts";
import { clientAt } from "./sim-address.ts";
import { willOf } from "./texts.ts";

export class BrokenRule extends Error {}

/** Repetitions that are answered, one by one, when a gateway that stood still reads them. */
const owedMax = 32;
/** A commit takes no longer than this. */
const undoneMs = 5_000;
/** A commit takes no longer. */
const commitMs = 500;
const begunMax = 20;

export interface ObserverLimits {
  /** Messages that may be handed over in one wake-up. */
  readonly perWakeMax: number;
  /** The first copy and N_retry more. */
  readonly copiesPerRound?: number;
  /** Is this payload, published by a client, on the gateway's disk (or given up by its policy)? */
  readonly isKept?: (payload: string) => boolean;
  /** The disk refuses commits now and then. */
  readonly storeFails?: boolean;
  /** Did the gateway drop it, and say so? At QoS 1 it comes again where the broker missed our PUBACK, as if it were new. */
  readonly isDropped?: (clientId: string, payload: string) => boolean;
}

export class Observer {
  readonly #now: () => Instant;
  readonly #limits: ObserverLimits;
  readonly #clients = new Map<string, ObservedClient>();
  readonly #addresses = new Map<PeerId, ObservedAddress>();
  /** Payloads that the broker has saved. */
  readonly #arrived = new Set<string>();
  #order = 0;
  #byBroker = false;

  constructor(now: () => Instant, limits: ObserverLimits) {
    this.#now = now;
    this.#limits = limits;
  }

  // ---------------------------------------------------------------- what is seen

  #died = false;

  /** No exchange is in flight any more, whether or not the next gateway continues it. Addresses, and which clients sleep, stay. */
  gatewayDied(): void {
    this.#died = true;
    // A DISCONNECT that it had not answered has no effect, and neither have decisions that were not stored yet.
    for (const address of this.#addresses.values()) {
      address.owed.delete("DISCONNECT");
      // Its CONNECT may have been stored, and the CONNACK not sent: it counts as there, and will ask again.
      if (address.connecting !== undefined) this.#client(address.connecting).state = "unknown";
    }
    for (const client of this.#clients.values()) {
      if (this.#now() - client.goneAt >= undoneMs) continue;
      client.hasEnded = false;
      if (client.state === "gone") client.state = client.stateBefore;
    }
    for (const client of this.#clients.values()) {
      client.inFlight = undefined;
      client.sent.clear();
      client.lastOrder.clear();
      client.order.clear();
    }
  }

  /** The gateway stood still until now. */
  goesOn(): void {
    this.#wentOnAt = this.#now();
  }
  #wentOnAt = Number.NEGATIVE_INFINITY;

  brokerSaved(publication: Publication): void {
    this.#arrived.add(words(publication.payload));
    if (!publication.topicName.startsWith("w/")) return;
    if (this.#byBroker) this.#byBroker = false;
    else this.#willOfGateway(willOf(publication));
  }

  /** A will that the gateway had begun to publish before the goodbye belongs to an earlier life: it may arrive late. */
  #willOfGateway(clientId: string): void {
    const client = this.#client(clientId);
    if (client.willsBegun === 0) return this.noWillAfterGoodbye(clientId);
    client.willsBegun--;
  }

  /** The broker publishes a will now. Not the gateway's doing when the connection broke by itself. */
  willFired(clientId: string, cause: "abandon" | "cut" | "takeover"): void {
    this.#byBroker = true;
    if (cause === "abandon") this.noWillAfterGoodbye(clientId);
  }

  /** The broker's packet reached the gateway. */
  handedToGateway(clientId: string, publication: Publication): void {
    const { order } = this.#client(clientId);
    const payload = words(publication.payload);
    if (!order.has(payload)) order.set(payload, ++this.#order);
  }

  #isGone(client: ObservedClient): void {
    if (client.state !== "gone") client.stateBefore = client.state;
    client.goneAt = this.#now();
    client.state = "gone";
  }

  /** The gateway's own account, where the network shows nothing. */
  reported(event: GatewayEvent): void {
    // Given up and counted: what was in flight is off the network. What a full buffer drops was not in flight.
    if (event.event === "drop" && event.clientId !== undefined && event.reason !== "buffer-full")
      this.#client(event.clientId).inFlight = undefined;
    if (event.event === "will_published" && event.by === "gateway" && !this.#client(event.clientId).saidGoodbye)
      this.#client(event.clientId).willsBegun++;
    if (event.event === "qos2_uncertain") this.#client(event.clientId).uncertain = true;
    if (event.event !== "client_state") return;
    const client = this.#client(event.clientId);
    client.lost = event.state === "lost";
    if (event.state === "active") client.hasEnded = false;
    // Lost without a message: until its next CONNECT it is an unknown sender.
    if (event.state === "lost" || event.state === "disconnected") {
      client.hasEnded = true;
      this.#isGone(client);
    }
    if (event.state !== "asleep") return;
    client.inFlight = undefined; // also after an unanswered wake-up: it waits at the head
    client.handedOver = 0;
  }

  atGateway(from: PeerId, message: Message): void {
    const address = this.#address(from);
    for (const answer of answersTo[message.type] ?? []) {
      address.owed.set(answer, Math.min((address.owed.get(answer) ?? 0) + 1, owedMax));
    }
    address.spoke = true;
    if (message.type === "CONNECT" && typeof message.clientId === "string") address.connecting = message.clientId;
    if (message.type === "PUBLISH") this.#onPublished(address, message);
    if (message.type === "PINGREQ" && typeof message.clientId === "string") this.#onWake(from, message.clientId);
    const client = this.#clientAt(from);
    // Its CONNECT may be accepted already, and the CONNACK wait for a commit: then this ends what comes behind it.
    const awaitsConnack = (address.owed.get("CONNACK") ?? 0) > 0;
    // It may have moved with this CONNECT.
    const speaker =
      client ?? (awaitsConnack && address.connecting !== undefined ? this.#client(address.connecting) : undefined);
    if (message.type === "PUBCOMP" && address.connecting !== undefined) speaker?.completed.add(message.msgId);
    if (message.type === "DISCONNECT" && awaitsConnack && client?.state === "gone")
      client.leaving = (message.duration ?? 0) > 0;
    // What is read after a stand-still is answered after one commit, with its copies.
    const standsBehind = awaitsConnack || this.#now() - this.#wentOnAt < commitMs;
    if (standsBehind && (message.type === "PUBACK" || message.type === "PUBCOMP"))
      speaker?.answeredLate.add(`PUBLISH ${message.msgId}`);
    if (!client || client.state === "gone") return; // after the end of the connection its acknowledgements are those of an unknown sender
    switch (message.type) {
      case "CONNECT":
        client.inFlight = undefined;
        // The copies of a CONNECT that are read together begin one connection.
        if (this.#now() - this.#wentOnAt >= commitMs) client.answeredLate.clear();
        return;
      case "DISCONNECT":
        client.leaving = (message.duration ?? 0) > 0;
        return;
      case "REGACK":
        return landed(client, `REGISTER ${message.msgId}`);
      case "PUBACK":
        return landed(client, `PUBLISH ${message.msgId}`);
      case "PUBREC":
        for (const sent of client.sent.values()) if (sent.msgId === message.msgId) sent.received = true;
        return landed(client, `PUBLISH ${message.msgId}`);
      case "PUBCOMP":
        client.completed.add(message.msgId);
        return landed(client, `PUBREL ${message.msgId}`);
      default:
        return;
    }
  }

  /** Judges what the gateway sends now. @throws {BrokenRule} */
  fromGateway(to: PeerId, message: Message): void {
    const address = this.#address(to);
    const owed = address.owed.get(message.type) ?? 0;
    if (owed > 0) address.owed.set(message.type, owed - 1);
    if (message.type === "CONNACK" && message.returnCode === 0) return this.#onConnected(to, address);
    if (message.type === "DISCONNECT") return this.#onDisconnect(to, address, owed > 0);
    const client = this.#clientAt(to);
    const isLateAnswer =
      (message.type === "PUBACK" || message.type === "PUBREC") && address.published.has(message.msgId);
    this.silenceForSleepers(to, client, message, owed > 0 || isLateAnswer);
    this.acknowledgementsAreTrue(to, address, message);
    if (!client) return this.#toWhereItWas(to, message);
    switch (message.type) {
      case "PINGRESP":
        this.pingRespComesLast(to, client);
        if (client.wokenAtOnce-- > 0 && this.#now() - this.#wentOnAt < undoneMs) {
          client.handedOver = 0;
          return;
        }
        client.wokenAtOnce = 0;
        if (client.state === "awake" && !client.wokenAgain) client.state = "asleep";
        client.wokenAgain = false;
        client.handedOver = 0;
        return;
      case "REGISTER":
        return this.oneInFlight(to, client, `REGISTER ${message.msgId}`, `REGISTER of ${message.topicId}`);
      case "PUBREL":
        // The answer to a PUBREC at the wrong time (late, or after a CONNECT) is expected in any case. [interpretation 17]
        if (client.completed.has(message.msgId)) return;
        if (owed > 0 && client.inFlight && client.inFlight.what !== `PUBREL ${message.msgId}`) return;
        this.oneInFlight(to, client, `PUBREL ${message.msgId}`);
        return;
      case "PUBLISH":
        this.wakeUpsEnd(to, client, message);
        if (message.qos > 0) this.#onDelivery(to, client, message);
        this.inOrder(to, client, message);
        return;
      default:
        return;
    }
  }

  /** The client has moved, and this waited for a commit: it leaves for where the client was. What follows is a repetition. */
  #toWhereItWas(to: PeerId, message: Message): void {
    const client = this.#clients.get(clientAt(to));
    if (!client) return;
    // Nor is the order judged at an address that is not known: it moved there after the gateway had died, and never said who it is.
    if (message.type === "PUBLISH") client.begun.add(words(message.data));
    if (client.peer === to) return;
    if (this.#wasRepeated(client)) client.inFlight = undefined;
    if (message.type === "REGISTER") client.repeated.sent(`REGISTER of ${message.topicId}`);
    if (message.type === "PUBREL") client.repeated.sent(`PUBREL ${message.msgId}`);
    if (message.type !== "PUBLISH" || message.qos <= 0) return;
    client.repeated.sent(`PUBLISH ${message.msgId}`);
    const key = sentAs(message);
    if (!client.sent.has(key)) client.sent.set(key, { msgId: message.msgId, order: 0, received: false });
  }

  // ---------------------------------------------------------------- the rules

  /** To an asleep client goes nothing but the answer to what it sent. [MQTT-SN 1.2 §6.14] */
  silenceForSleepers(to: PeerId, client: ObservedClient | undefined, message: Message, isAnswer: boolean): void {
    if (client?.state === "asleep" && !isAnswer) throw new BrokenRule(`${message.type} to ${to}, which is asleep`);
  }

  /** PUBACK repeats topic id and MsgId; "accepted" and PUBREC mean that the broker has it, or the gateway on disk. [§6.6] */
  acknowledgementsAreTrue(to: PeerId, address: ObservedAddress, message: Message): void {
    if (message.type !== "PUBACK" && message.type !== "PUBREC") return;
    const published = address.published.get(message.msgId) ?? this.#publishedElsewhere(to, message.msgId);
    if (!published) throw new BrokenRule(`${message.type} ${message.msgId} to ${to}, which published no such thing`);
    const { topicIds, payload, qos } = published;
    if (message.type === "PUBACK" && !topicIds.has(message.topicId)) {
      throw new BrokenRule(`PUBACK ${message.msgId} to ${to} with topic id ${message.topicId}, not ${[...topicIds]}`);
    }
    if (message.type === "PUBACK" && message.returnCode !== 0) return;
    if (qos > 0 && !this.#arrived.has(payload) && !this.#limits.isKept?.(payload)) {
      throw new BrokenRule(`${message.type} for "${payload}" to ${to}, which neither the broker has nor the disk`);
    }
  }

  /** Before it moved: the answer may be a late one. */
  #publishedElsewhere(to: PeerId, msgId: number): Published | undefined {
    const earlier = [...this.#addresses].filter(([peer]) => clientAt(peer) === clientAt(to));
    return earlier.findLast(([, { published }]) => published.has(msgId))?.[1].published.get(msgId);
  }

  /** One REGISTER, QoS 1 or 2 PUBLISH or PUBREL at a time, until it is answered or was repeated enough. [interpretation 13] */
  oneInFlight(to: PeerId, client: ObservedClient, what: string, of = what): void {
    const before = client.inFlight;
    if (before && before.what !== what && !this.#wasRepeated(client))
      throw new BrokenRule(`${what} to ${to} while ${before.what} is unanswered`);
    client.repeated.sent(of);
    client.inFlight = { what, of };
  }

  #wasRepeated({ inFlight, state, repeated }: ObservedClient): boolean {
    // After the death of a gateway it is not always seen from here whether the client is awake.
    const mayBeAwake = state === "awake" || state === "unknown";
    return inFlight !== undefined && repeated.isEnough(inFlight.of, mayBeAwake);
  }

  /** PINGRESP after the last acknowledgement, not merely after the last PUBLISH. */
  pingRespComesLast(to: PeerId, client: ObservedClient): void {
    if (client.state === "awake" && client.inFlight && !this.#wasRepeated(client)) {
      throw new BrokenRule(`PINGRESP to ${to} while ${client.inFlight.what} is unanswered`);
    }
  }

  /** A repetition has DUP and the MsgId of the first; after PUBREC the PUBLISH is not sent again. [§6.13] */
  repetitionsAreMarked(
    to: PeerId,
    message: Extract<Message, { type: "PUBLISH" }>,
    before: Sent | undefined,
    uncertain: boolean,
  ): void {
    const payload = words(message.data);
    if (!before) {
      // What a gateway had stored and not sent when it died, its next run takes for sent; and one that could not write
      // its record before the client fell asleep was kept back. A client that moved while the gateway stood still was sent
      // it where it had been.
      const stoodStill = this.#wentOnAt > 0;
      if (message.dup && !this.#died && !stoodStill && !this.#limits.storeFails)
        throw new BrokenRule(`first PUBLISH of "${payload}" to ${to} has DUP`);
      return;
    }
    if (before.received && message.qos === 2 && !uncertain)
      throw new BrokenRule(`"${payload}" to ${to} again after its PUBREC`);
    if (before.msgId !== message.msgId) {
      if (message.qos === 2 && !uncertain)
        throw new BrokenRule(`QoS 2 "${payload}" to ${to} as ${before.msgId}, then as ${message.msgId}`);
      return; // at QoS 1 the broker may have sent it again, and it may be a separate message
    }
    if (!message.dup) throw new BrokenRule(`"${payload}" (${message.msgId}) to ${to} again without DUP`);
  }

  /** First sendings at one QoS under one topic keep the broker's order. [MQTT-4.6.0-6] */
  inOrder(to: PeerId, client: ObservedClient, message: Extract<Message, { type: "PUBLISH" }>): void {
    // What the broker retains comes to who subscribes, also long after it came, or was dropped, in its turn.
    if (message.retain) return;
    const payload = words(message.data);
    const order = client.order.get(payload);
    if (client.begun.has(payload)) return;
    client.begun.add(payload);
    // Sent before, where the client was then; what was not is held against DUP above.
    if (message.dup) return;
    if (order === undefined) return; // from the disk: the broker did not hand it over in this run
    const key = `${payload.split("|")[0]} ${message.qos}`;
    const last = client.lastOrder.get(key) ?? 0;
    if (message.qos === 1 && this.#limits.isDropped?.(this.#address(to).clientId ?? "", payload)) return;
    if (order < last) throw new BrokenRule(`"${payload}" to ${to} after a later one of the same topic and QoS`);
    client.lastOrder.set(key, order);
  }

  /** A busy topic cannot keep a client awake for ever. */
  wakeUpsEnd(to: PeerId, client: ObservedClient, message: Extract<Message, { type: "PUBLISH" }>): void {
    if (client.state !== "awake" || message.dup) return;
    client.handedOver++;
    // What an earlier run had begun to hand over does not count for the next one.
    const allowed = this.#limits.perWakeMax + (this.#died ? begunMax : 0);
    if (client.handedOver > allowed) {
      throw new BrokenRule(`${client.handedOver} messages to ${to} in one wake-up`);
    }
  }

  /** A client that has disconnected and got its answer has no will any more. [MQTT-SN 1.2 §6.12] */
  noWillAfterGoodbye(clientId: string): void {
    if (this.#client(clientId).saidGoodbye)
      throw new BrokenRule(`the will of ${clientId} is published after its goodbye`);
  }

  /** At most one unasked DISCONNECT per sender and second: two ends must not play ping-pong. */
  noPingPong(to: PeerId, address: ObservedAddress): void {
    const since = this.#now() - address.unaskedAt;
    // Decided a second apart; a commit may have delayed the first, and so may a stand-still.
    const isDelayed = this.#now() - this.#wentOnAt < commitMs;
    if (since < 700 && !isDelayed) throw new BrokenRule(`a second unasked DISCONNECT to ${to} within ${since} ms`);
    address.unaskedAt = this.#now();
  }

  // ---------------------------------------------------------------- the picture

  #onConnected(to: PeerId, address: ObservedAddress): void {
    if (address.connecting === undefined) throw new BrokenRule(`CONNACK to ${to}, which asked for nothing`);
    const client = this.#client(address.connecting);
    if (address.clientId !== undefined && address.clientId !== address.connecting)
      this.#client(address.clientId).state = "gone";
    this.#moved(client, to);
    address.clientId = address.connecting;
    address.unaskedAt = Number.NEGATIVE_INFINITY; // another connection, another end
    client.state = client.hasEnded ? "gone" : "active";
    client.saidGoodbye = false;
    // A repeated CONNACK may wait for a commit: it does not wake a client that has gone to sleep since.
    if (client.leaving !== true || (address.owed.get("DISCONNECT") ?? 0) === 0) client.leaving = undefined;
    client.inFlight = undefined;
  }

  #onDisconnect(to: PeerId, address: ObservedAddress, asked: boolean): void {
    const client = this.#clientAt(to);
    if (!asked) this.noPingPong(to, address);
    if (!asked && client?.state === "asleep" && !address.spoke && !client.lost) {
      throw new BrokenRule(`DISCONNECT to ${to}, which is asleep and said nothing`);
    }
    address.spoke = false;
    if (!client) return;
    // If the gateway has ended the session, it answers an unknown sender, which is not asleep.
    client.state = asked && client.leaving === true && !client.hasEnded ? "asleep" : "gone";
    client.saidGoodbye = asked && client.leaving === false; // a second answer to a repeated DISCONNECT means the same
    client.inFlight = undefined;
    client.handedOver = 0;
  }

  #onWake(from: PeerId, clientId: string): void {
    const client = this.#clients.get(clientId);
    if (!client || (client.state !== "asleep" && client.state !== "awake")) return;
    if (client.state === "asleep") client.inFlight = undefined;
    if (client.wokenAgain && this.#now() - this.#wentOnAt < undoneMs) client.wokenAtOnce++;
    // The answer to the first PINGREQ may wait for a commit.
    client.wokenAgain = client.state === "awake";
    this.#moved(client, from);
    client.state = "awake";
    client.leaving = undefined;
    this.#address(from).clientId = clientId;
  }

  #onPublished(address: ObservedAddress, message: Extract<Message, { type: "PUBLISH" }>): void {
    const payload = words(message.data);
    const before = address.published.get(message.msgId);
    if (before) Object.assign(before, { payload, qos: message.qos }).topicIds.add(message.topicId);
    else {
      address.published.set(message.msgId, { topicIds: new Set([message.topicId]), payload, qos: message.qos });
    }
  }

  /** The client comes from another address: answers to what it sent from the old one may go to the new one. */
  #moved(client: ObservedClient, to: PeerId): void {
    const before = client.peer === undefined || client.peer === to ? undefined : this.#address(client.peer);
    client.peer = to;
    if (!before) return;
    before.clientId = undefined;
    const now = this.#address(to);
    const { published } = now;
    now.unaskedAt = Number.NEGATIVE_INFINITY; // there it was an unknown sender; it has a connection now
    for (const [msgId, what] of before.published) if (!published.has(msgId)) published.set(msgId, what);
  }

  #client(clientId: string): ObservedClient {
    let client = this.#clients.get(clientId);
    if (!client) {
      // A step of QoS 2 may be kept back while the store fails: the gateway counts a copy that never left.
      client = new ObservedClient(this.#limits.copiesPerRound ?? 4, this.#limits.storeFails ? 1 : 0);
      this.#clients.set(clientId, client);
    }
    return client;
  }

  #address(peer: PeerId): ObservedAddress {
    let address = this.#addresses.get(peer);
    if (!address) {
      address = new ObservedAddress();
      this.#addresses.set(peer, address);
    }
    return address;
  }

  #clientAt(peer: PeerId): ObservedClient | undefined {
    const clientId = this.#addresses.get(peer)?.clientId;
    return clientId === undefined ? undefined : this.#clients.get(clientId);
  }

  #onDelivery(to: PeerId, client: ObservedClient, message: Extract<Message, { type: "PUBLISH" }>): void {
    this.oneInFlight(to, client, `PUBLISH ${message.msgId}`);
    if (message.dup && client.answeredLate.delete(`PUBLISH ${message.msgId}`)) client.inFlight = undefined;
    const payload = words(message.data);
    const key = sentAs(message);
    const before = client.sent.get(key);
    client.completed.delete(message.msgId);
    this.repetitionsAreMarked(to, message, before, client.uncertain);
    if (!before || before.msgId !== message.msgId) {
      client.sent.set(key, { msgId: message.msgId, order: client.order.get(payload) ?? 0, received: false });
    }
  }
}

function landed(client: ObservedClient, what: string): void {
  if (client.inFlight?.what === what) client.inFlight = undefined;
}

/** Each copy of a retained message is a separate message. */
function sentAs({ data, retain, msgId }: Extract<Message, { type: "PUBLISH" }>): string {
  return retain ? `${words(data)} as ${msgId}` : words(data);
}

function words(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}
