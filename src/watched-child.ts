/**
 * Keeps a child process running. When it ends, the next one is started after a pause, which doubles until a process
 * works. The owner of this object decides if a process works, and ends it if not. Only `close` waits for a process.
 */
import type { ChildProcess } from "node:child_process";
import type { Timers } from "./transports/timers.ts";

/** The part of a child process that is used. */
export type Spawned = Pick<ChildProcess, "pid" | "on" | "send" | "kill" | "connected" | "stderr"> &
  Partial<Pick<ChildProcess, "stdout">>;

export interface WatchedChildOptions {
  readonly timers: Timers;
  readonly spawn: () => Spawned;
  /** The pause before the next process: the first one, and the longest. */
  readonly firstPauseMs: number;
  readonly pauseMsMax: number;
}

export interface Gone {
  /** The cause as a part of a sentence: "it got SIGKILL", with the last line that the process wrote. */
  readonly why: string;
  /** The process did not answer. */
  readonly isHung: boolean;
  /** Milliseconds until the next process begins. */
  readonly pauseMs: number;
}

export interface ChildEvents {
  /** A process was started. */
  began(): void;
  /** A message of the present process; messages of earlier processes are ignored. */
  said(message: unknown): void;
  /** The process ended, or was ended. Not called after `close`. */
  gone(gone: Gone): void;
}

/** After a process that worked for this time, the pause before the next one is the shortest again. */
const worksMs = 60_000;
/** Milliseconds between SIGTERM and SIGKILL. */
const closeMs = 2_000;
/** The number of octets that are kept, at the end of its standard output and standard error. */
const wordsMax = 2_000;
const reasonMax = 200;

export class WatchedChild {
  readonly #options: WatchedChildOptions;
  readonly #events: ChildEvents;
  #child: Spawned | undefined;
  #startedAt = 0;
  #isReady = false;
  #pauseMs: number;
  #restarts = 0;
  #lastWords = "";
  #stopPause: (() => void) | undefined;
  #onGone: (() => void) | undefined;
  #closed = false;

  constructor(options: WatchedChildOptions, events: ChildEvents) {
    this.#options = options;
    this.#events = events;
    this.#pauseMs = options.firstPauseMs;
  }

  /** Undefined: there is none now. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isThere(): boolean {
    return this.#child !== undefined;
  }

  /** The start time of the present process, or of the last one. */
  get startedAt(): number {
    return this.#startedAt;
  }

  /** Processes that ended by themselves, or were ended. */
  get restarts(): number {
    return this.#restarts;
  }

  begin(): void {
    if (this.#closed) return;
    this.#isReady = false;
    this.#lastWords = "";
    this.#startedAt = this.#options.timers.now();
    const child = this.#options.spawn();
    this.#child = child;
    child.on("message", (said) => {
      if (child === this.#child) this.#events.said(said);
    });
    child.on("error", (error) => this.#onExit(child, error.message));
    child.on("exit", (code, signal) => this.#onExit(child, signal ? `it got ${signal}` : `it exited with ${code}`));
    const keepWords = (text: Buffer) => {
      this.#lastWords = (this.#lastWords + text.toString("utf8")).slice(-wordsMax);
    };
    child.stderr?.on("data", keepWords);
    child.stdout?.on("data", keepWords);
    this.#events.began();
  }

  /** The process works. If it continues for a minute, the next pause is short again. */
  ready(): void {
    this.#isReady = true;
  }

  /** False: there is no process. `taken` is called when the process that runs now has read it from the pipe. */
  send(message: Parameters<Spawned["send"]>[0], taken?: () => void): boolean {
    const child = this.#child;
    if (!child?.connected) return false;
    child.send(message, () => {
      if (child === this.#child) taken?.();
    });
    return true;
  }

  /**
   * Ends the process. Does not wait for its end, and ignores its further messages. Has no effect if there is no
   * process.
   */
  end(why: string, isHung = false): void {
    const child = this.#child;
    if (!child) return;
    child.kill("SIGKILL");
    this.#gone(why, isHung);
  }

  /** Like `end`, for a process that works but would not for much longer: the pause before the next one is short. */
  renew(why: string): void {
    this.#pauseMs = this.#options.firstPauseMs;
    this.end(why);
  }

  /** SIGTERM, then SIGKILL. Resolves when the process has ended. No further process is started. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopPause?.();
    const child = this.#child;
    if (!child) return;
    const gone = new Promise<void>((resolve) => {
      this.#onGone = resolve;
    });
    child.kill("SIGTERM");
    const stopWaiting = this.#options.timers.after(closeMs, () => child.kill("SIGKILL"));
    await gone;
    stopWaiting();
  }

  #onExit(child: Spawned, why: string): void {
    if (child === this.#child) {
      const words = this.#lastWords.trim().split("\n").at(-1) ?? "";
      this.#gone(words === "" ? why : `${why}: ${words.slice(0, reasonMax)}`, false);
    }
    this.#onGone?.();
  }

  #gone(why: string, isHung: boolean): void {
    const { timers, firstPauseMs, pauseMsMax } = this.#options;
    const worked = this.#isReady && timers.now() - this.#startedAt >= worksMs;
    this.#child = undefined;
    this.#isReady = false;
    if (this.#closed) return;
    this.#restarts++;
    const pauseMs = worked ? firstPauseMs : this.#pauseMs;
    this.#pauseMs = Math.min(pauseMs * 2, pauseMsMax);
    this.#stopPause = timers.after(pauseMs, () => this.begin());
    this.#events.gone({ why, isHung, pauseMs });
  }
}

/**
 * The file of a child process, by its path in src. If the gateway runs from its sources, as in tests, the compiled
 * child is used, because Node 20 cannot run TypeScript.
 */
export function childFile(place: string): URL {
  return new URL(import.meta.url.endsWith(".ts") ? `../dist/${place}` : `./${place}`, import.meta.url);
}
