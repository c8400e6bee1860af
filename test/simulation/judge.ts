/**
 * What must hold, judged from the outside: by what goes over the network, what the broker saved, and what devices say.
 * Each rule is a method with its reason; a violation ends the run with the seed that replays it.
 */
import type { GatewayEvent } from "../../src/core/event.ts";
import type { SessionView } from "../../src/core/gateway-core.ts";
import type { PeerId, Publication, QoS, Will } from "../../src/core/types.ts";
import type { DeviceEvent } from "../../src/device/device.ts";
import { matches } from "../../src/wire/topic.ts";
import { decode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { ClientTrack, PeerTrack } from "./judge-tracks.ts";
import { testOptions } from "./options.ts";
import type { PoisonLaw } from "./poison-law.ts";
import type { PolicyLaw } from "./policy-law.ts";
import { Repeated } from "./repeated.ts";
import { clientAt } from "./sim-address.ts";
import { isForAll, numberOf, textOf, versionOf, willOf } from "./texts.ts";
import { Violation } from "./violation.ts";
import type { VirtualTime } from "./virtual-time.ts";

export class Judge {
  readonly #time: VirtualTime;
  readonly #peers = new Map<PeerId, PeerTrack>();
  readonly #clients = new Map<string, ClientTrack>();
  readonly #accepted = new Map<string, number>();
  /** Clients whose exactly-once the broker, or a crash without a store, has made uncertain. */
  readonly #uncertain = new Set<string>();
  readonly #stores: boolean;
  /** The broker closes for some packets. */
  readonly #poison: PoisonLaw | undefined;
  /** A QoS 2 publication was taken out: whether the broker has it is uncertain, of it alone. */
  #hasTakenOut2 = false;
  readonly #closedForWills = new Set<string>();
  readonly #refusedForWills = new Set<string>();
  /** Clients share a connection to the broker. */
  readonly #isShared: boolean;
  /** Publications that devices were told are published, and the broker does not have yet. */
  readonly #told = new Map<string, { readonly clientId: string; readonly at: number }>();
  /** Counted drops of what was accepted. */
  #given = 0;
  #crashed = false;
  checks = 0;

  /** Where the gateway says which messages it drops, each is judged by it; else a counted drop excuses the client. */
  readonly #law: PolicyLaw | undefined;
  readonly #copiesPerRound: number;
  readonly #roundMs: number;

  /** `stores`: the gateway may answer before the broker has it. */
  constructor(
    time: VirtualTime,
    {
      stores = false,
      isShared = false,
      law,
      poison,
      copiesPerRound = 4,
      roundMs = 0,
    }: {
      stores?: boolean;
      isShared?: boolean;
      law?: PolicyLaw | undefined;
      poison?: PoisonLaw | undefined;
      copiesPerRound?: number;
      roundMs?: number;
    } = {},
  ) {
    this.#poison = poison;
    this.#copiesPerRound = copiesPerRound;
    this.#roundMs = roundMs;
    this.#isShared = isShared;
    this.#time = time;
    this.#stores = stores;
    this.#law = law;
  }

  // ---------------------------------------------------------------- what happens

  isAt(clientId: string, address: PeerId): void {
    const client = this.#client(clientId);
    const before = this.#peers.get(client.address);
    client.address = address;
    this.#peers.set(
      address,
      new PeerTrack(before?.told ?? new Map(), before?.repeated ?? new Repeated(this.#copiesPerRound)),
    );
  }

  deviceReset(clientId: string): void {
    this.#excuse(clientId);
    this.#uncertain.add(clientId); // what it had not been acknowledged it does not send again, and forgets what it took
    const { received, open, orphaned } = this.#client(clientId);
    for (const forgotten of [received, open, orphaned]) forgotten.clear();
  }

  cleanConnect(clientId: string): void {
    this.#excuse(clientId);
  }

  /**
   * `kept`: everything was on disk, so nothing is excused; only what is on the network is open again. `durable`: so was most of
   * it, and what a client had confirmed counts on.
   */
  gatewayCrashed({ kept, durable }: { kept: boolean; durable: boolean }): void {
    for (const { retainedCopies } of this.#clients.values()) retainedCopies.clear(); // at QoS 1 it may begin anew
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
    for (const [clientId, client] of this.#clients) {
      this.#excuse(clientId);
      this.#uncertain.add(clientId);
      client.filters.clear();
      client.retained.clear();
      for (const msgId of client.open) client.orphaned.add(msgId);
      client.open.clear();
    }
    for (const peer of this.#peers.values()) {
      peer.inFlight.clear();
      peer.sleeps = false;
      peer.connects = false;
      if (!durable) peer.told.clear();
    }
  }

  /** A gateway begins to live: what was said to a dead one it has not heard. */
  gatewayBegins(): void {
    for (const peer of this.#peers.values()) peer.connects = false;
  }

  brokerForgot(clientId: string): void {
    this.#excuse(clientId);
    this.#uncertain.add(clientId);
  }

  /** How long this client may be silent. */
  announces(clientId: string, habits: { readonly keepAliveSeconds: number; readonly sleepSeconds: number }): void {
    this.#client(clientId).announced = habits;
  }

  /** The gateway stood still until now. */
  goesOn(): void {
    this.#wentOnAt = this.#time.now();
  }
  #wentOnAt = Number.NEGATIVE_INFINITY;

  /**
   * Silence while the gateway stood still counts against nobody: what was said then may not have been read, or not have
   * found room. From then on a client has its full time, and what it was asked is asked once more.
   */
  #notForOurPause(event: Extract<GatewayEvent, { event: "client_state" }>): void {
    const { keepAliveSeconds, sleepSeconds } = this.#client(event.clientId).announced;
    const patience: Record<string, number> = {
      "keep alive ran out": keepAliveSeconds * 1_000,
      "slept too long": sleepSeconds * 1_000,
      "no answer to what was sent": retryMs,
    };
    const since = this.#time.now() - this.#wentOnAt;
    if (event.state === "lost" && since < (patience[event.why] ?? 0))
      throw new Violation(`${event.clientId} is lost (${event.why}) ${since} ms after the gateway stood still`);
  }

  /** The broker has just closed at a CONNECT, because of the will in it. */
  closedForWill(topic: string): void {
    this.#closedForWills.add(topic);
  }

  /** What was learnt of its will holds for an hour, also where the broker takes it again. */
  isRefusedForWill(clientId: string): boolean {
    return this.#refusedForWills.has(clientId);
  }

  onReport(event: GatewayEvent): void {
    this.#poison?.reported(event);
    if (event.event === "packet_taken_out" && event.qos === 2) this.#hasTakenOut2 = true;
    if (event.event === "will_refused" && !this.#closedForWills.has(event.topic))
      throw new Violation(`the will of ${event.clientId} was left out, and the broker never closed for it`);
    if (event.event === "connect_refused" && event.why.includes("its will")) this.#refusedForWills.add(event.clientId);
    if (event.event === "client_state") this.#refusedForWills.delete(event.clientId);
    if (event.event === "client_state") this.#notForOurPause(event);
    if (event.event === "drop" && /oldest goes|newest goes/.test(event.detail)) this.#given++;
    if (event.event === "will_published" && event.by === "gateway") {
      const client = this.#client(event.clientId);
      client.willWhenDue = versionOf(client.will);
    }
    if (event.event === "client_state") {
      if (event.state === "disconnected" || event.state === "lost") this.#keepsItsPlace(event.clientId, event.why);
      this.#client(event.clientId).state = event.state;
    }
    if (event.event === "session_ended") {
      this.#excuse(event.clientId);
      const client = this.#client(event.clientId);
      client.hasEnded = true;
      client.endedAt = this.#time.now();
      client.filters.clear();
      client.retained.clear();
    }
    if (event.event === "client_state") this.#client(event.clientId).hasEnded = false;
    // What was asked before is asked once more; the round is not a full one from here.
    if (event.event === "stood_still")
      for (const client of this.#clients.values()) client.heardAt = Number.NEGATIVE_INFINITY;
    if (event.event === "client_state" && event.state === "lost" && event.why.startsWith("no answer"))
      this.#notWhoSpeaks(event.clientId);
    if (event.event === "drop" && event.clientId !== undefined && excusing.has(event.reason)) {
      const isNamed = this.#law !== undefined && ["buffer-full", "expired", "unanswered"].includes(event.reason);
      if (!isNamed) this.#excuse(event.clientId);
    }
    // It fell asleep over what was in flight; that is off the network then.
    if (event.event === "client_state" && event.peer !== undefined && event.state === "asleep")
      this.#peers.get(event.peer)?.inFlight.clear();
    if (event.event !== "qos2_uncertain") return;
    if (this.#hasTakenOut2) this.#hasTakenOut2 = false;
    else this.#uncertain.add(event.clientId);
  }

  /** Who was heard in the time of one round is not lost over an unanswered message. [interpretation 40] */
  #notWhoSpeaks(clientId: string): void {
    const silentMs = this.#time.now() - this.#client(clientId).heardAt;
    if (silentMs < this.#roundMs - 1)
      throw new Violation(`${clientId} is lost over a message, and was heard ${silentMs} ms ago`);
  }

  accepted(publication: Publication): void {
    this.#poison?.saved(publication);
    const payload = textOf(publication);
    const times = (this.#accepted.get(payload) ?? 0) + 1;
    this.#accepted.set(payload, times);
    if (publication.topicName.startsWith("u") && publication.qos === 2) this.#exactlyOnceUp(payload, times);
    // Where the broker closes, the order of one client is given up in a search for a witness.
    if (publication.topicName.startsWith("u") && publication.qos > 0 && times === 1 && !this.#poison)
      this.#inOrderUp(payload, publication.qos);
    if (publication.topicName.startsWith("w/")) this.#notTheOldWill(publication);
  }

  /**
   * A device has one publication under way at a time: at one QoS they reach the broker in its order, also by way of a
   * disk and a crash. [MQTT-4.6.0]
   */
  #inOrderUp(payload: string, qos: QoS): void {
    const [clientId = "", number = "0"] = payload.split(/[#|]/);
    const key = `${clientId} ${qos}`;
    const last = this.#lastUp.get(key) ?? 0;
    if (Number(number) < last && !this.#uncertain.has(clientId))
      throw new Violation(`"${payload}" reached the broker after "${clientId}#${last}"`);
    this.#lastUp.set(key, Math.max(last, Number(number)));
  }
  readonly #lastUp = new Map<string, number>();

  /** A will that the broker published because the connection broke is its own affair: it may be an old one. */
  willFired(clientId: string, will: Will, cause: "abandon" | "cut" | "takeover"): void {
    if (cause === "cut") this.#expectedWills.set(textOf(will), clientId);
  }
  readonly #expectedWills = new Map<string, string>();

  promised(clientId: string, publication: Publication, at = this.#time.now()): void {
    const client = this.#client(clientId);
    // Over a shared connection the broker still sends what an ended session had subscribed to: nobody is waiting for it.
    if (!client.hasEnded) client.promised.set(textOf(publication), at);
  }

  devicePublishes(clientId: string, publication: Publication): void {
    this.#poison?.publishes(clientId, publication);
  }

  devicePublished(clientId: string, payload: string, qos: QoS): void {
    this.checks++;
    if (qos > 0) this.#poison?.told(payload);
    if (qos > 0 && !this.#accepted.has(payload)) {
      if (this.#stores) return void this.#told.set(payload, { clientId, at: this.#time.now() });
      throw new Violation(`${clientId} was told that "${payload}" (QoS ${qos}) is published; the broker never had it`);
    }
  }

  deviceReceived(
    clientId: string,
    payload: string,
    { topicName, qos, retain }: { readonly topicName: string; readonly qos: QoS; readonly retain: boolean },
  ): void {
    this.checks++;
    const client = this.#client(clientId);
    const times = (client.received.get(payload) ?? 0) + (retain ? 0 : 1);
    client.received.set(payload, times);
    client.everReceived.add(payload);
    const [expected] = payload.split("|");
    if (this.#crashed && payload.includes("#")) return;
    if (expected !== topicName) throw new Violation(`${clientId} read "${payload}" under the topic ${topicName}`);
    if (!(isForAll(topicName) && client.subscribes > 0) && !topicName.startsWith(`d/${clientId}/`))
      throw new Violation(`${clientId} got a message for somebody else: ${topicName}`);
    if (qos === 2 && times > 1 && !this.#uncertain.has(clientId)) {
      throw new Violation(`${clientId} got the QoS 2 message "${payload}" ${times} times`);
    }
  }

  deviceEvent(clientId: string, event: DeviceEvent): void {
    if (event.event === "connected") this.#client(clientId).goneByGoodbye = false;
    if (event.event === "disconnected" && event.asked) this.#client(clientId).goneByGoodbye = true;
  }

  /** It was told so; it asked at that time. `kept`: what the broker retains of it now, at QoS 1 and 2. */
  subscribed(
    clientId: string,
    { filter, at }: { readonly filter: string; readonly at: number },
    kept: Iterable<Publication>,
  ): void {
    const { filters, retained, endedAt } = this.#client(clientId);
    if (endedAt > at) return; // the SUBACK waited for a commit, and its session is over since
    filters.add(filter);
    for (const publication of kept) retained.set(publication.topicName, { payload: textOf(publication), at });
  }

  willSet(clientId: string, payload: string | undefined): void {
    this.#client(clientId).will = payload;
  }

  // ---------------------------------------------------------------- over the network

  atGateway(from: PeerId, bytes: Uint8Array): void {
    const decoded = decode(bytes);
    const peer = this.#peers.get(from);
    if (!decoded.ok || !peer) return;
    this.#client(clientAt(from)).heardAt = this.#time.now();
    const { message } = decoded;
    switch (message.type) {
      case "CONNECT":
        if (!peer.connects || peer.connectsSince === Number.POSITIVE_INFINITY) peer.connectsSince = this.#time.now();
        peer.connects = true;
        return;
      case "DISCONNECT":
        peer.wantsSleep = (message.duration ?? 0) > 0;
        return;
      case "PINGREQ":
        // Twice before the first is answered: that answer may be on its way behind a commit, and the second wakes again.
        if (message.clientId !== "" && peer.wakesAgain && this.#time.now() - this.#wentOnAt < airMs) peer.wakesAtOnce++;
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
        if (isForAll(message.topic)) this.#client(clientAt(from)).subscribes++;
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
        if (message.type !== "PUBCOMP") return;
        this.#client(clientAt(from)).open.delete(message.msgId);
        this.#client(clientAt(from)).orphaned.delete(message.msgId);
        return;
      default:
        return;
    }
  }

  fromGateway(to: PeerId, bytes: Uint8Array): void {
    this.checks++;
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
        if (peer.wakesAtOnce-- > 0 && this.#time.now() - this.#wentOnAt < airMs) return;
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
        if (typeof message.topicName === "string") this.#law?.registered(clientAt(to), message.topicName);
        return this.#oneInFlight(to, peer, `r${message.msgId}`, `r${message.topicId}`);
      case "PUBLISH":
        this.#notWhileAsleep(to, peer, message);
        this.#onlyToldIds(to, peer, message);
        this.#law?.copied(clientAt(to), Buffer.from(message.data).toString());
        if (!message.dup) this.#law?.sent(clientAt(to), Buffer.from(message.data).toString());
        if (message.retain && !message.dup) this.#retainedWhenAsked(clientAt(to), Buffer.from(message.data).toString());
        if (message.qos === 2) this.#noteOpen(clientAt(to), message);
        if (message.qos > 0) this.#oneInFlight(to, peer, `p${message.msgId}`);
        return;
      case "PUBREL":
        if (peer.inFlight.has(`p${message.msgId}`)) this.#oneInFlight(to, peer, `p${message.msgId}`);
        return;
      case "PUBACK":
        if (message.returnCode === 0 && peer.publishing.get(message.msgId) !== message.topicId) {
          throw new Violation(
            `PUBACK ${message.msgId} to ${to} carries topic id ${message.topicId}, published was ${peer.publishing.get(message.msgId)}`,
          );
        }
        return;
      default:
        return;
    }
  }

  /** From now on this client is not let in. */
  denies(clientId: string): void {
    this.#denied.set(clientId, this.#time.now());
  }
  readonly #denied = new Map<string, number>();

  /** Who is not let in any more hears that, and nothing else, whatever session it had. */
  #notToTheDenied(clientId: string, { type }: Message): void {
    const since = this.#denied.get(clientId);
    if (since === undefined || this.#time.now() - since < airMs || type === "DISCONNECT" || type === "CONNACK") return;
    throw new Violation(`${type} to ${clientId}, which is not let in any more`);
  }

  /** A device may have begun anew: nothing of what was comes before its CONNACK, but for what waited for a commit. */
  #nothingBeforeConnAck(to: PeerId, { connects, connectsSince }: PeerTrack, { type }: Message): void {
    const sinceMs = this.#time.now() - connectsSince;
    if (connects && sinceMs > commitMs && sinceMs < dialogueMs)
      throw new Violation(`${type} to ${to} ${sinceMs} ms after its CONNECT, before CONNACK`);
  }

  /** Who speaks keeps its place, whoever else wants one. */
  #keepsItsPlace(clientId: string, why: string): void {
    const { state } = this.#client(clientId);
    if (!/made room/.test(why) || clientId.startsWith("squatter")) return;
    if (state === "active" || state === "asleep" || state === "awake")
      throw new Violation(`${clientId} is ${state}, and has made room for a newcomer`);
  }

  /** Nothing goes to a sleeping client but answers to what it sent. [§6.14] */
  #notWhileAsleep(to: PeerId, peer: PeerTrack, message: Message): void {
    if (peer.sleeps) throw new Violation(`${message.type} to ${to}, which is asleep`);
  }

  /** A PUBLISH uses only topic ids that the client was told, for that name. [§6.10] */
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
    const { open, orphaned, swallowed } = this.#client(clientId);
    open.add(msgId);
    if (orphaned.has(msgId)) swallowed.add(Buffer.from(data).toString());
  }

  /** What is retained goes to who has just subscribed, and to nobody else who shares the connection. */
  #retainedWhenAsked(clientId: string, payload: string): void {
    const { retainedCopies, subscribes } = this.#client(clientId);
    const copies = (retainedCopies.get(payload) ?? 0) + 1;
    retainedCopies.set(payload, copies);
    if (this.#isShared && copies > subscribes)
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
    // An answer may be lost on its way, so the gateway knows of fewer; two at once from its view are a fault.
    if (inFlight.size > 1) throw new Violation(`two in flight towards ${to}: ${[...inFlight.keys()].join(", ")}`);
  }

  /** Exactly once: the broker saved this payload a second time. */
  #exactlyOnceUp(payload: string, times: number): void {
    const clientId = payload.split("#")[0] ?? "";
    // What the network still holds of a session that has ended is new to the next one.
    if (this.#time.now() - this.#client(clientId).endedAt < airMs) return;
    if (times > 1 && !this.#uncertain.has(clientId)) throw new Violation(`QoS 2 "${payload}" arrived ${times} times`);
  }

  /** After an acknowledged update the old will is not published, but by a broker whose connection was cut. [§6.4] */
  #notTheOldWill(publication: Publication): void {
    const payload = textOf(publication);
    if (this.#expectedWills.delete(payload)) return;
    const clientId = willOf(publication);
    const client = this.#client(clientId);
    // Decided before the client, which is back by now, had a new one; it is on its way a little longer.
    if (versionOf(payload) < Math.min(versionOf(client.will), client.willWhenDue))
      throw new Violation(`old will "${payload}" published, it is "${client.will}" now`);
  }

  // ---------------------------------------------------------------- at any time, and at the end

  everyStep(state: { sessions: Iterable<SessionView>; nextDeadline: number | undefined; bufferMax: number }): void {
    for (const session of state.sessions) {
      if ((session.state === "asleep" || session.state === "awake") && state.nextDeadline === undefined) {
        throw new Violation(`${session.clientId} is ${session.state} and nobody watches it`);
      }
      if (session.waitingMessages > state.bufferMax)
        throw new Violation(`${session.clientId} holds ${session.waitingMessages} messages`);
    }
  }

  /** After healing: what the gateway promised to the broker is with the device, or still `waits` for it. */
  nothingPromisedIsMissing(waits: (clientId: string) => ReadonlySet<string>): void {
    for (const [clientId, client] of this.#clients) {
      for (const [topicName, { payload, at }] of client.retained) {
        if (at <= client.excusedUntil || this.#law?.isDropped(clientId, payload)) continue;
        const got = [...client.everReceived].some(
          (each) => each.startsWith(`${topicName}|`) && numberOf(each) >= numberOf(payload),
        );
        if (!got)
          throw new Violation(
            `${clientId} subscribed at ${at} and never got the retained "${payload}", nor a later one`,
          );
      }
      const waiting = waits(clientId);
      for (const [payload, at] of client.promised) {
        if (waiting.has(payload)) continue;
        if (this.#law?.isDropped(clientId, payload) || client.swallowed.has(payload)) continue;
        if (at > client.excusedUntil && !client.everReceived.has(payload)) {
          throw new Violation(
            `${clientId} never got "${payload}", which the gateway had acknowledged to the broker at ${at}`,
          );
        }
      }
    }
  }

  /** After healing: what devices were told is published is at the broker, but for what was dropped and counted. */
  nothingToldIsMissing(): void {
    if (this.#poison) return; // see there
    const missing = [...this.#told].filter(([payload]) => !this.#accepted.has(payload));
    if (missing.length <= this.#given) return;
    const [[payload, of] = ["", { clientId: "", at: 0 }]] = missing;
    throw new Violation(
      `${of.clientId} was told at ${of.at} that "${payload}" is published; the broker never got it (${missing.length} missing, ${this.#given} dropped and counted)`,
    );
  }

  /** It was told that it is subscribed: it gets what is published, whatever the broker forgot in between. */
  isOwed(clientId: string, topicName: string): boolean {
    for (const filter of this.#client(clientId).filters) if (matches(filter, topicName)) return true;
    return false;
  }

  hasGot(clientId: string, payload: string): boolean {
    return this.#client(clientId).everReceived.has(payload);
  }

  #excuse(clientId: string): void {
    this.#client(clientId).excusedUntil = this.#time.now();
  }

  #client(clientId: string): ClientTrack {
    let client = this.#clients.get(clientId);
    if (!client) {
      client = new ClientTrack();
      this.#clients.set(clientId, client);
    }
    return client;
  }
}

/** A set-up that nobody goes on with is over after some time, and then the session of before goes on. */
const dialogueMs = 10_000;

/** A commit is done in this time. */
const commitMs = 500;

/** Clients keep MsgIds in 16 bits, some of them signed. */
const msgIdMax = 0x7fff;

/** Between two copies of what is not answered. */
const retryMs = testOptions.retry.retryIntervalSeconds * 1_000;

/** A datagram takes no longer, nor the commit behind which it goes on. */
const airMs = 5_000;

/** Counted drops that explain a missing message. */
const excusing = new Set([
  "session-ended",
  "buffer-full",
  "expired",
  "too-large-for-peer",
  "refused-by-client",
  "unanswered",
  "registration-refused",
  "topic-ids-exhausted",
]);
