/**
 * Tells systemd that the gateway is ready, that it still runs, and that it ends. Does nothing if systemd has not set
 * NOTIFY_SOCKET. Node has no datagram sockets for files, so `systemd-notify` sends each message: a process of 11 ms,
 * three times per watchdog period. The unit needs NotifyAccess=all.
 *
 * A timer of the event loop sends the watchdog's message, so a gateway whose event loop is blocked sends none, and is
 * restarted.
 */
import { execFile } from "node:child_process";

export interface ServiceManagerOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Runs the program until it ends; calls back with an error if there was one. */
  readonly run?: (words: readonly string[], done: (error: Error | null) => void) => void;
  readonly every?: (ms: number, call: () => void) => () => void;
  /** Logged once: systemd does not accept the gateway's messages. */
  readonly warn: (say: string) => void;
}

/** The time that each message allows for a start to continue. */
const startingMs = 60_000;

export class ServiceManager {
  readonly #options: ServiceManagerOptions;
  readonly #run: NonNullable<ServiceManagerOptions["run"]>;
  readonly #every: NonNullable<ServiceManagerOptions["every"]>;
  #stopPinging: (() => void) | undefined;
  #pinging = false;
  #warned = false;

  constructor(options: ServiceManagerOptions) {
    this.#options = options;
    this.#run = options.run ?? systemdNotify;
    this.#every = options.every ?? unrefInterval;
  }

  /** The gateway is still starting: systemd waits longer than its default. */
  starting(status: string): void {
    if (this.#isAsked) this.#say(`STATUS=${status}`, `EXTEND_TIMEOUT_USEC=${startingMs * 1_000}`);
  }

  /** The gateway serves. From now on it sends the watchdog messages, if there is a watchdog. */
  ready(status: string): void {
    if (!this.#isAsked) return;
    this.#say("READY=1", `STATUS=${status}`);
    const periodMs = Number(this.#options.environment["WATCHDOG_USEC"]) / 1_000;
    if (!(periodMs > 0) || this.#stopPinging) return;
    this.#stopPinging = this.#every(Math.max(1, periodMs / 3), () => this.#ping());
  }

  /** The gateway ends in order. The watchdog is fed until the process has ended. */
  stopping(): void {
    if (this.#isAsked) this.#say("STOPPING=1");
  }

  /** From now on no message is sent. */
  close(): void {
    this.#stopPinging?.();
    this.#stopPinging = undefined;
  }

  get #isAsked(): boolean {
    return (this.#options.environment["NOTIFY_SOCKET"] ?? "") !== "";
  }

  /** Only one process runs at a time. On a machine with a blocked disk, processes must not accumulate. */
  #ping(): void {
    if (this.#pinging) return;
    this.#pinging = true;
    this.#say("WATCHDOG=1");
  }

  #say(...words: string[]): void {
    this.#run(words, (error) => {
      if (words[0] === "WATCHDOG=1") this.#pinging = false;
      if (!error || this.#warned) return;
      this.#warned = true;
      this.#options.warn(`systemd cannot be told "${words[0]}" (systemd-notify: ${error.message})`);
    });
  }
}

function systemdNotify(words: readonly string[], done: (error: Error | null) => void): void {
  execFile("systemd-notify", [...words], { timeout: 10_000 }, (error) => done(error));
}

function unrefInterval(ms: number, call: () => void): () => void {
  const timer = setInterval(call, ms);
  timer.unref();
  return () => clearInterval(timer);
}
