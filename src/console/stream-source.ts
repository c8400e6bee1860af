/**
 * The stream of events: opened again when other events are wanted, or after an error. If a proxy holds the events back,
 * none arrives. From then on the gateway is polled, and each answer ends.
 */
import type { PollAnswer } from "../observe/live.ts";
import type { FromWorker, Wish } from "./stream-words.ts";

const againMs = 2_000;
/** Milliseconds until the first event, which the gateway sends immediately. */
const firstMs = 4_000;
/** Milliseconds until the next event. The gateway sends one at least every ten seconds. */
const silenceMs = 25_000;

export class StreamSource {
  readonly #tell: (word: FromWorker) => void;
  #wish: Wish | undefined;
  #close = () => {};
  #again: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #isHeldBack = false;
  #silences = 0;

  constructor(tell: (word: FromWorker) => void) {
    this.#tell = tell;
  }

  /** Undefined: no tab wants anything. */
  want(wish: Wish | undefined): void {
    if (JSON.stringify(wish) === JSON.stringify(this.#wish)) return;
    this.#wish = wish;
    this.#open();
  }

  #open(): void {
    this.#close();
    this.#close = () => {};
    clearTimeout(this.#again);
    clearTimeout(this.#silence);
    if (!this.#wish) return;
    if (this.#isHeldBack) this.#poll(this.#wish);
    else this.#listen(this.#wish);
  }

  #listen(wish: Wish): void {
    const source = new EventSource(pathOf(wish));
    this.#close = () => source.close();
    this.#silence = setTimeout(() => {
      this.#isHeldBack = true;
      this.#open();
    }, firstMs);
    source.addEventListener("tick", () => this.#heard(wish));
    source.addEventListener("news", (event) => {
      this.#heard(wish);
      this.#tell({ say: "news", news: JSON.parse(event.data) });
    });
    source.addEventListener("bye", () => this.#tell({ say: "out" }));
    source.addEventListener("error", () => this.#broke());
  }

  #poll(wish: Wish): void {
    const ending = new AbortController();
    this.#close = () => ending.abort();
    const path = pathOf(wish);
    const name = Array.from(crypto.getRandomValues(new Uint8Array(16)), (octet) => octet.toString(16)).join("");
    const url = `${path}${path.includes("?") ? "&" : "?"}poll=${name}`;
    this.#expectMore();
    const ask = async () => {
      while (!ending.signal.aborted) {
        const response = await fetch(url, { signal: ending.signal });
        if (!response.ok) throw new Error(`the gateway answered ${response.status}`);
        const { news, bye } = (await response.json()) as PollAnswer;
        if (ending.signal.aborted) return;
        this.#heard(wish);
        if (news) this.#tell({ say: "news", news });
        if (bye) return this.#tell({ say: "out" });
      }
    };
    ask().catch(() => ending.signal.aborted || this.#broke());
  }

  #heard(wish: Wish): void {
    this.#expectMore();
    this.#tell({ say: "up", wish });
  }

  #expectMore(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      // One missing event may be caused by a suspended machine. After two, a proxy probably holds the events back.
      if (++this.#silences > 1) this.#isHeldBack = true;
      this.#broke();
    }, silenceMs);
  }

  #broke(): void {
    this.#close();
    clearTimeout(this.#silence);
    clearTimeout(this.#again);
    this.#tell({ say: "down" });
    this.#again = setTimeout(() => this.#open(), againMs);
  }
}

function pathOf(wish: Wish): string {
  const base = "api/v1/events";
  if (wish.datagrams === "all") return `${base}?datagrams`;
  return wish.datagrams === "client" ? `${base}?client=${encodeURIComponent(wish.client)}` : base;
}
