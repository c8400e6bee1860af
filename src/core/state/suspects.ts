/**
 * Finds the packet for which the broker closes the connection. A broker of MQTT 3.1.1 has no other way to refuse a packet.
 *
 * The first unanswered packet need not be the cause: acknowledgements are late, networks are cut, brokers are overloaded. The proof is that
 * a packet dies alone, again and again, while between its deaths other packets are answered that had come as far.
 *
 * Terms. A *packet* is a PUBLISH, SUBSCRIBE or UNSUBSCRIBE. It is *outside* when it was sent on the present connection and is not answered.
 * An *end* is made by the broker: an end that the network or the gateway made blames no packet. A *death* is an end at which exactly one
 * packet was outside, on a connection that had answered something. A *witness* is another packet that was answered after the last death, on
 * a connection on which as many had been sent before. Without this condition, a broker that closes after every n packets would convict the
 * packet that is tried second.
 *
 * Each connection has one such object. It does no I/O and holds no packets: the caller shows it those that wait (`Waiting`). While there is
 * no suspect it costs two additions for each packet.
 */
import { SmallMap } from "../small-map.ts";
import type { Instant } from "../types.ts";
import { DeadGroups } from "./dead-groups.ts";
import { EndRate } from "./end-rate.ts";
import type { Choice, EndOfConnection, Pause } from "./search-choice.ts";
import { searchFigures as figures } from "./search-figures.ts";
import {
  behindOthers,
  diedBehindOthers,
  hasDied,
  leastStruck,
  nextScout,
  untried,
  untriedFirst,
  walk,
} from "./search-order.ts";
import { blindWait, earliest, grown } from "./search-times.ts";
import { type Identity, type Searched, type Suspicion, Suspicions } from "./suspicion.ts";
import { candidates, type Waiting } from "./waiting.ts";

const nothing = { kind: "flow", until: undefined } as const;
const nobody: readonly never[] = [];

export class Suspects<Packet extends Searched<Packet>> {
  readonly #suspicions = new Suspicions<Packet>();
  /** The broker counts as faulty (sick), and all packets are tried one by one. */
  #isSick = false;
  /** Different packets that died since the last answer. */
  #dying: readonly Suspicion<Packet>[] = [];
  /** The turn of the clients: with a sick broker, and to send a scout. */
  #sickTurn = 0;
  #scoutTurn = 0;
  /**
   * The packets that have died alone and were not answered since, also while the broker counted as sick. This is no
   * evidence. If possible, the next packet to be tried is another one.
   */
  readonly #died = new WeakSet<Packet>();
  /**
   * For each packet: the number of ends at which it was outside. A few ends before the broker counted as sick are
   * included, and all since.
   */
  readonly #endsOf = new WeakMap<Packet, number>();
  /** How often a packet that had died before was tried, since the broker counts as sick. */
  #sickTries = 0;
  /** While the broker counts as sick: how long earlier connections lasted since the last packet was tried. */
  #leftAloneMs = 0;
  /** When another different packet died last. */
  #dyingSince: Instant = 0;
  /** The number of ends since the last answer. */
  #quick = 0;
  /** The number of tests that died since a packet was taken out. */
  #rounds = 0;
  #testing: Packet[] | undefined;
  readonly #groups = new DeadGroups<Suspicion<Packet>>();
  #testSince: Instant = 0;
  #testAt: Instant = 0;
  #isUp = false;
  /** The start of the present connection, or of the last one. */
  #upSince: Instant = 0;
  #isAlive = false;
  #isPinged = false;
  /** Packets that were sent and answered on this connection. */
  #sent = 0;
  #answered = 0;
  /** The rate of ends while no suspect is tried. */
  readonly #rate = new EndRate<Suspicion<Packet>>();
  #mark: Instant = 0;
  /** Clients that had a packet taken out without a witness, and no packet answered since. */
  readonly #spent = new SmallMap<string, true>();

  /** Whether there is a search. Then only packets that `choose` returns are sent. */
  get isOn(): boolean {
    return this.#suspicions.active > 0 || this.#isSick;
  }

  /** Whether anything is remembered that may apply to a new packet. */
  get remembers(): boolean {
    return this.#suspicions.size > 0;
  }

  /** Whether nothing is remembered, and nothing has to be stored or removed. */
  get isForgetful(): boolean {
    return this.#suspicions.size === 0 && !this.#suspicions.hasChanged && !this.#isSick;
  }

  get isSick(): boolean {
    return this.#isSick;
  }

  /** Suspects, with or without packets in flight. */
  get suspects(): readonly Suspicion<Packet>[] {
    return this.#suspicions.suspects;
  }

  find(key: string): Suspicion<Packet> | undefined {
    return this.#suspicions.find(key);
  }

  /** Records that must be stored, or removed (no deaths), since the last call. */
  takeChanged(): readonly Suspicion<Packet>[] {
    return this.#suspicions.takeChanged();
  }

  /** A packet with remembered content is in flight. */
  attach(packet: Packet, key: string): void {
    const suspicion = this.#suspicions.find(key);
    if (suspicion) this.#suspicions.bind(packet, suspicion);
  }

  /** These are all packets in flight with the content of a packet that died, in order. */
  attachAll(packets: readonly Packet[], suspicion: Suspicion<Packet>): void {
    this.#suspicions.bindAll(packets, suspicion);
  }

  /** Adds a suspect of an earlier run, or one of a kind that was taken out before. */
  suspect(init: {
    key: string;
    client: string;
    deaths?: number;
    epochs?: number;
    ordinal?: number;
    firstDeath?: Instant;
    ofKnownKind?: boolean;
    isKind?: boolean;
  }): void {
    const {
      key,
      client,
      isKind = false,
      deaths = 0,
      epochs = 0,
      ordinal = 0,
      firstDeath = 0,
      ofKnownKind = false,
    } = init;
    const known = this.#suspicions.find(key);
    const suspicion = known ?? this.#suspicions.remember({ key, client, isKind });
    if (!suspicion) return;
    suspicion.ofKnownKind ||= ofKnownKind;
    // A suspicion that exists here already is kept, unless the new one has deaths.
    if (!known || deaths > 0) {
      Object.assign(suspicion, { deaths, epochs, ordinal, firstDeath, undoubted: deaths, undoubtedSince: firstDeath });
      suspicion.witnessed = deaths === 0;
    }
    this.#suspicions.setSuspect(suspicion, true);
  }

  /** The packet has ended without an answer. */
  detach(packet: Packet): void {
    const { suspicion } = packet;
    if (suspicion) this.#suspicions.unbind(packet, suspicion);
    if (!this.#testing?.includes(packet)) return;
    this.#testing = this.#testing.filter((other) => other !== packet);
    if (this.#testing.length === 0) this.#testing = undefined;
  }

  /** No packet is in flight any more. The suspicions stay. */
  detachAll(): void {
    for (const suspicion of [...this.#suspicions.all()])
      for (const packet of [...suspicion.packets]) this.detach(packet);
  }

  /** The content with this key will not be sent to the broker any more. */
  forget(key: string): void {
    const suspicion = this.#suspicions.find(key);
    if (suspicion) this.#suspicions.clear(suspicion);
  }

  /** The broker accepted a connection. */
  connected(now: Instant): void {
    this.#isUp = true;
    this.#upSince = now;
    this.#mark = now;
    this.#sent = 0;
    this.#answered = 0;
    this.#isAlive = false;
    this.#isPinged = false;
    this.#testing = undefined;
    this.#testAt = this.#rounds === 0 ? now : now + grown(figures.testFirstMs, this.#rounds - 1, figures.testMaxMs);
  }

  /** The broker answered PINGREQ, so it is alive. */
  showsLife(): void {
    this.#isAlive = true;
  }

  /** A packet was sent. */
  noteSent(): void {
    this.#sent++;
    if (!this.#testing) this.#rate.noteSent();
  }

  /** A packet was answered, with any code. */
  noteAnswered(packet: Packet, now: Instant): void {
    this.#answered++;
    this.#isAlive = true;
    this.#quick = 0;
    if (this.#suspicions.size > 0 || this.#isSick || this.#spent.size > 0) this.#learn(packet, now);
  }

  #learn(packet: Packet, now: Instant): void {
    this.#died.delete(packet);
    this.#dying = nobody;
    this.#isSick = false;
    const { suspicion } = packet;
    if (suspicion) {
      this.#groups.acquitted(suspicion);
      this.#suspicions.clear(suspicion);
    }
    for (const other of this.#suspicions.all()) {
      if (other.deaths > 0 && this.#answered >= other.ordinal) other.witnessed = true;
    }
    if (!this.#testing?.includes(packet)) return;
    this.#testing = this.#testing.filter((other) => other !== packet);
    if (this.#testing.length > 0) return;
    this.#endTest(now);
    this.#testAt = now + figures.afterPassMs;
  }

  /** A packet of this client was answered. */
  noteAnsweredOf(client: string): void {
    if (this.#spent.size > 0) this.#spent.delete(client);
  }

  /**
   * The connection has ended. `outside`: the packets outside, in the order in which they were sent. `identify` gives
   * the identity of a packet that is not known yet. Returns what is to be taken out, and the pause.
   */
  ended(
    now: Instant,
    outside: readonly Packet[],
    end: EndOfConnection,
    identify: (packet: Packet) => Identity,
  ): { readonly takenOut: Suspicion<Packet> | undefined; readonly pause: Pause } {
    this.#account(now);
    const stoodMs = this.#isUp ? now - this.#upSince : 0;
    if (this.#isSick && this.#isUp && !this.#testing)
      this.#leftAloneMs += now - Math.max(this.#upSince, this.#testSince);
    const hadNothing = outside.length === 0 && (end.showedLife || stoodMs >= figures.usefulMs);
    const isUseful = this.#answered > 0 || hadNothing || (!this.#isSick && stoodMs >= figures.restMs);
    const wasAlive = this.#isAlive;
    const testing = this.#testing;
    this.#isUp = false;
    this.#isAlive = false;
    this.#testing = undefined;
    if (!end.blames) return { takenOut: undefined, pause: isUseful ? "first" : "next" };
    this.#quick++;
    for (const packet of outside) this.#noteEnd(packet);
    const isQuick = outside.length > 0 && wasAlive && this.#quick <= figures.quickEnds;
    const takenOut = testing
      ? this.#testDied(now, testing, outside, end, identify)
      : this.#endedInFlow(now, outside, identify);
    if (isUseful) return { takenOut, pause: "first" };
    if (isQuick) return { takenOut, pause: "least" };
    const isSearch = outside.length > 0 && wasAlive && this.#suspicions.active > 0;
    return { takenOut, pause: isSearch ? "bounded" : "next" };
  }

  /**
   * Counts an end at which a packet was outside. If others were outside too, an end tells little about each of them. So
   * only a few such ends count, and no packet waits for hours before it is tried.
   */
  #noteEnd(packet: Packet): void {
    const ends = (this.#endsOf.get(packet) ?? 0) + 1;
    this.#endsOf.set(packet, this.#isSick ? ends : Math.min(ends, figures.endsCounted));
  }

  #endedInFlow(now: Instant, outside: readonly Packet[], identify: (packet: Packet) => Identity): undefined {
    const there = new Set<Suspicion<Packet>>();
    const isSearch = this.#suspicions.active > 0;
    for (const packet of outside) {
      const suspicion = packet.suspicion ?? this.#identified(packet, identify);
      if (!suspicion) continue;
      there.add(suspicion);
      suspicion.ends++;
      if (suspicion.ends >= figures.endsToSuspect) {
        suspicion.nextTry = Math.min(suspicion.nextTry, now);
        this.#suspicions.setSuspect(suspicion, true);
      }
    }
    if (isSearch) this.#groups.died(there);
    this.#rate.noteEnd(there);
    if (![...this.#suspicions.all()].some(({ deaths }) => deaths > 0)) this.#rounds = 0;
    return undefined;
  }

  #testDied(
    now: Instant,
    testing: readonly Packet[],
    outside: readonly Packet[],
    end: EndOfConnection,
    identify: (packet: Packet) => Identity,
  ): Suspicion<Packet> | undefined {
    this.#rounds++;
    const group = testing.filter((packet) => outside.includes(packet));
    const [only] = group;
    if (only && group.length === 1) this.#died.add(only);
    if (this.#isSick) {
      this.#sickTurn++; // no packet is the cause while no packet is answered
      return undefined;
    }
    if (only && group.length === 1 && outside.length === 1) {
      const suspicion = only.suspicion ?? this.#identified(only, identify);
      return suspicion && this.#strike(now, suspicion, end);
    }
    if (!only) return undefined;
    this.#groups.died(new Set(group.flatMap(({ suspicion }) => suspicion ?? [])));
    for (const other of this.#suspicions.all()) {
      if (other.deaths === 0 && !this.#groups.has(other)) this.#suspicions.setSuspect(other, false);
    }
    return undefined;
  }

  /** The packet was alone outside, and the broker ended the connection. Returns the suspicion if it is proved now. */
  #strike(now: Instant, suspicion: Suspicion<Packet>, end: EndOfConnection): Suspicion<Packet> | undefined {
    this.#groups.explained(suspicion);
    suspicion.exposureMs += now - this.#testSince;
    suspicion.timed++;
    if (suspicion.deaths++ === 0) suspicion.firstDeath = now;
    if (suspicion.witnessed) suspicion.epochs++;
    suspicion.unwitnessed = suspicion.witnessed ? 0 : suspicion.unwitnessed + 1;
    suspicion.witnessed = false;
    suspicion.ordinal = this.#sent;
    suspicion.named ||= end.named;
    if (!end.isDoubtful && suspicion.undoubted++ === 0) suspicion.undoubtedSince = now;
    this.#suspicions.setSuspect(suspicion, true);
    this.#suspicions.noteChanged(suspicion);
    if (!this.#dying.includes(suspicion)) {
      this.#dying = [...this.#dying, suspicion];
      this.#dyingSince = now;
    }
    if (this.#isBroker()) {
      this.#becomeSick();
      return undefined;
    }
    suspicion.nextTry = now + grown(figures.waitFirstMs, suspicion.epochs - 1, figures.waitMaxMs);
    suspicion.nextBlindTry = now + blindWait(suspicion);
    if (!this.#isProof(now, suspicion)) return undefined;
    this.#rounds = 0;
    this.#rate.explain(suspicion);
    return suspicion;
  }

  #isProof(now: Instant, suspicion: Suspicion<Packet>): boolean {
    if (this.#rate.chanceOf(suspicion) >= figures.chanceMax) return false;
    const { deaths, epochs, named, firstDeath, undoubted, undoubtedSince, client } = suspicion;
    if (epochs >= (named ? figures.epochsWhereNamed : figures.epochsToTakeOut)) return true;
    if (this.#dying.length >= figures.differentDeaths) return false;
    // The packet must have been the first one on its connection, because a broker that closes after every n packets
    // cannot be excluded otherwise.
    const isUndoubted = undoubted >= figures.unwitnessedDeaths && now - undoubtedSince >= figures.unwitnessedSpanMs;
    const isLong = deaths >= figures.unwitnessedDeaths && now - firstDeath >= figures.unwitnessedInDoubtSpanMs;
    if (suspicion.ordinal !== 1 || !(isUndoubted || isLong) || this.#spent.has(client)) return false;
    this.#spent.set(client, true);
    return true;
  }

  /** Whether so many different packets died, without any answer, that the broker is the cause. */
  #isBroker(): boolean {
    const dying = this.#dying.length;
    if (dying < figures.differentDeaths) return false;
    const [first] = this.#dying;
    return dying >= figures.differentDeathsOfOne || this.#dying.some(({ client }) => client !== first?.client);
  }

  /** Every packet that is sent dies. All counts are reset, and there are no suspects any more. */
  #becomeSick(): void {
    for (const suspicion of [...this.#suspicions.all()]) this.#suspicions.clear(suspicion);
    this.#groups.clear();
    this.#dying = nobody;
    this.#sickTries = 0;
    this.#isSick = true;
  }

  /** Chooses what may be sent now. Called while the connection is up and `isOn`. */
  choose(now: Instant, waiting: Waiting<Packet>): Choice<Packet> {
    if (!this.#isUp) return { kind: "hold", until: undefined };
    if (!this.#isAlive) {
      if (this.#isPinged) return { kind: "hold", until: undefined };
      this.#isPinged = true;
      return { kind: "ping" };
    }
    if (this.#testing) return { kind: "hold", until: undefined };
    if (this.#isSick) return this.#nextOfSick(now, waiting);
    if (this.#suspicions.active === 0) return nothing;
    return this.#nextTest(now, waiting);
  }

  #nextOfSick(now: Instant, waiting: Waiting<Packet>): Choice<Packet> {
    if (waiting.outside > 0) return { kind: "hold", until: undefined };
    const fresh = untried(waiting, this.#sickTurn, this.#died);
    if (fresh) return this.#test(now, [fresh]);
    if (!waiting.inTurn(this.#sickTurn, figures.walkMax)) return nothing;
    const holdMs = grown(figures.sickHoldFirstMs, this.#sickTries, figures.sickHoldMs);
    const heldUntil = this.#upSince + holdMs - this.#leftAloneMs;
    if (now < heldUntil) return { kind: "hold", until: heldUntil };
    const packet = leastStruck(waiting, this.#sickTurn, this.#endsOf);
    if (packet) this.#sickTries++;
    return packet ? this.#test(now, [packet]) : { kind: "hold", until: undefined };
  }

  #nextTest(now: Instant, waiting: Waiting<Packet>): Choice<Packet> {
    if (this.#quick >= figures.endsBeforeScout) {
      const scout = nextScout(waiting, () => this.#scoutTurn++, this.#sickTurn, this.#died);
      if (scout && waiting.outside > 0) return { kind: "hold", until: undefined };
      if (scout) return this.#test(now, [scout]);
    }
    const first = this.#sent === 0 && this.suspects.some(diedBehindOthers) ? behindOthers(waiting) : undefined;
    if (first) return this.#test(now, [first]);
    const hasOthers = waiting.hasOthers || waiting.outside > 0;
    const { fresh, struck } = candidates(waiting);
    const isAlone = !hasOthers && fresh.length === 0;
    // Each line begins with a suspect. Before a third one dies and the broker counts as sick, a packet further behind
    // is tried.
    const isAllHeld = !hasOthers && this.#dying.length === figures.differentDeaths - 1;
    const dueStruck = struck.filter(({ witnessed, nextTry, nextBlindTry }) =>
      witnessed ? nextTry <= now : isAlone && nextBlindTry <= now,
    );
    const isWalk = isAllHeld || (isAlone && !struck.some(({ witnessed }) => witnessed));
    const walker = isWalk ? walk(struck, waiting, isAllHeld ? 1 : figures.deathsBeforeWalk, this.#died) : undefined;
    const dueFresh = untriedFirst(
      fresh.filter(({ nextTry }) => nextTry <= now),
      this.#died,
    );
    if (!dueStruck[0] && dueFresh.length === 0 && !walker) {
      const times = struck.map(({ witnessed, nextTry, nextBlindTry }) => (witnessed ? nextTry : nextBlindTry));
      return { kind: "flow", until: earliest([...times, ...fresh.map(({ nextTry }) => nextTry)], now) };
    }
    if (dueStruck[0] && !dueStruck[0].witnessed && !walker && this.#dying.length >= figures.differentDeaths) {
      this.#becomeSick(); // all packets of the client were tried, and died
      return { kind: "hold", until: now };
    }
    if (now < this.#testAt && hasOthers) return { kind: "flow", until: this.#testAt };
    // One more death would make the broker count as sick, and delete what was learnt. Another client may connect and
    // send the witness.
    const waitsUntil = this.#dyingSince + figures.witnessAwaitedMs;
    const next = dueStruck[0] ?? dueFresh[0];
    const isThird = next !== undefined && !this.#dying.includes(next) && hasDied(next, this.#died);
    if (isAllHeld && !walker && isThird && now < waitsUntil) return { kind: "flow", until: waitsUntil };
    if (waiting.outside > 0) return { kind: "hold", until: undefined };
    if (walker) return this.#test(now, [walker]);
    if (dueStruck[0]) return this.#test(now, dueStruck[0].packets.slice(0, 1));
    const among = this.#groups.ofOneGroup(dueFresh);
    const size = this.#rounds === 0 ? 1 : Math.ceil(among.length / 2);
    return this.#test(now, waiting.fit(among.slice(0, size).flatMap(({ packets }) => packets.slice(0, 1))));
  }

  #test(now: Instant, packets: readonly Packet[]): Choice<Packet> {
    this.#account(now);
    this.#leftAloneMs = 0;
    this.#testing = [...packets];
    this.#testSince = now;
    return { kind: "test", packets };
  }

  #endTest(now: Instant): void {
    this.#testing = undefined;
    this.#mark = now;
  }

  /** Time in which no suspect is outside counts for the rate of ends. */
  #account(now: Instant): void {
    if (this.#isUp && !this.#testing) this.#rate.noteTime(now - this.#mark);
    this.#mark = now;
  }

  #identified(packet: Packet, identify: (packet: Packet) => Identity): Suspicion<Packet> | undefined {
    const identity = identify(packet);
    const suspicion = this.#suspicions.find(identity.key) ?? this.#suspicions.remember(identity);
    if (suspicion) this.#suspicions.bind(packet, suspicion);
    return suspicion;
  }
}
