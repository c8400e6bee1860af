/**
 * A broker, a line and clients in virtual time, around the search for packets for which a broker closes (suspects.ts), and
 * nothing else of the gateway: what the rule does is seen here in hours, in a second.
 */
import type { Pause } from "../../src/core/state/search-choice.ts";
import { Suspects } from "../../src/core/state/suspects.ts";
import type { Suspicion } from "../../src/core/state/suspicion.ts";
import { Rng } from "../simulation/rng.ts";

export interface TrialPacket {
  readonly client: number;
  readonly key: string;
  readonly isPoison: boolean;
  readonly bornAt: number;
  isOutside: boolean;
  suspicion: Suspicion<TrialPacket> | undefined;
}

/** The broker works, is away, closes after CONNACK, closes at each packet, or closes after so many packets of a connection. */
export type Health = "ok" | "down" | "closesAll" | "closesPackets" | number;

export interface Trial {
  readonly seed: number;
  readonly untilSeconds: number;
  readonly clients?: number;
  /** Messages per client and second. */
  readonly rate?: number;
  readonly roundTripSeconds?: number;
  /** How long a connection lasts, in seconds; undefined = for ever. */
  readonly cut?: (random: Rng) => number;
  /** Of the packets, with how many the line is cut. */
  readonly cutShare?: number;
  readonly health?: (seconds: number) => Health;
  /** Mean delay of an acknowledgement, exponentially distributed; 0 = at once. */
  readonly lateSeconds?: number;
  readonly poison?: readonly (readonly [client: number, atSeconds: number])[];
  /** Of client 0, before anything else; the first is a poison where `isHeadPoison`. */
  readonly backlog?: number;
  readonly isHeadPoison?: boolean;
}

const windowMax = 1_000;
const windowOfClient = 20;

export class TrialWorld {
  readonly #trial: Trial;
  readonly #random: Rng;
  readonly #suspects = new Suspects<TrialPacket>();
  readonly #agenda: { at: number; order: number; what: () => void }[] = [];
  #order = 0;
  #now = 0;
  readonly #lines = new Map<number, TrialPacket[]>();
  readonly #inFlight = new Map<number, number>();
  readonly #outside = new Set<TrialPacket>();
  #connection = 0;
  #isUp = false;
  #isDying = false;
  #arrived = 0;
  #failures = 0;
  #wakeAt: number | undefined;
  /** Taken out, and how long each lived. */
  readonly takenOut: { readonly packet: TrialPacket; readonly seconds: number }[] = [];
  ends = 0;
  /** When something of each client was answered, in seconds. */
  readonly answers: { readonly client: number; readonly at: number }[] = [];

  constructor(trial: Trial) {
    this.#trial = trial;
    this.#random = new Rng(trial.seed);
    const { clients = 20, rate = 1, poison = [], backlog = 0 } = trial;
    for (const [client, at] of poison) this.#in(at * 1_000, () => this.#publish(client, true));
    for (let client = 0; client < clients && rate > 0; client++)
      this.#in((this.#random.next() / rate) * 1_000, () => this.#tick(client, rate));
    for (let i = 0; i < backlog; i++) this.#add(0, i === 0 && trial.isHeadPoison === true);
    this.#in(0, () => this.#connect());
  }

  run(): this {
    const until = this.#trial.untilSeconds * 1_000;
    for (let next = this.#takeFirst(); next && next.at < until; next = this.#takeFirst()) {
      this.#now = next.at;
      next.what();
    }
    return this;
  }

  get goodTakenOut(): number {
    return this.takenOut.filter(({ packet }) => !packet.isPoison).length;
  }

  get poisonTakenOut(): number {
    return this.takenOut.length - this.goodTakenOut;
  }

  get slowest(): number {
    return Math.max(0, ...this.takenOut.map(({ seconds }) => seconds));
  }

  get waiting(): number {
    let sum = 0;
    for (const line of this.#lines.values()) sum += line.length;
    return sum;
  }

  /** The longest time without an answer to anybody but `but`, from `fromSeconds` on. */
  silence(fromSeconds: number, but: readonly number[]): number {
    const times = this.answers
      .filter(({ client, at }) => !but.includes(client) && at >= fromSeconds)
      .map(({ at }) => at);
    const all = [fromSeconds, ...times, this.#trial.untilSeconds];
    return Math.max(...all.slice(1).map((at, i) => at - (all[i] ?? 0)));
  }

  #in(ms: number, what: () => void): void {
    const entry = { at: this.#now + ms, order: this.#order++, what };
    const agenda = this.#agenda;
    let i = agenda.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = agenda[parent];
      if (!above || !isBefore(entry, above)) break;
      agenda[i] = above;
      i = parent;
    }
    agenda[i] = entry;
  }

  #takeFirst() {
    const agenda = this.#agenda;
    const first = agenda[0];
    const last = agenda.pop();
    if (!first || !last || agenda.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      const left = agenda[child];
      const right = agenda[child + 1];
      if (!left) break;
      if (right && isBefore(right, left)) child++;
      const least = agenda[child];
      if (!least || !isBefore(least, last)) break;
      agenda[i] = least;
      i = child;
    }
    agenda[i] = last;
    return first;
  }

  #tick(client: number, rate: number): void {
    this.#publish(client, false);
    this.#in((-Math.log(1 - this.#random.next()) / rate) * 1_000, () => this.#tick(client, rate));
  }

  #publish(client: number, isPoison: boolean): void {
    this.#add(client, isPoison);
    this.#send();
  }

  #add(client: number, isPoison: boolean): void {
    const key = `${client}/${this.#order++}`;
    const packet: TrialPacket = {
      client,
      key,
      isPoison,
      bornAt: this.#now,
      isOutside: false,
      suspicion: undefined,
    };
    const line = this.#lines.get(client);
    if (line) line.push(packet);
    else this.#lines.set(client, [packet]);
  }

  #take(packet: TrialPacket): void {
    const line = this.#lines.get(packet.client) ?? [];
    line.splice(line.indexOf(packet), 1);
    if (line.length === 0) this.#lines.delete(packet.client);
  }

  get #health(): Health {
    return this.#trial.health?.(this.#now / 1_000) ?? "ok";
  }

  get #roundTripMs(): number {
    return (this.#trial.roundTripSeconds ?? 0.05) * 1_000;
  }

  #connect(): void {
    if (this.#health === "down") return this.#in(this.#roundTripMs, () => this.#retry("next"));
    const connection = ++this.#connection;
    this.#in(2 * this.#roundTripMs, () => this.#accepted(connection));
  }

  #retry(pause: Pause): void {
    if (pause === "first") this.#failures = 0;
    const longest = pause === "bounded" ? 15 : 60;
    const seconds = pause === "least" ? 1 : Math.min(longest, 2 ** this.#failures);
    if (pause !== "least") this.#failures = Math.min(30, this.#failures + 1);
    this.#in(seconds * 1_000 * (0.5 + this.#random.next() / 2), () => this.#connect());
  }

  #accepted(connection: number): void {
    if (connection !== this.#connection) return;
    if (this.#health === "down") return this.#retry("next");
    this.#isUp = true;
    this.#isDying = false;
    this.#arrived = 0;
    this.#suspects.connected(this.#now);
    if (this.#health === "closesAll") this.#in(this.#roundTripMs / 2, () => this.#end(connection));
    const { cut } = this.#trial;
    if (cut) this.#in(cut(this.#random) * 1_000, () => this.#end(connection));
    this.#send();
  }

  #end(connection: number): void {
    if (connection !== this.#connection || !this.#isUp) return;
    this.ends++;
    this.#isUp = false;
    this.#connection++;
    const end = { blames: true, named: false, showedLife: false };
    const { takenOut, pause } = this.#suspects.ended(this.#now, [...this.#outside], end, ({ key, client }) => ({
      key,
      client: String(client),
    }));
    for (const packet of this.#outside) packet.isOutside = false;
    this.#outside.clear();
    this.#inFlight.clear();
    for (const packet of takenOut?.packets ?? []) {
      this.takenOut.push({ packet, seconds: (this.#now - packet.bornAt) / 1_000 });
      this.#take(packet);
    }
    if (takenOut) this.#suspects.forget(takenOut.key);
    this.#retry(pause);
  }

  #send(): void {
    if (!this.#isUp || this.#isDying) return;
    if (this.#suspects.isOn && !this.#maySend()) return;
    const turns = [...this.#lines.keys()];
    for (let idle = 0; this.#outside.size < windowMax && idle < turns.length; ) {
      const client = turns.shift();
      if (client === undefined) return;
      turns.push(client);
      const line = this.#lines.get(client) ?? [];
      const open = this.#inFlight.get(client) ?? 0;
      const next = line[open];
      if (open >= windowOfClient || !next || next.suspicion?.isSuspect) idle++;
      else {
        this.#put(next);
        idle = 0;
      }
    }
  }

  /** Asks the search; true: what is no suspect may go. */
  #maySend(): boolean {
    const choice = this.#suspects.choose(this.#now, {
      outside: this.#outside.size,
      fit: (packets) => packets.slice(0, windowMax - this.#outside.size),
      hasOthers: this.#waitingLines().some(([next]) => next?.suspicion?.isSuspect !== true),
      held: () => this.#waitingLines().filter(([next]) => next?.suspicion?.isSuspect),
      lines: () => this.#waitingLines(),
      heads: () => this.#waitingLines().flatMap((line) => line.slice(0, 1)),
      inTurn: (turn, each) => {
        const lines = this.#waitingLines();
        const line = lines[turn % lines.length] ?? [];
        return line[((turn % lines.length) + Math.floor(turn / lines.length)) % Math.min(line.length, each)];
      },
    });
    if (choice.kind === "ping") {
      const connection = this.#connection;
      this.#in(this.#roundTripMs, () => {
        if (connection !== this.#connection || !this.#isUp) return;
        this.#suspects.showsLife();
        this.#send();
      });
      return false;
    }
    if (choice.kind === "test") {
      for (const packet of choice.packets) this.#put(packet);
      return false;
    }
    if (choice.until === this.#now) return this.#maySend();
    if (choice.until !== undefined) this.#wake(choice.until);
    return choice.kind === "flow";
  }

  #wake(at: number): void {
    if (this.#wakeAt !== undefined && this.#wakeAt > this.#now && this.#wakeAt <= at) return;
    this.#wakeAt = at;
    this.#in(at - this.#now, () => this.#send());
  }

  #waitingLines(): TrialPacket[][] {
    const lines: TrialPacket[][] = [];
    for (const line of this.#lines.values()) {
      const open = line[0]?.isOutside ? line.findIndex(({ isOutside }) => !isOutside) : 0;
      if (open >= 0) lines.push(open === 0 ? line : line.slice(open));
    }
    return lines;
  }

  #put(packet: TrialPacket): void {
    packet.isOutside = true;
    this.#outside.add(packet);
    this.#inFlight.set(packet.client, (this.#inFlight.get(packet.client) ?? 0) + 1);
    this.#suspects.noteSent();
    const connection = this.#connection;
    this.#in(this.#roundTripMs / 2, () => this.#arrive(connection, packet));
  }

  #arrive(connection: number, packet: TrialPacket): void {
    if (connection !== this.#connection || !this.#isUp || this.#isDying) return;
    const health = this.#health;
    this.#arrived++;
    const closes =
      health === "closesPackets" || health === "down" || (typeof health === "number" && this.#arrived >= health);
    const { cutShare = 0 } = this.#trial;
    if (packet.isPoison || closes || (cutShare > 0 && this.#random.chance(cutShare))) {
      this.#isDying = true;
      return this.#in(this.#roundTripMs / 2, () => this.#end(connection));
    }
    const { lateSeconds = 0 } = this.#trial;
    const late = lateSeconds > 0 ? -Math.log(1 - this.#random.next()) * lateSeconds * 1_000 : 0;
    this.#in(this.#roundTripMs / 2 + late, () => this.#answer(connection, packet));
  }

  #answer(connection: number, packet: TrialPacket): void {
    if (connection !== this.#connection || !this.#isUp || !this.#outside.has(packet)) return;
    if (this.#isDying && this.#random.next() < 0.5) return;
    packet.isOutside = false;
    this.#outside.delete(packet);
    this.#inFlight.set(packet.client, (this.#inFlight.get(packet.client) ?? 1) - 1);
    this.#take(packet);
    this.#suspects.noteAnswered(packet, this.#now);
    this.#suspects.noteAnsweredOf(String(packet.client));
    this.answers.push({ client: packet.client, at: this.#now / 1_000 });
    this.#send();
  }
}

function isBefore(a: { at: number; order: number }, b: { at: number; order: number }): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
