/**
 * Asks scripts in a separate process, one question at a time, and keeps this process running.
 *
 * The caller gets an answer within `runMs` of its turn, or is told that there is none; a script that has used up its time may still be
 * running then. A process that does not return from a script is killed, and a new one is started after a pause, which grows while no
 * process works. While there is no process, and beyond the limits on what waits, the answer is "unfit" at once.
 *
 * If the payloads of a sender repeatedly use up a script's time, the sender's payloads get no script for a growing pause. So they cost
 * other senders only the time of one call now and then.
 */
import { fork } from "node:child_process";
import type { Timers } from "../transports/timers.ts";
import { childFile, type Gone, type Spawned, WatchedChild } from "../watched-child.ts";
import { type ChildReport, parseReport } from "./child-words.ts";
import type { Answer, Direction, Question, ScriptSource } from "./question.ts";
import type { Limits, Loaded, Ran } from "./sandbox.ts";

export type Told = (level: "info" | "warn" | "error", say: string) => void;

export interface RunnerCounters {
  /** Questions that the process was asked. */
  asked: number;
  /** Questions that were not answered in time. */
  overTime: number;
  /**
   * Questions that were not asked: too many waited, there was no process, or the sender's payloads had used up their
   * time.
   */
  turnedAway: number;
  /** Processes that ended by themselves, or were killed. */
  readonly restarts: number;
}

/** Questions that wait for their turn, and their octets. */
export const waitingMax = 1_000;
const waitingBytesMax = 2 * 2 ** 20;
/** Milliseconds that a question waits for its turn. After that it is not asked. */
const waitMsMax = 500;
/** A process that exceeds its time by so much counts as hung. */
const hungMs = 500;
/** Milliseconds for loading the interpreter and the scripts, on a slow machine. */
const startMs = 30_000;
const firstPauseMs = 1_000;
const pauseMsMax = 60_000;
/**
 * Senders whose payloads used up their time are remembered up to this number. Beyond it, the oldest one is forgotten.
 */
const sendersMax = 10_000;
/** Payloads in a row, before a sender pauses. */
const patience = 2;

interface Call {
  readonly question: Question;
  /** The sender of the payload. */
  readonly sender: string;
  readonly since: number;
  /** Undefined: the question was answered, or its answer is not needed any more. */
  done: ((answer: Answer) => void) | undefined;
  /** The question used up its time, which is charged to its sender. */
  isLate: boolean;
}

interface Trouble {
  times: number;
  pauseMs: number;
  until: number;
}

export class ScriptRunner {
  readonly #counts = { asked: 0, overTime: 0, turnedAway: 0 };
  readonly #limits: Limits;
  readonly #timers: Timers;
  readonly #told: Told;
  readonly #child: WatchedChild;
  #scripts: readonly ScriptSource[] = [];
  #loaded = new Map<string, Loaded>();
  /** starting: questions are refused; loading: questions wait. */
  #state: "none" | "starting" | "loading" | "idle" | "asking" = "none";
  /** The scripts were changed while a question was open. */
  #isStale = false;
  readonly #waiting: Call[] = [];
  #waitingBytes = 0;
  #asked: Call | undefined;
  #lastId = 0;
  #stopDeadline: (() => void) | undefined;
  readonly #troubles = new Map<string, Trouble>();
  #onWorking: (() => void) | undefined;

  constructor(limits: Limits, timers: Timers, told: Told, spawn?: () => Spawned) {
    this.#limits = limits;
    this.#timers = timers;
    this.#told = told;
    this.#child = new WatchedChild(
      { timers, spawn: spawn ?? (() => spawnChild(limits)), firstPauseMs, pauseMsMax },
      { began: () => this.#began(), said: (message) => this.#said(message), gone: (gone) => this.#gone(gone) },
    );
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get counters(): RunnerCounters {
    return { ...this.#counts, restarts: this.#child.restarts };
  }

  /** The state of each script; empty until the process has loaded them. */
  get scripts(): readonly Loaded[] {
    return [...this.#loaded.values()];
  }

  /** Answers when scripts can be asked, or the first process has failed. */
  start(scripts: readonly ScriptSource[]): Promise<void> {
    this.#scripts = scripts;
    const working = new Promise<void>((resolve) => {
      this.#onWorking = resolve;
    });
    this.#child.begin();
    return working;
  }

  /** Uses these scripts, in their present text, from now on. They also answer the questions that wait. */
  load(scripts: readonly ScriptSource[]): void {
    this.#scripts = scripts;
    this.#troubles.clear();
    if (this.#state === "idle") this.#loadNow();
    else if (this.#state === "asking") this.#isStale = true;
  }

  /** True if the script may have a function for this direction. Otherwise there is no need to ask. */
  can(file: string, is: Direction): boolean {
    return this.#loaded.get(file)?.can.includes(is) ?? true;
  }

  /**
   * Calls `done` once, later; the returned function cancels this. If no script is asked, returns an answer immediately.
   * @param sender the sender of the payload, to count payloads that use up the time
   */
  ask(question: Question, sender: string, done: (answer: Answer) => void): Answer | (() => void) {
    const refuse = (why: string): Answer => {
      this.#counts.turnedAway++;
      return { is: "unfit", why: `${question.file} was not asked: ${why}` };
    };
    if (this.#state === "none" || this.#state === "starting") return refuse("the process for scripts does not run");
    const now = this.#timers.now();
    const trouble = this.#troubles.get(keyOf(question, sender));
    if (trouble && trouble.until > now) return refuse("payloads of this sender have used up its time");
    const octets = question.payload.byteLength;
    if (this.#waiting.length >= waitingMax || this.#waitingBytes + octets > waitingBytesMax)
      return refuse("too many questions wait for scripts");
    const call: Call = { question, sender, since: now, done, isLate: false };
    this.#waiting.push(call);
    this.#waitingBytes += octets;
    this.#next();
    return () => {
      this.#forget(call);
    };
  }

  async close(): Promise<void> {
    this.#state = "none";
    this.#stopDeadline?.();
    this.#answerAll("the gateway ends");
    this.#onWorking?.();
    await this.#child.close();
  }

  #began(): void {
    this.#state = "starting";
    this.#deadline(startMs, () => this.#child.end(`it was not ready within ${startMs / 1_000} s`));
  }

  #said(message: unknown): void {
    const report = parseReport(message);
    if (report) this.#onReport(report);
    else this.#child.end("its message is invalid");
  }

  #onReport(report: ChildReport): void {
    switch (report.is) {
      case "ready":
        this.#child.ready();
        return this.#loadNow();
      case "loaded": {
        this.#loaded = new Map(report.scripts.map((each) => [each.file, each]));
        for (const { problem } of report.scripts) if (problem !== undefined) this.#told("error", `script: ${problem}`);
        this.#stopDeadline?.();
        this.#state = "idle";
        this.#onWorking?.();
        return this.#next();
      }
      case "answered":
        if (this.#state !== "asking" || report.id !== this.#lastId)
          return this.#child.end("it answers a question that was not asked");
        return this.#onAnswer(report.answer);
    }
  }

  #loadNow(): void {
    this.#isStale = false;
    this.#state = "loading";
    this.#deadline(startMs, () => this.#child.end(`scripts were not loaded within ${startMs / 1_000} s`));
    this.#child.send({ do: "load", scripts: this.#scripts });
  }

  #onAnswer(ran: Ran): void {
    const call = this.#asked;
    this.#asked = undefined;
    this.#stopDeadline?.();
    this.#state = "idle";
    if (call) {
      if (ran.isOverTime === true) this.#blame(call);
      else if (!call.isLate && this.#troubles.size > 0) this.#troubles.delete(keyOf(call.question, call.sender));
      this.#answer(call, ran);
    }
    this.#next();
  }

  /** The next question, if nothing else is being asked. */
  #next(): void {
    if (this.#state !== "idle") return;
    if (this.#isStale) return this.#loadNow();
    for (let call = this.#waiting.shift(); call; call = this.#waiting.shift()) {
      this.#leaveQueue(call);
      if (this.#timers.now() - call.since > waitMsMax) {
        this.#counts.turnedAway++;
        this.#answer(call, unfit(call, "was not asked: too many questions wait for scripts"));
        continue;
      }
      return this.#put(call);
    }
  }

  #put(call: Call): void {
    const { runMs } = this.#limits;
    this.#counts.asked++;
    this.#state = "asking";
    this.#asked = call;
    this.#lastId++;
    this.#deadline(runMs, () => {
      this.#blame(call);
      this.#deadline(hungMs, () => this.#child.end(`${call.question.file} did not finish`));
      this.#answer(call, unfit(call, `took more than ${runMs} ms`));
    });
    this.#child.send({ do: "ask", id: this.#lastId, question: call.question });
  }

  /** `isHung`: the process had to be killed, which delays all other questions. */
  #blame(call: Call, isHung = false): void {
    if (!call.isLate) this.#counts.overTime++;
    else if (!isHung) return;
    call.isLate = true;
    const key = keyOf(call.question, call.sender);
    const trouble = this.#troubles.get(key) ?? { times: 0, pauseMs: firstPauseMs, until: 0 };
    this.#troubles.delete(key);
    this.#troubles.set(key, trouble);
    trouble.times++;
    if (isHung) trouble.pauseMs = pauseMsMax;
    if (isHung || trouble.times >= patience) {
      trouble.until = this.#timers.now() + trouble.pauseMs;
      trouble.pauseMs = Math.min(trouble.pauseMs * 2, pauseMsMax);
    }
    if (this.#troubles.size <= sendersMax) return;
    for (const oldest of this.#troubles.keys()) {
      this.#troubles.delete(oldest);
      return;
    }
  }

  #answer(call: Call, answer: Answer): void {
    const { done } = call;
    call.done = undefined;
    done?.(answer);
  }

  #forget(call: Call): void {
    if (!call.done) return;
    call.done = undefined;
    if (this.#asked === call) return;
    this.#waiting.splice(this.#waiting.indexOf(call), 1);
    this.#leaveQueue(call);
  }

  #leaveQueue({ question }: Call): void {
    this.#waitingBytes -= question.payload.byteLength;
  }

  #answerAll(why: string): void {
    const calls = [...(this.#asked ? [this.#asked] : []), ...this.#waiting.splice(0)];
    this.#asked = undefined;
    this.#waitingBytes = 0;
    for (const call of calls) if (call.done) this.#answer(call, unfit(call, `was not asked: ${why}`));
  }

  #deadline(ms: number, call: () => void): void {
    this.#stopDeadline?.();
    this.#stopDeadline = this.#timers.after(ms, call);
  }

  #gone({ why, pauseMs }: Gone): void {
    const call = this.#asked;
    this.#state = "none";
    this.#stopDeadline?.();
    if (call) this.#blame(call, true); // probably this call was the cause
    this.#told(
      "warn",
      `the process for scripts ended: ${why}. Payloads are forwarded unchanged; the process is started again in ${pauseMs / 1_000} s`,
    );
    this.#answerAll("the process for scripts ended");
    this.#onWorking?.();
  }
}

function keyOf({ file, is }: Question, sender: string): string {
  return `${is} ${file}\0${sender}`;
}

function unfit({ question }: Call, why: string): Answer {
  return { is: "unfit", why: `${question.file} ${why}` };
}

/** Megabytes of the heap outside the interpreter. */
const heapMegabytes = 64;

function spawnChild(limits: Limits): Spawned {
  return fork(childFile("script/child.js"), [JSON.stringify(limits)], {
    // The environment is empty, because the gateway's variables must not reach scripts.
    env: {},
    serialization: "advanced",
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    execArgv: [`--max-old-space-size=${heapMegabytes}`],
  });
}
