/**
 * Keeps the process that has the adapter running. noble's native part can stop an event loop for 40 s, and what it
 * forgets it does not remember: so it runs in a child, silence is a fault, and a fault ends the child. A new one is
 * started after a pause that grows while none comes to work. The gateway waits for nothing of it.
 */
import { type ChildProcess, fork } from "node:child_process";
import type { Timers } from "../timers.ts";
import type { Central, CentralCommand, CentralCounters, CentralEvent, ChildOptions, ChildReport } from "./central.ts";
import { parseReport } from "./child-report.ts";

export interface SupervisorOptions {
  readonly child: ChildOptions;
  /** Environment of the child, beyond that of the gateway. */
  readonly env: Readonly<Record<string, string>>;
  readonly silenceMs: number;
  readonly memoryBytesMax: number;
  readonly quietMs: number;
  readonly pauseMsMax: number;
}

/** The part of a child process that is used. */
export type Spawned = Pick<ChildProcess, "pid" | "on" | "send" | "kill" | "connected" | "stderr" | "stdout">;

/** Ends a sentence; the command that it names leaves it out. */
export const seeCheck = " (see: mqtt-sn-gateway ble check)";
const firstPauseMs = 2_000;
/** A child that worked for so long starts anew without a longer pause. */
const worksMs = 60_000;
/** Time for loading noble and for the adapter to answer; a Raspberry Pi Zero is slow. */
const startMs = 30_000;
/** Commands that the child has not taken from the pipe. Beyond, it counts as hung. */
const backlogMax = 2_000;
const checkMs = 500;
const closeMs = 2_000;

export class Supervisor implements Central {
  readonly #options: SupervisorOptions;
  readonly #timers: Timers;
  readonly #spawn: () => Spawned;
  #onEvent: (event: CentralEvent) => void = () => {};
  #child: Spawned | undefined;
  #ready = false;
  #startedAt = 0;
  #heardAt = 0;
  /** When something last came by radio: an advertisement, or octets of a device. */
  #radioAt = 0;
  #advertisementsOfChild = 0;
  #advertisementsBefore = 0;
  #rssBytes = 0;
  #restarts = 0;
  #pauseMs = firstPauseMs;
  #backlog = 0;
  #lastWords = "";
  #stopCheck: (() => void) | undefined;
  #stopPause: (() => void) | undefined;
  #closed = false;
  /** Tells `close` that the child is gone. */
  #onGone: (() => void) | undefined;

  constructor(options: SupervisorOptions, timers: Timers, spawn?: () => Spawned) {
    this.#options = options;
    this.#timers = timers;
    this.#spawn = spawn ?? (() => spawnChild(options));
  }

  get counters(): CentralCounters {
    return {
      restarts: this.#restarts,
      advertisements: this.#advertisementsBefore + this.#advertisementsOfChild,
      rssBytes: this.#rssBytes,
    };
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(onEvent: (event: CentralEvent) => void): void {
    this.#onEvent = onEvent;
    this.#stopCheck = this.#timers.every(checkMs, () => this.#check());
    this.#begin();
  }

  command(command: CentralCommand): void {
    const child = this.#child;
    if (!child?.connected || !this.#ready) return;
    this.#backlog++;
    if (this.#backlog > backlogMax) return this.#end("it takes no more commands", true);
    child.send(command, () => {
      if (child === this.#child) this.#backlog--;
    });
  }

  restart(why: string): void {
    if (this.#child) this.#end(why, true);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopCheck?.();
    this.#stopPause?.();
    const child = this.#child;
    if (!child) return;
    const gone = new Promise<void>((resolve) => {
      this.#onGone = resolve;
    });
    child.kill("SIGTERM");
    const stopWaiting = this.#timers.after(closeMs, () => child.kill("SIGKILL"));
    await gone;
    stopWaiting();
  }

  #begin(): void {
    if (this.#closed) return;
    this.#ready = false;
    this.#backlog = 0;
    this.#lastWords = "";
    this.#startedAt = this.#timers.now();
    this.#heardAt = this.#startedAt;
    this.#radioAt = this.#startedAt;
    const child = this.#spawn();
    this.#child = child;
    child.on("message", (said) => {
      if (child !== this.#child) return;
      const report = parseReport(said);
      if (report) this.#onReport(report);
      else this.#end("what it says makes no sense", true);
    });
    child.on("error", (error) => this.#onExit(child, error.message));
    child.on("exit", (code, signal) => this.#onExit(child, signal ? `it got ${signal}` : `it exited with ${code}`));
    const keepWords = (text: Buffer) => {
      this.#lastWords = (this.#lastWords + text.toString("utf8")).slice(-2_000);
    };
    child.stderr?.on("data", keepWords);
    child.stdout?.on("data", keepWords);
  }

  #onReport(report: ChildReport): void {
    this.#heardAt = this.#timers.now();
    switch (report.is) {
      case "alive":
        if (report.advertisements > this.#advertisementsOfChild) this.#radioAt = this.#heardAt;
        this.#advertisementsOfChild = report.advertisements;
        this.#rssBytes = report.rssBytes;
        return;
      case "ready":
        this.#ready = true;
        return this.#onEvent(report);
      case "data":
        // Where all devices have links nobody advertises, and yet the adapter works.
        this.#radioAt = this.#heardAt;
        if (this.#ready) this.#onEvent(report);
        return;
      case "unavailable":
        return this.#end(report.why, false);
      default:
        if (this.#ready) this.#onEvent(report);
    }
  }

  #check(): void {
    const now = this.#timers.now();
    if (!this.#child) return;
    const { silenceMs, memoryBytesMax, quietMs } = this.#options;
    const seconds = (ms: number) => Math.round(ms / 1_000);
    if (now - this.#heardAt >= (this.#ready ? silenceMs : Math.max(silenceMs, startMs))) {
      return this.#end(`it said nothing for ${seconds(now - this.#heardAt)} s`, true);
    }
    if (this.#rssBytes > memoryBytesMax) {
      return this.#renew(`it had grown to ${Math.round(this.#rssBytes / 2 ** 20)} MB`);
    }
    if (!this.#ready && now - this.#startedAt >= startMs) {
      return this.#end(`the adapter did not answer within ${seconds(startMs)} s${seeCheck}`, false);
    }
    if (this.#advertisementsOfChild > 0 && now - this.#radioAt >= quietMs) {
      this.#renew(`no advertisement, and nothing from a device, for ${seconds(now - this.#radioAt)} s`);
    }
  }

  /** It worked, and would not for much longer: no reason to wait with the next one. */
  #renew(why: string): void {
    this.#pauseMs = firstPauseMs;
    this.#end(why, false);
  }

  /** Ends the child: it is not waited for, what it still says is not heard. */
  #end(why: string, hung: boolean): void {
    const child = this.#child;
    if (!child) return;
    child.kill("SIGKILL");
    this.#gone(why, hung);
  }

  #onExit(child: Spawned, why: string): void {
    if (child === this.#child) {
      const words = this.#lastWords.trim().split("\n").slice(-1)[0] ?? "";
      this.#gone(words === "" ? why : `${why}: ${words.slice(0, 200)}`, false);
    }
    this.#onGone?.();
  }

  #gone(why: string, hung: boolean): void {
    const now = this.#timers.now();
    const worked = this.#ready && now - this.#startedAt >= worksMs;
    this.#child = undefined;
    this.#ready = false;
    this.#rssBytes = 0;
    this.#advertisementsBefore += this.#advertisementsOfChild;
    this.#advertisementsOfChild = 0;
    if (this.#closed) return;
    this.#restarts++;
    const pauseMs = worked ? firstPauseMs : this.#pauseMs;
    this.#pauseMs = Math.min(pauseMs * 2, this.#options.pauseMsMax);
    this.#onEvent({ is: "unavailable", why, hung });
    this.#stopPause = this.#timers.after(pauseMs, () => this.#begin());
  }
}

function spawnChild({ child, env }: SupervisorOptions): Spawned {
  // Run from its source, as tests do, the gateway takes the built child: Node 20 does not read TypeScript.
  const isSource = import.meta.url.endsWith(".ts");
  const file = new URL(isSource ? "../../../dist/transports/ble/child.js" : "./child.js", import.meta.url);
  return fork(file, [JSON.stringify(child)], {
    env: { ...process.env, ...env },
    serialization: "advanced",
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    execArgv: process.execArgv.filter((argument) => !argument.startsWith("--inspect")),
  });
}
