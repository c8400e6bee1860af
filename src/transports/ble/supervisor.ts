/**
 * Keeps the process with the adapter running. noble's native part can block an event loop for 40 s, and may lose track
 * of its state. So it runs in a child process, whose silence is a fault, and a fault ends it. A new one is started
 * after a pause, which grows until a process works. The gateway never waits for it.
 */
import { fork } from "node:child_process";
import { childFile, type Gone, type Spawned, WatchedChild } from "../../watched-child.ts";
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

/** The end of a sentence. The command that it names does not print it. */
export const seeCheck = " (see: mqtt-sn-gateway ble check)";
const firstPauseMs = 2_000;
/** Time for loading noble and for the adapter to answer; a Raspberry Pi Zero is slow. */
const startMs = 30_000;
/** Commands that the child has not read from the pipe. With more, the child counts as hung. */
const backlogMax = 2_000;
const checkMs = 500;

export class Supervisor implements Central {
  readonly #options: SupervisorOptions;
  readonly #timers: Timers;
  readonly #child: WatchedChild;
  #onEvent: (event: CentralEvent) => void = () => {};
  #ready = false;
  #heardAt = 0;
  /** The time of the last reception by radio: an advertisement, or octets of a device. */
  #radioAt = 0;
  #advertisementsOfChild = 0;
  #advertisementsBefore = 0;
  #rssBytes = 0;
  #backlog = 0;
  #stopCheck: (() => void) | undefined;

  constructor(options: SupervisorOptions, timers: Timers, spawn?: () => Spawned) {
    this.#options = options;
    this.#timers = timers;
    const { pauseMsMax } = options;
    this.#child = new WatchedChild(
      { timers, spawn: spawn ?? (() => spawnChild(options)), firstPauseMs, pauseMsMax },
      { began: () => this.#began(), said: (message) => this.#said(message), gone: (gone) => this.#gone(gone) },
    );
  }

  get counters(): CentralCounters {
    return {
      restarts: this.#child.restarts,
      advertisements: this.#advertisementsBefore + this.#advertisementsOfChild,
      rssBytes: this.#rssBytes,
    };
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  start(onEvent: (event: CentralEvent) => void): void {
    this.#onEvent = onEvent;
    this.#stopCheck = this.#timers.every(checkMs, () => this.#check());
    this.#child.begin();
  }

  command(command: CentralCommand): void {
    if (!this.#ready) return;
    if (this.#backlog >= backlogMax) return this.#child.end("it takes no more commands", true);
    if (this.#child.send(command, () => this.#backlog--)) this.#backlog++;
  }

  restart(why: string): void {
    this.#child.end(why, true);
  }

  async close(): Promise<void> {
    this.#stopCheck?.();
    await this.#child.close();
  }

  #began(): void {
    this.#ready = false;
    this.#backlog = 0;
    this.#heardAt = this.#child.startedAt;
    this.#radioAt = this.#child.startedAt;
  }

  #said(message: unknown): void {
    const report = parseReport(message);
    if (report) this.#onReport(report);
    else this.#child.end("its message is invalid", true);
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
        this.#child.ready();
        return this.#onEvent(report);
      case "data":
        // If all devices have links, no device advertises, although the adapter works.
        this.#radioAt = this.#heardAt;
        if (this.#ready) this.#onEvent(report);
        return;
      case "unavailable":
        return this.#child.end(report.why);
      default:
        if (this.#ready) this.#onEvent(report);
    }
  }

  #check(): void {
    const now = this.#timers.now();
    if (!this.#child.isThere) return;
    const { silenceMs, memoryBytesMax, quietMs } = this.#options;
    const seconds = (ms: number) => Math.round(ms / 1_000);
    if (now - this.#heardAt >= (this.#ready ? silenceMs : Math.max(silenceMs, startMs))) {
      return this.#child.end(`it said nothing for ${seconds(now - this.#heardAt)} s`, true);
    }
    if (this.#rssBytes > memoryBytesMax) {
      return this.#child.renew(`it had grown to ${Math.round(this.#rssBytes / 2 ** 20)} MB`);
    }
    if (!this.#ready && now - this.#child.startedAt >= startMs) {
      return this.#child.end(`the adapter did not answer within ${seconds(startMs)} s${seeCheck}`);
    }
    if (this.#advertisementsOfChild > 0 && now - this.#radioAt >= quietMs) {
      this.#child.renew(`no advertisement, and nothing from a device, for ${seconds(now - this.#radioAt)} s`);
    }
  }

  #gone({ why, isHung }: Gone): void {
    this.#ready = false;
    this.#rssBytes = 0;
    this.#advertisementsBefore += this.#advertisementsOfChild;
    this.#advertisementsOfChild = 0;
    this.#onEvent({ is: "unavailable", why, hung: isHung });
  }
}

function spawnChild({ child, env }: SupervisorOptions): Spawned {
  return fork(childFile("transports/ble/child.js"), [JSON.stringify(child)], {
    env: { ...process.env, ...env },
    serialization: "advanced",
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    execArgv: process.execArgv.filter((argument) => !argument.startsWith("--inspect")),
  });
}
