/** The stream itself: opened anew when what is wanted changes, or when it broke. */
import type { FromWorker, Wish } from "./stream-words.ts";

const againMs = 2_000;
/** The gateway says something every ten seconds. */
const silenceMs = 25_000;

export class StreamSource {
  readonly #tell: (word: FromWorker) => void;
  #wish: Wish | undefined;
  #source: EventSource | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;

  constructor(tell: (word: FromWorker) => void) {
    this.#tell = tell;
  }

  /** Undefined: nobody wants anything. */
  want(wish: Wish | undefined): void {
    if (JSON.stringify(wish) === JSON.stringify(this.#wish)) return;
    this.#wish = wish;
    this.#open();
  }

  #open(): void {
    this.#source?.close();
    clearTimeout(this.#again);
    clearTimeout(this.#silence);
    this.#source = undefined;
    if (!this.#wish) return;
    const source = new EventSource(pathOf(this.#wish));
    this.#source = source;
    const wish = this.#wish;
    source.addEventListener("tick", () => this.#heard(wish));
    source.addEventListener("news", (event) => {
      this.#heard(wish);
      this.#tell({ say: "news", news: JSON.parse(event.data) });
    });
    source.addEventListener("bye", () => this.#tell({ say: "out" }));
    source.addEventListener("error", () => this.#broke());
  }

  #heard(wish: Wish): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#broke(), silenceMs);
    this.#tell({ say: "up", wish });
  }

  #broke(): void {
    this.#source?.close();
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
