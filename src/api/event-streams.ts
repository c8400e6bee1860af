/**
 * Server-sent events: one timer, twice a second and only while somebody looks, asks each watch what is new and writes it.
 * A browser that does not read is not written to: what it misses its watch counts, and it hears how much that was.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { News, Wanted } from "../observe/live.ts";

export const streamsMax = 32;
const everyMs = 500;
/** A browser that hears nothing for longer knows that the gateway is gone. */
const tickMs = 10_000;

export interface Watched {
  take(): News | undefined;
  close(): void;
}

export interface StreamSource {
  watch(wanted: Wanted): Watched;
}

interface Stream {
  readonly response: ServerResponse;
  readonly watch: Watched;
  /** False: whoever opened it is logged out. */
  readonly isAllowed: () => boolean;
  saidAt: number;
}

export class EventStreams {
  readonly #source: StreamSource;
  readonly #now: () => number;
  readonly #streams = new Set<Stream>();
  #timer: NodeJS.Timeout | undefined;

  constructor(source: StreamSource, now: () => number) {
    this.#source = source;
    this.#now = now;
  }

  get size(): number {
    return this.#streams.size;
  }

  /** False: there are too many; nothing was answered. */
  open(request: IncomingMessage, response: ServerResponse, wanted: Wanted, isAllowed: () => boolean): boolean {
    if (this.#streams.size >= streamsMax) return false;
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-accel-buffering": "no", // or nginx keeps it until it is much
    });
    request.socket.setTimeout(0);
    const stream: Stream = { response, watch: this.#source.watch(wanted), isAllowed, saidAt: this.#now() };
    this.#streams.add(stream);
    response.once("close", () => this.#end(stream));
    response.write("retry: 2000\n\nevent: tick\ndata: {}\n\n");
    this.#timer ??= setInterval(() => this.#say(), everyMs);
    return true;
  }

  close(): void {
    for (const stream of [...this.#streams]) {
      this.#end(stream);
      stream.response.destroy();
    }
  }

  #say(): void {
    const now = this.#now();
    for (const stream of [...this.#streams]) {
      const { response, watch } = stream;
      if (!stream.isAllowed()) {
        response.end("event: bye\ndata: {}\n\n");
        this.#end(stream);
        continue;
      }
      if (response.writableNeedDrain) continue; // it does not read: its watch counts what it misses
      const news = watch.take();
      if (news) response.write(`event: news\ndata: ${JSON.stringify(news)}\n\n`);
      else if (now - stream.saidAt < tickMs) continue;
      else response.write("event: tick\ndata: {}\n\n");
      stream.saidAt = now;
    }
  }

  #end(stream: Stream): void {
    if (!this.#streams.delete(stream)) return;
    stream.watch.close();
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
