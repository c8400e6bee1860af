/**
 * The rules for a broker that closes the connection for some packets. Only this judge knows the predicate.
 *
 * - Only packets for which the broker has closed the connection are taken out, become dead letters or are refused to their device. The
 *   exception is a known kind: two of the same client, topic, QoS and retain were taken out, and none of it was answered in between.
 * - A packet that is on disk as a suspect is sent alone, also after a restart, and the gateway never acknowledges it.
 * - A publication that was acknowledged to its device and is not at the broker is a dead letter, or is on disk.
 * - Every other client has an answer within 30 s. For each client the judge counts the time since one of its packets (a PUBLISH at QoS 1 or
 *   2, a SUBSCRIBE or UNSUBSCRIBE) was answered, or since none of them waited. It counts while a packet waits that has come to the gateway
 *   and is neither answered by the broker nor refused to the device. It does not count while the client is in the middle of a CONNECT, while
 *   it has a waiting packet for which the broker has closed, or while it leaves as many PUBRECs unanswered as the broker's window for QoS 2.
 *   It counts only while the connection is up: from CONNACK on, over all ends that the predicate causes and the pauses after them. From any
 *   other end (a cut, an outage, a faulty broker, the death of the gateway) until the next CONNACK it does not count. It does not count
 *   either while the gateway stands still, and while the broker seems faulty (it ended for three different packets in a row without an
 *   answer in between, until the next answer). Each time it began to seem faulty adds 10 s to the 30, because the gateway has to forget then what
 *   it had found out. Of a pause after an end that the predicate caused, the part does not count by which cuts
 *   without an answer in between have lengthened it.
 */
import type { GatewayEvent } from "../../src/core/event.ts";
import { hashOf } from "../../src/core/octets.ts";
import type { Change } from "../../src/core/record.ts";
import { publicationKey } from "../../src/core/state/packet-key.ts";
import type { Instant, Publication } from "../../src/core/types.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import type { SeenPacket } from "./broker.ts";
import { type Line, Lines } from "./poison-lines.ts";
import {
  Client,
  Copies,
  differentMin,
  isItsOwnFault,
  keyOf,
  notSupported,
  Published,
  textIn,
  triedOfOne,
  unheard,
  waitsForPoison,
} from "./poison-parties.ts";
import { clientAt } from "./sim-address.ts";
import { textOf } from "./texts.ts";
import { Violation } from "./violation.ts";

const usualSilenceMaxMs = 30_000;
/** So long three deaths of one packet take at least. When the broker has seemed sick, all that was found out begins anew. */
const forgottenMs = 10_000;
/** So long the pauses of a broker that seems sick are felt. */
const sickSpellMs = 600_000;
/** Within this time a device notices that its connection is over. */
const noticedMs = 70_000;
/** Ends that the predicate has made of it, at least: some of its deaths may have been a cut, or the broker's sickness. */
const proofMin = 1;
/** Taken out of one kind before others of it may be refused. */
const takenToLearn = 2;
/** Until the broker's answer has reached the gateway, and the gateway's answer a device. */
const onTheWayMs = 5_000;

export class PoisonLaw {
  readonly #now: () => Instant;
  readonly #silenceMaxMs: number;
  /** By which MQTT connection a client's packets go. */
  readonly #lineOf: (clientId: string) => string;
  readonly #lines: Lines;
  readonly #clients = new Map<string, Client>();
  /** How often the broker has closed for it. */
  readonly #ends = new Map<string, number>();
  readonly #seen: SeenPacket[] = [];
  readonly #copies = new Copies();
  readonly #published = new Published();
  readonly #saved = new Set<string>();
  /** Payloads that were taken out, and told so to the device or in a dead letter. */
  readonly #out = new Set<string>();
  readonly #letters = new Set<string>();
  readonly #acknowledged = new Set<string>();
  readonly #told = new Set<string>();
  /** Keys of suspects on disk. */
  readonly #suspects = new Set<string>();
  /** The longest that was counted, and what was taken out: a rule that never acts proves nothing. */
  longestSilenceMs = 0;
  readonly takenOut = new Map<string, number>();

  /** Could the broker close for it, at some place or time? */
  readonly #mayClose: (packet: SeenPacket) => boolean;

  constructor(init: {
    now: () => Instant;
    lineOf: (clientId: string) => string;
    mayClose: (packet: SeenPacket) => boolean;
    silenceMaxMs?: number | undefined;
  }) {
    this.#silenceMaxMs = init.silenceMaxMs ?? usualSilenceMaxMs;
    this.#now = init.now;
    this.#lines = new Lines(init.now);
    this.#lineOf = init.lineOf;
    this.#mayClose = init.mayClose;
  }

  // ---------------------------------------------------------------- the broker

  /** The predicate holds: the connection is over. */
  closedFor(packet: SeenPacket): void {
    const key = keyOf(packet);
    this.#ends.set(key, (this.#ends.get(key) ?? 0) + 1);
    this.#seen.push(packet);
    const line = this.#line(packet.connection);
    line.row.add(key);
    line.died(this.#now());
    if (line.row.size >= differentMin) line.seemsSick(this.#now());
    this.#holdsUp(packet);
  }

  /** Has the broker closed for a publication of this content? */
  hasClosedFor(text: string): boolean {
    return this.#seen.some((seen) => seen.kind === "publish" && seen.text === text);
  }

  /** The broker is sick, and closes for anything. */
  closedWhileSick(packet: SeenPacket): void {
    this.broke(packet.connection);
    this.#line(packet.connection).row.add(keyOf(packet)); // the gateway cannot tell it from the others
    for (const [id, client] of this.#clients)
      if (this.#lineOf(id) === packet.connection) client.since = this.#line(packet.connection).stood(this.#now());
    this.#holdsUp(packet);
  }

  #holdsUp(packet: SeenPacket): void {
    const key = keyOf(packet);
    const owner = this.#published.get(packet.text)?.clientId;
    if (owner !== undefined) this.#client(owner).poisons.add(key);
    else if (packet.kind === "publish") this.#client(packet.text.split(" ")[0] ?? "").poisons.add(key);
    else for (const [id, client] of this.#clients) if (this.#asks(id, client, packet)) client.poisons.add(key);
  }

  /** Over a shared connection it is everybody's who waits for its answer. */
  #asks(clientId: string, { waiting }: Client, packet: SeenPacket): boolean {
    const isForFilter = (key: string) => !key.startsWith("publish ") && key.endsWith(` ${packet.topic}`);
    return packet.connection === clientId || [...waiting].some(isForFilter);
  }

  saved(publication: Publication): void {
    const text = textOf(publication);
    this.#saved.add(text);
    this.#isOver(`publish ${text}`);
    const of = this.#published.get(text);
    if (!of) return;
    this.#suspects.delete(publicationKey(of.clientId, of.publication));
    this.#answered(of.clientId, `publish ${text}`);
    this.#client(of.clientId).since = this.#line(this.#lineOf(of.clientId)).stood(this.#now()); // also what nobody waits for any more
    const kind = this.#published.kindOf(text);
    if (!kind) return;
    if (publication.payload.byteLength < kind.shortest) return;
    kind.takenBefore = Math.max(kind.taken, this.#now() - kind.savedAt < onTheWayMs ? kind.takenBefore : 0);
    kind.taken = 0;
    kind.savedAt = this.#now();
  }

  // ---------------------------------------------------------------- the line

  up(connection: string): void {
    this.#lines.up(connection);
  }

  /** It ended, and not for a packet of the predicate's. */
  broke(connection: string): void {
    // Where the gateway does not go on without the broker, an UNSUBSCRIBE has no answer: its device asks again.
    for (const [id, { waiting }] of this.#clients)
      if (this.#lineOf(id) === connection)
        for (const key of [...waiting]) if (key.startsWith("unsubscribe ")) waiting.delete(key);
    this.#lines.broke(connection);
  }

  /** The broker is away, for all. */
  away(): void {
    for (const connection of this.#lines.connections()) this.broke(connection);
  }

  stops(): void {
    this.#lines.stop();
  }

  goesOn(): void {
    this.#lines.goOn();
  }

  /** The gateway is dead: what it was asked and has not answered is asked again, or it is lost. */
  died(): void {
    this.#lines.died();
    for (const client of this.#clients.values()) client.waiting.clear();
    this.#copies.died(this.#now());
  }

  /** The gateway sends it now. */
  sends(connection: string, packetId: number, packet: Publication | string): void {
    if (packetId === 0) return;
    const { outside } = this.#line(connection);
    outside.set(packetId, typeof packet === "string" ? packet : this.#published.keyOnDisk(packet));
    if (outside.size === 1) return;
    for (const key of outside.values())
      if (this.#suspects.has(key)) throw new Violation(`${key} stands on disk as a suspect, and is not alone outside`);
  }

  /** The broker's answer came to the gateway. */
  acked(connection: string, packetId: number): void {
    const line = this.#line(connection);
    this.#isOver(line.outside.get(packetId) ?? "");
    line.outside.delete(packetId);
    line.row.clear();
    line.answered();
    this.#lines.stands(line);
  }

  // ---------------------------------------------------------------- the disk

  decided(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.of === "suspect" && !change.record) this.#forget(change);
      if (change.of !== "letter" || change.record?.reason !== "refused-by-broker") continue;
      const text = textOf(change.record.publication);
      if (!this.#isWillOfKnownKind(change.record.publication)) this.#mayBeTakenOut(text, "is a dead letter");
      this.#letters.add(text);
      this.#takenOut(text);
    }
  }

  onDisk(change: Change): void {
    if (change.of === "taken" && change.record) this.#isTaken(change.clientId, change.id, change.record.hash);
    if (change.of !== "suspect" || change.record?.retired !== undefined) return;
    if (!change.record) return this.#forget(change);
    const id = `${change.clientId} ${change.id}`;
    this.#keys.set(id, change.record.key);
    this.#suspects.add(change.record.key);
  }
  readonly #keys = new Map<string, string>();

  /** Accepted at QoS 2 before it was a suspect: its device may hear so at any time, also from the next run of the gateway. */
  #isTaken(clientId: string, msgId: number, hash: number): void {
    const text = textIn(this.#client(clientId).asked.get(msgId) ?? "");
    const of = this.#published.get(text);
    if (!of || hashOf(Buffer.from(text)) !== hash) return;
    if (!this.#suspects.has(publicationKey(clientId, of.publication))) this.#acknowledged.add(text);
  }

  #forget({ clientId, id }: Change): void {
    const key = this.#keys.get(`${clientId} ${id}`);
    if (key !== undefined) this.#suspects.delete(key);
  }

  // ---------------------------------------------------------------- the gateway's account

  reported(event: GatewayEvent): void {
    if (event.event === "packet_taken_out") this.#isProved(event);
    // Who is not there waits for nothing, nor who was not listened to.
    const isGone = event.event === "client_state" && (event.state === "lost" || event.state === "disconnected");
    if (isGone || event.event === "session_ended") this.#client(event.clientId).waiting.clear();
    if (event.event !== "drop") return;
    if (event.reason === "refused-by-broker" && event.clientId !== undefined && event.detail !== undefined)
      this.#isDropped(event.clientId, event.detail);
    if (!unheard.has(event.reason)) return;
    const clientId = event.clientId ?? (event.peer && clientAt(event.peer));
    if (clientId !== undefined) this.#client(clientId).waiting.clear();
  }

  /**
   * A publication was refused and counted. Of a known kind it may have waited from before a CONNECT: then its device hears
   * nothing. `detail`: QoS and topic.
   */
  #isDropped(clientId: string, detail: string): void {
    const client = this.#client(clientId);
    if (client.reported.delete(detail)) return;
    for (const key of client.fromBefore) {
      const text = textIn(key);
      const { topicName, qos } = this.#published.get(text)?.publication ?? {};
      const isKnown = (this.#published.kindOf(text)?.taken ?? 0) >= takenToLearn;
      if (detail !== `QoS ${qos} ${topicName}` || !isKnown) continue;
      client.fromBefore.delete(key);
      this.#answered(clientId, key);
    }
  }

  #isProved({ clientId, packet, topic, qos, bytes }: Extract<GatewayEvent, { event: "packet_taken_out" }>): void {
    const kind = packet === "will" ? "publish" : packet;
    this.takenOut.set(packet, (this.takenOut.get(packet) ?? 0) + 1);
    if (kind !== "publish") this.#isOver(`${kind} ${topic}`);
    else if (clientId !== undefined) this.#client(clientId).reported.add(`QoS ${qos} ${topic}`);
    const isThis = (seen: SeenPacket) =>
      seen.kind === kind && seen.topic === topic && (kind !== "publish" || (seen.qos === qos && seen.bytes === bytes));
    // At QoS 0 it is its kind that dies.
    const isOfKind = (seen: SeenPacket) => seen.kind === kind && seen.topic === topic && seen.qos === 0;
    // Two clients may say something alike. A client may have said it twice: copies of one content go together.
    const isOurs = ({ text }: SeenPacket) => [undefined, clientId].includes(this.#published.get(text)?.clientId);
    const all = this.#seen.filter(
      (seen) => isThis(seen) && isOurs(seen) && (this.#ends.get(keyOf(seen)) ?? 0) >= proofMin,
    );
    // The report does not say whether it was retained: it is the one that was seen last.
    const proved =
      all.findLast(({ text }) => !this.#out.has(text)) ?? all.find(({ text }) => this.#copies.hasMore(text));
    if (proved) this.#copies.reported(proved.text, this.#now());
    if (proved && kind === "publish" && qos > 0) this.#takenOut(proved.text);
    const isProved = kind === "publish" && qos === 0 ? this.#seen.filter(isOfKind).length >= proofMin : proved;
    if (!isProved)
      throw new Violation(`a ${packet} for ${topic} at QoS ${qos} was taken out, and the broker never closed for it`);
  }

  // ---------------------------------------------------------------- the network

  /** A device publishes it, for the first time. */
  publishes(clientId: string, publication: Publication): void {
    this.#published.set(textOf(publication), { clientId, publication });
  }

  atGateway(clientId: string, message: Message): void {
    if (message.type === "PUBREL") this.#client(clientId).unreleased.delete(message.msgId);
    if (message.type === "CONNECT") this.#client(clientId).connects = true;
    if (message.type === "PUBLISH" && message.qos > 0) {
      const text = Buffer.from(message.data).toString();
      this.#copies.came(text);
      this.#client(clientId).asked.set(message.msgId, `publish ${text}`);
      if (!this.#saved.has(text) && !this.#out.has(text)) this.#waits(clientId, `publish ${text}`);
    }
    if ((message.type === "SUBSCRIBE" || message.type === "UNSUBSCRIBE") && typeof message.topic === "string") {
      const key = `${message.type.toLowerCase()} ${message.topic}`;
      this.#client(clientId).asked.set(message.msgId, key);
      this.#waits(clientId, key);
    }
  }

  fromGateway(clientId: string, message: Message): void {
    if (message.type === "PUBREC") this.#client(clientId).unreleased.add(message.msgId);
    this.#endsDialogue(clientId, message);
    switch (message.type) {
      case "PUBACK":
      case "PUBREC":
      case "SUBACK":
      case "UNSUBACK": {
        const key = this.#client(clientId).asked.get(message.msgId);
        if (key === undefined) return;
        const returnCode = "returnCode" in message ? message.returnCode : 0;
        if (returnCode === notSupported) this.#refused(clientId, key);
        const isPublish = key.startsWith("publish ");
        if (isPublish && returnCode === 0) this.#mayBeAcknowledged(textIn(key));
        if (!isPublish || returnCode !== 0) this.#answered(clientId, key);
        return;
      }
      default:
        return;
    }
  }

  /** Between a CONNECT and its CONNACK a client hears nothing else, also where the CONNECT was an old copy. */
  #endsDialogue(clientId: string, { type }: Message): void {
    const client = this.#client(clientId);
    // What it had asked for before is not answered any more. It asks again for what it still wants.
    if (type === "CONNACK")
      for (const key of [...client.waiting])
        if (key.startsWith("publish ")) client.fromBefore.add(key);
        else client.waiting.delete(key);
    if (type === "WILLTOPICREQ" || type === "WILLMSGREQ")
      client.connects = true; // also behind what waited for a commit
    else if (client.connects) this.#endsConnecting(client, clientId);
  }

  #endsConnecting(client: Client, clientId: string): void {
    client.connects = false;
    client.since = this.#line(this.#lineOf(clientId)).stood(this.#now());
  }

  #refused(clientId: string, key: string): void {
    if (!key.startsWith("publish ")) {
      if (!this.#ends.has(key))
        throw new Violation(`${clientId} is refused "${key}", and the broker never closed for it`);
      return;
    }
    const text = textIn(key);
    if (!this.#published.has(text)) return; // the garbage of a stranger
    const kind = this.#published.kindOf(text);
    const taken = kind && Math.max(kind.taken, this.#now() - kind.savedAt < onTheWayMs ? kind.takenBefore : 0);
    if (!this.#out.has(text) && taken !== undefined && taken >= takenToLearn) return;
    this.#mayBeTakenOut(text, "is refused");
    this.#takenOut(text);
  }

  /** One will that the broker closed for teaches the gateway its kind: topic, QoS, retain. */
  #isWillOfKnownKind({ topicName, qos, retain }: Publication): boolean {
    const isOfKind = (seen: SeenPacket) => seen.topic === topicName && seen.qos === qos && seen.retain === retain;
    return topicName.startsWith("w/") && this.#seen.filter(isOfKind).length >= proofMin;
  }

  #mayBeTakenOut(text: string, how: string): void {
    const ends = this.#ends.get(`publish ${text}`) ?? 0;
    if (ends < proofMin) throw new Violation(`"${text}" ${how}, and the broker closed for it ${ends} times`);
  }

  #takenOut(text: string): void {
    const of = this.#published.get(text);
    this.#isOver(`publish ${text}`);
    if (of) this.#answered(of.clientId, `publish ${text}`);
    if (this.#out.has(text)) return;
    this.#out.add(text);
    const kind = this.#published.kindOf(text);
    if (!kind || !of) return;
    kind.taken++;
    kind.shortest = Math.min(kind.shortest, of.publication.payload.byteLength);
  }

  #mayBeAcknowledged(text: string): void {
    const of = this.#published.get(text);
    if (!of || this.#saved.has(text) || this.#acknowledged.has(text)) return;
    this.#acknowledged.add(text);
    if (this.#suspects.has(publicationKey(of.clientId, of.publication)))
      throw new Violation(`"${text}" stands on disk as a suspect, and its device hears that it is accepted`);
  }

  /** Its device was told that it is published. */
  told(text: string): void {
    if (!this.#saved.has(text)) this.#told.add(text);
  }

  /**
   * In the end all that was told published is at the broker, or a dead letter; `onItsWay`: on disk. That may be poison of which
   * nobody can tell that it is not the broker, and what stands behind so many of them in its client's order that it is not tried.
   */
  nothingIsLost(onItsWay: ReadonlySet<string>): void {
    const missing = [...this.#told].filter((text) => !this.#saved.has(text) && !this.#letters.has(text));
    const poisons = new Map<string, number>();
    for (const text of missing) {
      const { clientId = "" } = this.#published.get(text) ?? {};
      if (!onItsWay.has(text)) throw new Violation(`"${text}" was told published, and is nowhere`);
      if (this.#published.isPoisonous(text, this.#mayClose)) poisons.set(clientId, (poisons.get(clientId) ?? 0) + 1);
    }
    for (const text of missing) {
      const { clientId = "" } = this.#published.get(text) ?? {};
      const before = (poisons.get(clientId) ?? 0) + this.#client(clientId).poisons.size;
      if (!this.#published.isPoisonous(text, this.#mayClose) && before < triedOfOne)
        throw new Violation(`"${text}" was told published, and waits behind ${before} poisons`);
    }
  }

  /** Lately the broker has ended the connection of this client for something that it was asked. The client may not have noticed yet. */
  hasJustEnded(clientId: string): boolean {
    return this.#now() - this.#line(this.#lineOf(clientId)).closedAt < noticedMs;
  }

  /** Of late nobody could tell that the broker is not sick: what this client asks for may take its turn for long. */
  isSick(clientId: string): boolean {
    return this.#now() - this.#line(this.#lineOf(clientId)).sickAt < sickSpellMs;
  }

  // ---------------------------------------------------------------- silence

  everyStep(): void {
    for (const [clientId, client] of this.#clients) {
      if (client.waiting.size === 0 || client.connects) continue;
      const line = this.#line(this.#lineOf(clientId));
      const silentMs = line.stood(this.#now()) - client.since - forgottenMs * line.sickSpellsSince(client.since);
      if (silentMs <= this.longestSilenceMs || isItsOwnFault(client) || waitsForPoison(client, this.#ends)) continue;
      this.longestSilenceMs = silentMs;
      if (silentMs <= this.#silenceMaxMs) continue;
      const [what] = client.waiting;
      throw new Violation(`${clientId} has had no answer for ${Math.round(silentMs)} ms, "${what}" waits`);
    }
  }

  #isOver(key: string): void {
    for (const [clientId, client] of this.#clients) {
      if (client.poisons.delete(key)) client.since = this.#line(this.#lineOf(clientId)).stood(this.#now());
    }
  }

  #waits(clientId: string, key: string): void {
    const client = this.#client(clientId);
    if (client.waiting.size === 0) client.since = this.#line(this.#lineOf(clientId)).stood(this.#now());
    client.waiting.add(key);
  }

  #answered(clientId: string, key: string): void {
    const client = this.#client(clientId);
    if (client.waiting.delete(key)) client.since = this.#line(this.#lineOf(clientId)).stood(this.#now());
  }

  #line(connection: string): Line {
    return this.#lines.of(connection);
  }

  #client(clientId: string): Client {
    let client = this.#clients.get(clientId);
    if (!client) {
      client = new Client();
      this.#clients.set(clientId, client);
    }
    return client;
  }
}
