/** Clients with packets, and a connection to a broker that does what the test says, for the tests of core/state/suspects.ts. */
import type { Choice, EndOfConnection } from "../../src/core/state/search-choice.ts";
import { Suspects } from "../../src/core/state/suspects.ts";
import type { Suspicion } from "../../src/core/state/suspicion.ts";

export interface Packet {
  readonly name: string;
  readonly client: string;
  suspicion: Suspicion<Packet> | undefined;
}

export const byPeer: EndOfConnection = { blames: true, named: false, showedLife: true };
export const cut: EndOfConnection = { ...byPeer, blames: false };
export const named: EndOfConnection = { ...byPeer, named: true };

/** Lines of clients, and the connection to a broker that does as the test says. */
export class SuspectsBench {
  readonly suspects = new Suspects<Packet>();
  readonly lines = new Map<string, Packet[]>();
  outside: Packet[] = [];
  now = 0;
  /** What the end of the connection said last. */
  end: { takenOut: string | undefined; pause: string } = { takenOut: undefined, pause: "" };

  constructor(cleanSeconds = 10_000) {
    this.suspects.connected(0); // a line that stood for long: chance is excluded soon
    this.now = cleanSeconds * 1_000;
    this.suspects.ended(this.now, [], cut, () => ({ key: "", client: "" }));
  }

  add(...names: string[]): void {
    for (const name of names) {
      const client = name.slice(0, 1);
      const packet: Packet = { name, client, suspicion: undefined };
      this.suspects.attach(packet, name);
      this.lines.set(client, [...(this.lines.get(client) ?? []), packet]);
    }
  }

  up(afterMs = 1_000): void {
    this.now += afterMs;
    this.suspects.connected(this.now);
  }

  /** Connected, and what may go goes. */
  upAndSend(afterMs?: number): string {
    this.up(afterMs);
    return this.send();
  }

  /** Sends what may go; answers the kind of choice, or the names of what is tested. */
  send(): string {
    if (!this.suspects.isOn) return this.#flow();
    let choice = this.choose();
    if (choice.kind === "ping") {
      this.suspects.showsLife();
      choice = this.choose();
    }
    if (choice.kind === "flow") return this.#flow();
    if (choice.kind === "hold" || choice.kind === "ping") return choice.kind;
    for (const packet of choice.packets) this.#put(packet);
    return `test ${choice.packets.map(({ name }) => name).join(" ")}`;
  }

  choose(): Choice<Packet> {
    const lines = () => [...this.lines.values()].map((line) => line.filter((packet) => !this.outside.includes(packet)));
    const waiting = () => lines().filter((line) => line.length > 0);
    return this.suspects.choose(this.now, {
      outside: this.outside.length,
      fit: (packets) => packets,
      hasOthers: waiting().some(([next]) => !next?.suspicion?.isSuspect),
      held: () => waiting().filter(([next]) => next?.suspicion?.isSuspect),
      lines: waiting,
      heads: () => waiting().flatMap((line) => line.slice(0, 1)),
      inTurn: (turn, each) => {
        const line = waiting()[turn % waiting().length] ?? [];
        return line[Math.floor(turn / waiting().length) % Math.min(line.length, each)];
      },
    });
  }

  #flow(): string {
    const sent: string[] = [];
    for (const line of this.lines.values()) {
      for (const packet of line.filter((each) => !this.outside.includes(each))) {
        if (packet.suspicion?.isSuspect) break;
        this.#put(packet);
        sent.push(packet.name);
      }
    }
    return sent.length > 0 ? `flow ${sent.join(" ")}` : "flow";
  }

  #put(packet: Packet): void {
    this.outside.push(packet);
    this.suspects.noteSent();
  }

  answer(...names: string[]): void {
    for (const name of names) {
      const packet = this.outside.find((each) => each.name === name);
      if (!packet) throw new Error(`${name} is not outside`);
      this.outside.splice(this.outside.indexOf(packet), 1);
      this.#take(packet);
      this.suspects.noteAnswered(packet, this.now);
      this.suspects.noteAnsweredOf(packet.client);
    }
  }

  #take(packet: Packet): void {
    const rest = (this.lines.get(packet.client) ?? []).filter((each) => each !== packet);
    if (rest.length > 0) this.lines.set(packet.client, rest);
    else this.lines.delete(packet.client);
  }

  down(end = byPeer, afterMs = 50): void {
    this.now += afterMs;
    const identify = ({ name, client }: Packet) => ({ key: name, client });
    const { takenOut, pause } = this.suspects.ended(this.now, this.outside, end, identify);
    this.outside = [];
    for (const packet of takenOut ? [...takenOut.packets] : []) this.#take(packet);
    if (takenOut) this.suspects.forget(takenOut.key);
    this.end = { takenOut: takenOut?.key, pause };
  }

  /** Two ends at which all that waits is outside. */
  suspectAll(): void {
    for (let i = 0; i < 2; i++) {
      this.upAndSend();
      this.down();
    }
  }

  names(): string[] {
    return this.suspects.suspects.map(({ key }) => key);
  }
}
