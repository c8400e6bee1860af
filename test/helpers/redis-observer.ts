/**
 * A proxy between the gateways of a pair and Redis. It sees each command and its answer in the order in which the server executes them,
 * because it passes a command only when the one before is answered. It can cut one gateway off, and delivers the last commands of that
 * gateway later, as a network may.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import * as scripts from "../../src/storage/redis-scripts.ts";

const names = new Map(
  Object.entries(scripts).flatMap(([name, script]) =>
    typeof script === "object" ? [[script.digest, name] as const, [script.text, name] as const] : [],
  ),
);

export interface Seen {
  readonly gateway: string;
  readonly script: string;
  readonly key: string;
  /** Of the run that asked. */
  readonly run: string;
  /** Of a commit: what it bears; of a claim: what it got. */
  readonly epoch: number;
  /** The first word of the answer. */
  readonly answer: string;
  readonly at: number;
}

interface Visit {
  readonly gateway: string;
  readonly client: Socket;
  readonly server: Socket;
  readonly waiting: { words: Buffer[]; raw: Buffer }[];
}

export class RedisObserver {
  readonly #port: number;
  readonly #servers = new Map<string, Server>();
  readonly #visits = new Set<Visit>();
  readonly #cut = new Set<string>();
  readonly #answers = new Map<Socket, (raw: Buffer) => void>();
  #isSending = false;
  #isClosed = false;
  readonly seen: Seen[] = [];
  /** Called when a lease was claimed, before the answer is passed on. */
  claimed: (by: string, epoch: number) => void = () => {};
  /** How many writes of an epoch were taken after a claim of a later one. */
  late: Seen[] = [];
  /** By the key of the hash that holds the epoch. */
  readonly #latest = new Map<string, number>();
  readonly #claimMs: number;

  /** `claimMs`: how long a claim waits, so that what the one before said is heard first. */
  constructor(port: number, claimMs = 20) {
    this.#port = port;
    this.#claimMs = claimMs;
  }

  /** Answers the port for one gateway. */
  async listen(gateway: string): Promise<number> {
    const server = createServer((client) => this.#visit(gateway, client));
    this.#servers.set(gateway, server);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const address = server.address();
    return typeof address === "object" && address ? address.port : 0;
  }

  /** Nothing passes either way; what is said meanwhile comes when it is over, also of connections that were given up. */
  cut(gateway: string): void {
    this.#cut.add(gateway);
  }

  heal(gateway: string): void {
    this.#cut.delete(gateway);
    void this.#sendNext();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { client, server } of this.#visits) {
      client.destroy();
      server.destroy();
    }
    for (const server of this.#servers.values()) await new Promise<void>((done) => server.close(() => done()));
  }

  #visit(gateway: string, client: Socket): void {
    const server = connect({ port: this.#port, host: "127.0.0.1" });
    const visit: Visit = { gateway, client, server, waiting: [] };
    this.#visits.add(visit);
    for (const socket of [client, server]) socket.on("error", () => socket.destroy());
    let asked: Buffer = Buffer.alloc(0);
    client.on("data", (data) => {
      asked = Buffer.concat([asked, data]);
      for (;;) {
        const end = endOf(asked, 0);
        if (end === undefined) break;
        const raw = asked.subarray(0, end);
        asked = asked.subarray(end);
        visit.waiting.push({ raw, words: wordsOf(raw) });
      }
      void this.#sendNext();
    });
    let answered: Buffer = Buffer.alloc(0);
    server.on("data", (data) => {
      answered = Buffer.concat([answered, data]);
      const end = endOf(answered, 0);
      const take = this.#answers.get(server);
      if (end === undefined || !take) return;
      const raw = answered.subarray(0, end);
      answered = answered.subarray(end);
      this.#answers.delete(server);
      take(raw);
    });
    // The last commands of a closed connection are still being executed.
    client.on("close", () => void this.#sendNext());
    server.on("close", () => {
      client.destroy();
      this.#visits.delete(visit);
      this.#answers.get(server)?.(Buffer.alloc(0));
      this.#answers.delete(server);
    });
  }

  async #sendNext(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      for (;;) {
        const next = [...this.#visits].find(({ gateway, waiting }) => waiting.length > 0 && !this.#cut.has(gateway));
        if (!next || this.#isClosed) break;
        await this.#pass(next);
      }
    } finally {
      this.#isSending = false;
    }
    for (const visit of this.#visits) if (visit.client.destroyed && visit.waiting.length === 0) visit.server.destroy();
  }

  async #pass(visit: Visit): Promise<void> {
    const { words, raw } = visit.waiting.shift() ?? { words: [], raw: Buffer.alloc(0) };
    const script = /^eval(sha)?$/i.test(words[0]?.toString() ?? "") ? names.get(words[1]?.toString() ?? "") : undefined;
    // What the earlier gateway sent until it gave up is processed by this process before it is judged.
    if (script === "claimScript" && this.#claimMs > 0) await sleep(this.#claimMs);
    const answer = new Promise<Buffer>((done) => this.#answers.set(visit.server, done));
    visit.server.write(raw);
    const said = await answer;
    if (script) this.#judge(visit.gateway, script, String(words[3]), words.slice(4).map(String), said);
    // If a gateway is cut off in between, it still gets this answer, and its next command arrives late.
    if (visit.client.writable) visit.client.write(said);
  }

  #judge(gateway: string, script: string, key: string, words: readonly string[], said: Buffer): void {
    const [answer = "", second = ""] = said.toString("latin1").startsWith("*") ? wordsOf(said).map(String) : ["error"];
    const epoch = Number(script === "commitScript" ? words[3] : script === "claimScript" ? second : words[1]);
    const seen: Seen = { gateway, script, key, run: words[0] ?? "", epoch, answer, at: performance.now() };
    this.seen.push(seen);
    if (script === "claimScript" && answer === "claimed") {
      this.#latest.set(key, epoch);
      this.claimed(gateway, epoch);
    }
    if (script === "commitScript" && answer === "done" && !(epoch >= (this.#latest.get(key) ?? 0)))
      this.late.push(seen);
  }
}

/** Where a value of RESP3 ends that begins there; undefined: it is not there as a whole. */
function endOf(octets: Buffer, from: number): number | undefined {
  const line = octets.indexOf("\r\n", from);
  if (line < 0) return undefined;
  const count = Number(octets.toString("latin1", from + 1, line));
  const after = line + 2;
  switch (String.fromCharCode(octets[from] ?? 0)) {
    case "$":
    case "=":
      return count < 0 ? after : octets.length >= after + count + 2 ? after + count + 2 : undefined;
    case "*":
    case "~":
    case ">":
    case "%": {
      const values = octets[from] === 0x25 ? count * 2 : count;
      let at: number | undefined = after;
      for (let i = 0; i < values && at !== undefined; i++) at = endOf(octets, at);
      return at;
    }
    default:
      return after;
  }
}

/** The simple values in a list, as they follow one another. */
function wordsOf(octets: Buffer): Buffer[] {
  const words: Buffer[] = [];
  for (let at = octets.indexOf("\r\n") + 2; at > 1 && at < octets.length; ) {
    const end = endOf(octets, at);
    if (end === undefined) break;
    const line = octets.indexOf("\r\n", at);
    words.push(octets[at] === 0x24 ? octets.subarray(line + 2, end - 2) : octets.subarray(at + 1, line));
    at = end;
  }
  return words;
}
