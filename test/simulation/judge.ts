/**
 * What must hold, judged from the outside: by what goes over the network, what the broker saved, and what devices say.
 * Each rule is a method with its reason; a violation ends the run with the seed that replays it.
 */
import type { GatewayEvent } from "../../src/core/event.ts";
import type { SessionView } from "../../src/core/gateway-core.ts";
import type { PeerId, Publication, QoS, Will } from "../../src/core/types.ts";
import type { DeviceEvent } from "../../src/device/device.ts";
import { matches } from "../../src/wire/topic.ts";
import { type ClientTrack, ClientTracks } from "./judge-tracks.ts";
import { NetworkRules, onNetworkMs } from "./network-rules.ts";
import { testOptions } from "./options.ts";
import type { PoisonLaw } from "./poison-law.ts";
import type { PolicyLaw } from "./policy-law.ts";
import { isForAll, numberOf, textOf, versionOf, willOf } from "./texts.ts";
import { Violation } from "./violation.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** After the gateway continues, copies that were sent at once may be in the network for so long, and be answered. */
const crossMs = 5_000;

export class Judge {
  readonly #time: VirtualTime;
  readonly #network: NetworkRules;
  readonly #clients = new ClientTracks();
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
  /** Publications that devices were told are published, and the broker does not have yet. */
  readonly #told = new Map<string, { readonly clientId: string; readonly at: number }>();
  /** Counted drops of what was accepted. */
  #given = 0;
  #crashed = false;
  checks = 0;

  /** Where the gateway says which messages it drops, each is judged by it; else a counted drop excuses the client. */
  readonly #law: PolicyLaw | undefined;
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
    this.#roundMs = roundMs;
    this.#network = new NetworkRules(time, this.#clients, { isShared, law, copiesPerRound });
    this.#time = time;
    this.#stores = stores;
    this.#law = law;
  }

  // ---------------------------------------------------------------- what happens

  isAt(clientId: string, address: PeerId): void {
    this.#network.isAt(clientId, address);
  }

  deviceReset(clientId: string): void {
    this.#excuse(clientId);
    this.#uncertain.add(clientId); // what it had not been acknowledged it does not send again, and forgets what it took
    const { received, open, detached } = this.#client(clientId);
    for (const forgotten of [received, open, detached]) forgotten.clear();
  }

  cleanConnect(clientId: string): void {
    this.#excuse(clientId);
  }

  /**
   * `kept`: everything was on disk, so nothing is excused; only what is on the network is open again. `durable`: so was most of
   * it, and what a client had confirmed counts on.
   */
  gatewayCrashed({ kept, durable }: { kept: boolean; durable: boolean }): void {
    for (const { retainedCopies } of this.#clients.values()) retainedCopies.clear(); // at QoS 1 the broker may reuse the id
    this.#network.gatewayCrashed({ kept, durable });
    if (kept) return;
    this.#crashed = true;
    this.#forgotAt = this.#time.now();
    for (const [clientId, client] of this.#clients) {
      this.#excuse(clientId);
      this.#uncertain.add(clientId);
      client.filters.clear();
      client.retained.clear();
      for (const msgId of client.open) client.detached.add(msgId);
      client.open.clear();
    }
  }

  /** The last time that a gateway died which had not everything on disk. */
  #forgotAt = Number.NEGATIVE_INFINITY;

  /** A gateway starts: it has not received what was sent to the dead one. */
  gatewayBegins(): void {
    this.#network.gatewayBegins();
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
    this.#network.goesOn();
  }
  #wentOnAt = Number.NEGATIVE_INFINITY;

  /**
   * Silence while the gateway stood still counts against no client: messages may not have been read, or may not have fit into the buffer.
   * From then on a client has its full time, and its messages are repeated once more.
   */
  #notForOurPause(event: Extract<GatewayEvent, { event: "client_state" }>): void {
    const { keepAliveSeconds, sleepSeconds } = this.#client(event.clientId).announced;
    const patience: Record<string, number> = {
      "keep alive ran out": keepAliveSeconds * 1_000,
      "slept too long": sleepSeconds * 1_000,
      "no answer to a message": retryMs,
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
    if (event.event === "packet_taken_out" && event.qos === 2 && event.packet !== "subscribe")
      this.#hasTakenOut2 = true;
    if (event.event === "will_refused" && !this.#closedForWills.has(event.topic))
      throw new Violation(`the will of ${event.clientId} was left out, and the broker never closed for it`);
    if (event.event === "connect_refused" && event.why.includes("its will")) this.#refusedForWills.add(event.clientId);
    if (event.event === "client_state") this.#refusedForWills.delete(event.clientId);
    if (event.event === "client_state") this.#notForOurPause(event);
    if (event.event === "drop" && /oldest is dropped|newest is dropped/.test(event.detail)) this.#given++;
    if (event.event === "will_published") {
      const client = this.#client(event.clientId);
      client.willWhenDue = versionOf(client.will);
      client.willsDue.add(client.willWhenDue);
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
    if (event.event === "client_state" && event.peer !== undefined && event.state === "asleep")
      this.#network.fellAsleep(event.peer);
    if (event.event !== "qos2_uncertain") return;
    if (this.#hasTakenOut2) this.#hasTakenOut2 = false;
    else this.#uncertain.add(event.clientId);
  }

  /** A client that was heard in the time of one round is not declared lost because of an unanswered message. [interpretation 40] */
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
    // If the broker closes the connection, the order of one client is given up in the search for a witness.
    if (publication.topicName.startsWith("u") && publication.qos > 0 && times === 1 && !this.#poison)
      this.#inOrderUp(payload, publication.qos);
    if (publication.topicName.startsWith("w/")) this.#notTheOldWill(publication);
  }

  /**
   * A device has one open publication at a time: at one QoS they reach the broker in its order, also after a disk and a crash. [MQTT-4.6.0]
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
    // On a shared connection the broker still sends what an ended session had subscribed to: no client waits for it.
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
    // When a gateway that stood still continues, a first copy and its repetition are sent at once, and one may overtake the end of the
    // other.
    const copiesCross = this.#time.now() - this.#wentOnAt < crossMs;
    if (qos === 2 && times > 1 && !this.#uncertain.has(clientId) && !copiesCross) {
      throw new Violation(`${clientId} got the QoS 2 message "${payload}" ${times} times`);
    }
  }

  deviceEvent(clientId: string, event: DeviceEvent): void {
    if (event.event === "connected") this.#client(clientId).goneByGoodbye = false;
    if (event.event === "disconnected" && event.asked) this.#client(clientId).goneByGoodbye = true;
  }

  /** The client was told so, and had asked at that time. `kept`: what the broker retains of it now, at QoS 1 and 2. */
  subscribed(
    clientId: string,
    { filter, at }: { readonly filter: string; readonly at: number },
    kept: Iterable<Publication>,
  ): void {
    const { filters, retained, endedAt } = this.#client(clientId);
    if (endedAt > at) return; // the SUBACK waited for a commit, and its session is over since
    // It was still in the network when the gateway that had sent it died. If the broker loses its state as well, no one knows of it.
    if (this.#forgotAt > at) return;
    filters.add(filter);
    for (const publication of kept) retained.set(publication.topicName, { payload: textOf(publication), at });
  }

  willSet(clientId: string, payload: string | undefined): void {
    this.#client(clientId).will = payload;
  }

  // ---------------------------------------------------------------- over the network

  atGateway(from: PeerId, bytes: Uint8Array): void {
    this.#network.atGateway(from, bytes);
  }

  fromGateway(to: PeerId, bytes: Uint8Array): void {
    this.checks++;
    this.#network.fromGateway(to, bytes);
  }

  /** From now on this client is not admitted. */
  denies(clientId: string): void {
    this.#network.denies(clientId);
  }

  /** A client that sends messages keeps its place. */
  #keepsItsPlace(clientId: string, why: string): void {
    const { state } = this.#client(clientId);
    if (!/made room/.test(why) || clientId.startsWith("squatter")) return;
    if (state === "active" || state === "asleep" || state === "awake")
      throw new Violation(`${clientId} is ${state}, and has made room for a newcomer`);
  }

  /** Exactly once: the broker saved this payload a second time. */
  #exactlyOnceUp(payload: string, times: number): void {
    const clientId = payload.split("#")[0] ?? "";
    // What the network still holds of a session that has ended is new to the next one.
    if (this.#time.now() - this.#client(clientId).endedAt < onNetworkMs) return;
    if (times > 1 && !this.#uncertain.has(clientId)) throw new Violation(`QoS 2 "${payload}" arrived ${times} times`);
  }

  /** After an acknowledged update the old will is not published, but by a broker whose connection was cut. [§6.4] */
  #notTheOldWill(publication: Publication): void {
    const payload = textOf(publication);
    if (this.#expectedWills.delete(payload)) return;
    // It was sent before, and the broker closed the connection because of it.
    if (this.#poison?.hasClosedFor(payload)) return;
    const clientId = willOf(publication);
    const client = this.#client(clientId);
    // Decided before the client, which is back by now, had a new one. It takes longer; on a shared connection it continues by itself.
    if (client.willsDue.has(versionOf(payload))) return;
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
        if (at <= client.excusedUntil || this.#law?.isDroppedSince(clientId, topicName, payload)) continue;
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

  /** The client was told that it is subscribed: it gets what is published, also if the broker lost its state in between. */
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
    return this.#clients.of(clientId);
  }
}

/** Between two copies of what is not answered. */
const retryMs = testOptions.retry.retryIntervalSeconds * 1_000;

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
