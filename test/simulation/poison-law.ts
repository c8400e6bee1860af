/**
 * What must hold where a broker closes the connection for some packets, by a predicate that nobody but this judge knows:
 *
 * - Nothing but what it has closed for is taken out, becomes a dead letter or is refused to its device, unless a kind was
 *   learnt: two of the same client, topic, QoS and retain were taken out and none of it got through between.
 * - What stands on disk as a suspect goes alone, also after a restart, and is never acknowledged by the gateway.
 * - What a device was told is published, and is not at the broker, is a dead letter or on its way on disk.
 * - Nobody else is silent for longer than 30 s. Counted is, for each client, the time since a packet of it (a PUBLISH at
 *   QoS 1 or 2, a SUBSCRIBE or UNSUBSCRIBE) was answered or there was nothing of it to answer, while
 *   a packet of it waits that has come to the gateway and is neither answered by the broker nor refused to the device,
 *   it is not in the middle of a CONNECT,
 *   no packet of its own waits for which the broker has closed, nor does it leave so many PUBRECs unanswered as the broker takes
 *   of QoS 2, and
 *   the line stands: from CONNACK on, over all ends that the predicate makes and the pauses behind them. From any other end
 *   (a cut, an outage, a broker that is sick, a death of the gateway) until the next CONNACK, while the gateway stands still,
 *   and while nobody can tell that the broker is not sick (it ended for three different packets in a row, with nothing
 *   answered between, until the next answer) nothing is counted; the count goes on behind it.
 */
import type { GatewayEvent } from "../../src/core/event.ts";
import type { Change } from "../../src/core/record.ts";
import { publicationKey } from "../../src/core/state/packet-key.ts";
import type { Instant, Publication } from "../../src/core/types.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { exactlyOnceMaximum, type SeenPacket } from "./broker.ts";
import { clientAt } from "./sim-address.ts";
import { textOf } from "./texts.ts";
import { Violation } from "./violation.ts";

const usualSilenceMaxMs = 30_000;
/** So long the pauses of a broker that seems sick are felt. */
const sickSpellMs = 600_000;
/** Within this time a device notices that its connection is over. */
const noticedMs = 70_000;
/** Ends that the predicate has made of it, at least: some of its deaths may have been a cut, or the broker's sickness. */
const proofMin = 1;
/** Taken out of one kind before others of it may be refused. */
const takenToLearn = 2;
/** Until what the broker said has come to the gateway, and what that says has come to a device. */
/** A commit takes no longer. */
const commitMs = 500;
const onTheWayMs = 5_000;

/** A connection to the broker, and how long it has stood. */
class Line {
  standsSince: Instant | undefined;
  #before = 0;
  /** Packets that are sent and not answered, by packet id. */
  readonly outside = new Map<number, string>();
  /** When they were so many last that it may as well be the broker. */
  sickAt = Number.NEGATIVE_INFINITY;
  closedAt = Number.NEGATIVE_INFINITY;
  /** Different packets that it ended for in a row, with nothing answered between. */
  readonly row = new Set<string>();

  stood(now: Instant): number {
    return this.#before + (this.standsSince === undefined ? 0 : now - this.standsSince);
  }

  stop(now: Instant): void {
    this.#before = this.stood(now);
    this.standsSince = undefined;
  }
}

class Client {
  /** What waits for the broker's answer. */
  readonly waiting = new Set<string>();
  /** How long its line had stood when something of it was answered, or began to wait, last. */
  since = 0;
  /** By its MsgId, what it asked last under it. */
  readonly asked = new Map<number, string>();
  /** The broker has closed for these, for whatever reason, and they are neither answered nor taken out. */
  readonly poisons = new Set<string>();
  /** MsgIds of QoS 2 for which it has its PUBREC, and the gateway not its PUBREL. */
  readonly unreleased = new Set<number>();
  /** The last that it said of the kind was a CONNECT, and it is not answered. */
  connects = false;
}

/** Publications of one client, topic, QoS and retain. */
interface Kind {
  /** Taken out since one got through, and the shortest of them. */
  taken: number;
  shortest: number;
  /** Before that: an answer may have been on its way. */
  takenBefore: number;
  savedAt: Instant;
}

export class PoisonLaw {
  readonly #now: () => Instant;
  readonly #silenceMaxMs: number;
  /** By which MQTT connection a client's packets go. */
  readonly #lineOf: (clientId: string) => string;
  readonly #lines = new Map<string, Line>();
  readonly #clients = new Map<string, Client>();
  /** How often the broker has closed for it. */
  readonly #ends = new Map<string, number>();
  readonly #seen: SeenPacket[] = [];
  /** What the gateway of now has reported as taken out. */
  readonly #reports: { readonly text: string; readonly at: Instant }[] = [];
  readonly #published = new Map<string, { readonly clientId: string; readonly publication: Publication }>();
  readonly #kinds = new Map<string, Kind>();
  readonly #saved = new Set<string>();
  /** Payloads that were taken out, and told so to the device or in a dead letter. */
  readonly #out = new Set<string>();
  /** Copies of a payload that came to the gateway, and for how many it has reported that it took them out. */
  readonly #copies = new Map<string, { came: number; reported: number }>();
  readonly #letters = new Set<string>();
  readonly #acknowledged = new Set<string>();
  readonly #told = new Set<string>();
  /** Keys of suspects on disk. */
  readonly #suspects = new Set<string>();
  /** Lines that stood when the gateway stopped running. */
  #paused: Line[] = [];
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
    line.closedAt = this.#now();
    if (line.row.size >= differentMin) {
      line.stop(this.#now());
      line.sickAt = this.#now();
    }
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
    const kind = this.#kindOf(text);
    if (!kind) return;
    if (publication.payload.byteLength < kind.shortest) return;
    kind.takenBefore = Math.max(kind.taken, this.#now() - kind.savedAt < onTheWayMs ? kind.takenBefore : 0);
    kind.taken = 0;
    kind.savedAt = this.#now();
  }

  // ---------------------------------------------------------------- the line

  up(connection: string): void {
    const line = this.#line(connection);
    line.outside.clear();
    if (line.row.size < differentMin) this.#stands(line);
  }

  /** From now on it counts; while the gateway stands still, from when it goes on. */
  #stands(line: Line): void {
    if (!this.#isStill) line.standsSince ??= this.#now();
    else if (!this.#paused.includes(line)) this.#paused.push(line);
  }
  #isStill = false;

  /** It ended, and not for a packet of the predicate's. */
  broke(connection: string): void {
    // Where the gateway does not go on without the broker, an UNSUBSCRIBE has no answer: its device asks again.
    for (const [id, { waiting }] of this.#clients)
      if (this.#lineOf(id) === connection)
        for (const key of [...waiting]) if (key.startsWith("unsubscribe ")) waiting.delete(key);
    const line = this.#line(connection);
    line.stop(this.#now());
    this.#paused = this.#paused.filter((other) => other !== line);
  }

  /** The broker is away, for all. */
  away(): void {
    for (const connection of this.#lines.keys()) this.broke(connection);
  }

  stops(): void {
    this.#isStill = true;
    for (const line of this.#lines.values()) {
      if (line.standsSince === undefined) continue;
      line.stop(this.#now());
      this.#paused.push(line);
    }
  }

  goesOn(): void {
    this.#isStill = false;
    for (const line of this.#paused.splice(0)) line.standsSince ??= this.#now();
  }

  /** The gateway is dead: what it was asked and has not answered is asked again, or it is lost. */
  died(): void {
    this.#isStill = false;
    this.#paused = [];
    for (const line of this.#lines.values()) line.stop(this.#now());
    for (const client of this.#clients.values()) client.waiting.clear();
    // What it took out at the last moment may not stand on disk yet.
    for (const { text, at } of this.#reports) if (this.#now() - at < commitMs) this.#copiesOf(text).reported--;
    this.#reports.length = 0;
  }

  /** The gateway sends it now. */
  sends(connection: string, packetId: number, packet: Publication | string): void {
    if (packetId === 0) return;
    const { outside } = this.#line(connection);
    outside.set(packetId, typeof packet === "string" ? packet : this.#keyOnDisk(packet));
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
    this.#stands(line);
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
    if (change.of !== "suspect" || change.record?.retired !== undefined) return;
    if (!change.record) return this.#forget(change);
    const id = `${change.clientId} ${change.id}`;
    this.#keys.set(id, change.record.key);
    this.#suspects.add(change.record.key);
  }
  readonly #keys = new Map<string, string>();

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
    if (event.event !== "drop" || !unheard.has(event.reason)) return;
    const clientId = event.clientId ?? (event.peer && clientAt(event.peer));
    if (clientId !== undefined) this.#client(clientId).waiting.clear();
  }

  #isProved({ clientId, packet, topic, qos, bytes }: Extract<GatewayEvent, { event: "packet_taken_out" }>): void {
    const kind = packet === "will" ? "publish" : packet;
    this.takenOut.set(packet, (this.takenOut.get(packet) ?? 0) + 1);
    if (kind !== "publish") this.#isOver(`${kind} ${topic}`);
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
      all.findLast(({ text }) => !this.#out.has(text)) ?? all.find(({ text }) => this.#hasMoreCopies(text));
    if (proved) this.#copiesOf(proved.text).reported++;
    if (proved) this.#reports.push({ text: proved.text, at: this.#now() });
    if (proved && kind === "publish" && qos > 0) this.#takenOut(proved.text);
    const isProved = kind === "publish" && qos === 0 ? this.#seen.filter(isOfKind).length >= proofMin : proved;
    if (!isProved)
      throw new Violation(`a ${packet} for ${topic} at QoS ${qos} was taken out, and the broker never closed for it`);
  }

  /** More copies of it came than were taken out. */
  #hasMoreCopies(text: string): boolean {
    const { came, reported } = this.#copiesOf(text);
    return reported < came;
  }

  #copiesOf(text: string): { came: number; reported: number } {
    let copies = this.#copies.get(text);
    if (!copies) {
      copies = { came: 0, reported: 0 };
      this.#copies.set(text, copies);
    }
    return copies;
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
      this.#copiesOf(text).came++;
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
      for (const key of [...client.waiting]) if (!key.startsWith("publish ")) client.waiting.delete(key);
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
    const kind = this.#kindOf(text);
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
    const kind = this.#kindOf(text);
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
      if (this.#isPoisonous(text)) poisons.set(clientId, (poisons.get(clientId) ?? 0) + 1);
    }
    for (const text of missing) {
      const { clientId = "" } = this.#published.get(text) ?? {};
      const before = (poisons.get(clientId) ?? 0) + this.#client(clientId).poisons.size;
      if (!this.#isPoisonous(text) && before < triedOfOne)
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

  #isPoisonous(text: string): boolean {
    const publication = this.#published.get(text)?.publication;
    if (!publication) return false;
    const { topicName: topic, qos, retain, payload } = publication;
    const place = { connection: "", ordinal: 0, at: 0 };
    return this.#mayClose({ kind: "publish", topic, qos, retain, text, bytes: payload.byteLength, ...place });
  }

  // ---------------------------------------------------------------- silence

  /**
   * It asks for what the broker has closed for, when somebody else had asked; or waits behind that: requests for one filter go in
   * their order.
   */
  #waitsForPoison({ waiting }: Client): boolean {
    for (const key of waiting) {
      const [kind, filter] = key.split(" ");
      const before =
        kind === "subscribe" ? `unsubscribe ${filter}` : kind === "unsubscribe" ? `subscribe ${filter}` : key;
      if (this.#ends.has(key) || this.#ends.has(before)) return true;
    }
    return false;
  }

  everyStep(): void {
    for (const [clientId, client] of this.#clients) {
      if (client.waiting.size === 0 || client.connects) continue;
      const silentMs = this.#line(this.#lineOf(clientId)).stood(this.#now()) - client.since;
      if (silentMs <= this.longestSilenceMs || isItsOwnFault(client) || this.#waitsForPoison(client)) continue;
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

  #kindOf(text: string): Kind | undefined {
    const of = this.#published.get(text);
    if (!of) return undefined;
    const { topicName, qos, retain } = of.publication;
    const key = `${of.clientId} ${topicName} ${qos} ${retain}`;
    let kind = this.#kinds.get(key);
    if (!kind) {
      const shortest = Number.POSITIVE_INFINITY;
      kind = { taken: 0, shortest, takenBefore: 0, savedAt: Number.NEGATIVE_INFINITY };
      this.#kinds.set(key, kind);
    }
    return kind;
  }

  /** As it stands on disk, if it is a client's own; what is nobody's goes by its text. */
  #keyOnDisk(publication: Publication): string {
    const text = textOf(publication);
    const clientId = this.#published.get(text)?.clientId;
    return clientId === undefined ? text : publicationKey(clientId, publication);
  }

  #line(connection: string): Line {
    let line = this.#lines.get(connection);
    if (!line) {
      line = new Line();
      this.#lines.set(connection, line);
    }
    return line;
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

/** So many different packets in a row, and nobody can tell that it is not the broker. */
const differentMin = 3;

/** Of one client's line so many are tried where the broker seems sick. */
const triedOfOne = 8;

/** What the broker takes at QoS 2 is full of what it does not finish, or one of its own has to be tested. */
function isItsOwnFault({ poisons, unreleased }: Client): boolean {
  return poisons.size > 0 || unreleased.size >= exactlyOnceMaximum;
}

const notSupported = 3;

/** What a client said was not taken up, and it may say it again. */
const unheard: ReadonlySet<string> = new Set(["unknown-sender", "link-down", "too-many-pending", "backlog-full"]);

function keyOf({ kind, topic, text }: SeenPacket): string {
  return `${kind} ${kind === "publish" ? text : topic}`;
}

function textIn(key: string): string {
  return key.slice("publish ".length);
}
