/**
 * Server-sent events to browsers. While a page is open, one timer asks each watch for news twice a second, and writes
 * them. Nothing is written to a browser that does not read: its watch counts the missed events, and the browser gets
 * this number. If a proxy holds a stream back, the browser polls. Each request is answered as soon as there are news,
 * and then ends; the watch continues between the requests.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { News, PollAnswer, Wanted } from "../observe/live.ts";
import { json } from "./answers.ts";

export const streamsMax = 32;
const everyMs = 500;
/** A browser that receives nothing for longer knows that the gateway is not there. */
const tickMs = 10_000;
/** A browser that polls sends its next request immediately. One without a request for this time counts as closed. */
const pollGoneMs = 15_000;

export interface Watched {
  take(): News | undefined;
  close(): void;
}

export interface StreamSource {
  watch(wanted: Wanted): Watched;
}

export interface Looks {
  readonly wanted: Wanted;
  /** False: its user is logged out. */
  readonly isAllowed: () => boolean;
  /** Set if the browser polls: all requests with this name belong to one watch. */
  readonly poll?: string;
}

interface Stream {
  looks: Looks;
  readonly watch: Watched;
  /** Undefined: between two polls. */
  response: ServerResponse | undefined;
  /** The time of the last write, or of the last poll. */
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
  open(request: IncomingMessage, response: ServerResponse, looks: Looks): boolean {
    const known = looks.poll === undefined ? undefined : this.#polledBy(looks.poll);
    if (known) {
      this.#pollAgain(known, response, looks);
      return true;
    }
    if (this.#streams.size >= streamsMax) return false;
    const stream: Stream = { looks, watch: this.#source.watch(looks.wanted), response, saidAt: this.#now() };
    this.#streams.add(stream);
    this.#timer ??= setInterval(() => this.#sayAll(), everyMs);
    if (looks.poll !== undefined) this.#answerPoll(stream, {});
    else this.#begin(stream, request, response);
    return true;
  }

  close(): void {
    for (const stream of [...this.#streams]) {
      this.#end(stream);
      stream.response?.destroy();
    }
  }

  #begin(stream: Stream, request: IncomingMessage, response: ServerResponse): void {
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-accel-buffering": "no", // otherwise nginx collects the stream before it passes it on
    });
    request.socket.setTimeout(0);
    response.once("close", () => this.#end(stream));
    response.write("retry: 2000\n\nevent: tick\ndata: {}\n\n");
  }

  #polledBy(name: string): Stream | undefined {
    for (const stream of this.#streams) if (stream.looks.poll === name) return stream;
    return undefined;
  }

  /** If an earlier request of this browser still waits, the browser has given it up. */
  #pollAgain(stream: Stream, response: ServerResponse, looks: Looks): void {
    this.#answerPoll(stream, {});
    stream.looks = looks;
    stream.response = response;
    stream.saidAt = this.#now();
    response.once("close", () => {
      if (stream.response === response) stream.response = undefined;
    });
  }

  #answerPoll(stream: Stream, answer: PollAnswer): void {
    const { response } = stream;
    stream.response = undefined;
    stream.saidAt = this.#now();
    if (response) json(response, 200, answer);
  }

  #sayAll(): void {
    const now = this.#now();
    for (const stream of [...this.#streams]) {
      if (stream.looks.poll === undefined) this.#say(stream, now);
      else this.#sayToPoll(stream, now);
    }
  }

  #say(stream: Stream, now: number): void {
    const { response, watch, looks } = stream;
    if (!response) return;
    if (!looks.isAllowed()) {
      response.end("event: bye\ndata: {}\n\n");
      this.#end(stream);
      return;
    }
    if (response.writableNeedDrain) return; // the browser does not read: its watch counts the missed events
    const news = watch.take();
    if (news) response.write(`event: news\ndata: ${JSON.stringify(news)}\n\n`);
    else if (now - stream.saidAt < tickMs) return;
    else response.write("event: tick\ndata: {}\n\n");
    stream.saidAt = now;
  }

  #sayToPoll(stream: Stream, now: number): void {
    const sinceMs = now - stream.saidAt;
    if (!stream.response) {
      if (sinceMs >= pollGoneMs) this.#end(stream);
      return;
    }
    if (!stream.looks.isAllowed()) {
      this.#answerPoll(stream, { bye: true });
      this.#end(stream);
      return;
    }
    const news = stream.watch.take();
    if (news) this.#answerPoll(stream, { news });
    else if (sinceMs >= tickMs) this.#answerPoll(stream, {});
  }

  #end(stream: Stream): void {
    if (!this.#streams.delete(stream)) return;
    stream.watch.close();
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
