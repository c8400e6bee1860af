/**
 * Between devices and the fronts of a fleet: each device has an address of its own there, and its datagrams go to one front, which can be
 * changed at any moment, as a network may. What comes back must come from a front that this device has written to lately.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

interface Way {
  readonly socket: Socket;
  front: number;
  /** When each front was written to last, by its port. */
  readonly asked: Map<number, number>;
  /** What went by, the latest last: it shows what came before a fault. */
  readonly passed: string[];
}

const passedMax = 2_000;

export class Crossroads {
  readonly #socket = createSocket("udp4");
  readonly #ways = new Map<number, Way>();
  readonly #frontFor: (count: number) => number;
  /** Answers from a front that this device never wrote to. */
  strange = 0;
  datagrams = 0;

  /** `frontFor`: the port of the first front of the n-th device. */
  constructor(frontFor: (count: number) => number) {
    this.#frontFor = frontFor;
    this.#socket.on("message", (bytes, { port }) => {
      const way = this.#wayOf(port);
      way.asked.set(way.front, performance.now());
      this.datagrams++;
      note(way, `> ${way.front}`, bytes);
      way.socket.send(bytes, way.front, "127.0.0.1");
    });
  }

  async open(): Promise<number> {
    this.#socket.bind(0, "127.0.0.1");
    await once(this.#socket, "listening");
    return this.#socket.address().port;
  }

  #turn = 0;

  /** So many devices, the next ones in turn, write to another front from now on. */
  move(count: number, to: (front: number) => number): void {
    const ways = [...this.#ways.values()];
    for (let i = 0; i < Math.min(count, ways.length); i++) {
      const way = ways[this.#turn++ % ways.length];
      if (way) way.front = to(way.front);
    }
  }

  /** Every device that writes to this front writes to another one. */
  leave(front: number, to: (count: number) => number): void {
    let count = 0;
    for (const way of this.#ways.values()) if (way.front === front) way.front = to(count++);
  }

  close(): void {
    this.#socket.close();
    for (const { socket } of this.#ways.values()) socket.close();
  }

  /** The datagrams of the device in whose datagrams this text stands, the latest `passedMax` of them. */
  passedWith(text: string): readonly string[] {
    const hex = Buffer.from(text).toString("hex");
    for (const { passed } of this.#ways.values()) if (passed.some((line) => line.includes(hex))) return passed;
    return [];
  }

  #wayOf(port: number): Way {
    const known = this.#ways.get(port);
    if (known) return known;
    const socket = createSocket("udp4");
    const way: Way = { socket, front: this.#frontFor(this.#ways.size), asked: new Map(), passed: [] };
    this.#ways.set(port, way);
    socket.on("error", () => {}); // nobody listens there just now
    socket.on("message", (bytes, from) => {
      if (!way.asked.has(from.port)) this.strange++;
      note(way, `< ${from.port}`, bytes);
      this.#socket.send(bytes, port, "127.0.0.1");
    });
    return way;
  }
}

function note(way: Way, direction: string, bytes: Uint8Array): void {
  way.passed.push(`${Math.round(performance.now())} ${direction} ${Buffer.from(bytes).toString("hex")}`);
  if (way.passed.length > passedMax) way.passed.shift();
}
