/** Part of the composition root: scripts for payloads, their process, and the stage at which messages wait for them. */
import { scriptEntries } from "./config/payloads.ts";
import type { GatewayConfig } from "./config/schema.ts";
import type { GatewayCore } from "./core/gateway-core.ts";
import type { Input } from "./core/input.ts";
import type { PayloadPolicy } from "./core/payloads.ts";
import { ScriptStage, type Waiting } from "./runtime/script-stage.ts";
import type { ScriptSource } from "./script/question.ts";
import { type RunnerCounters, ScriptRunner, type Told } from "./script/runner.ts";
import { ScriptValues } from "./script/values.ts";
import { systemTimers } from "./transports/timers.ts";

/**
 * What a process of the gateway has once for scripts: the process in which they run, their recent results, and the
 * count of what waits for them. The gateways of all shards of a fleet share it, so its limits are for all of them
 * together.
 */
export class ScriptProcess {
  readonly values = new ScriptValues();
  readonly waiting: Waiting = { messages: 0, bytes: 0, strangers: 0 };
  readonly runner: ScriptRunner;
  #hasBegun = false;

  constructor({ scripts }: GatewayConfig, told: Told) {
    const limits = { runMs: scripts.runMsMax, memoryBytes: scripts.memoryMegabytesMax * 2 ** 20 };
    this.runner = new ScriptRunner(limits, systemTimers, told);
  }

  /** Undefined: there were never scripts. */
  get counters(): RunnerCounters | undefined {
    return this.#hasBegun ? this.runner.counters : undefined;
  }

  /** Resolves when scripts can be asked, or the first process has failed. Without scripts, no process is started. */
  async start(sources: readonly ScriptSource[]): Promise<void> {
    if (sources.length === 0) return;
    this.#hasBegun = true;
    await this.runner.start(sources);
  }

  /** Uses these scripts from now on. */
  load(sources: readonly ScriptSource[]): void {
    if (this.#hasBegun) this.runner.load(sources);
    else void this.start(sources);
  }

  close(): Promise<void> {
    return this.runner.close();
  }
}

export interface ScriptParts {
  readonly core: GatewayCore;
  readonly handle: (input: Input) => void;
  readonly told: Told;
  /** Milliseconds since 1970. */
  readonly wallClock: () => number;
  /** The process of a fleet, which its owner starts, reloads and closes. Undefined: this gateway has its own. */
  readonly shared: ScriptProcess | undefined;
}

/** The scripts of one gateway. */
export class Scripts {
  readonly stage: ScriptStage;
  readonly values: ScriptValues;
  readonly #own: ScriptProcess | undefined;

  constructor(config: GatewayConfig, { shared, told, ...parts }: ScriptParts) {
    const process = shared ?? new ScriptProcess(config, told);
    if (!shared) this.#own = process;
    this.values = process.values;
    const { runner: scripts, values, waiting } = process;
    this.stage = new ScriptStage({ ...parts, scripts, values, waiting }, undefined);
  }

  /** Undefined: another one counts them. */
  get counters(): RunnerCounters | undefined {
    return this.#own?.runner.counters;
  }

  /** Called before the first transport opens, so that every message finds the process of scripts running. */
  async start(sources: readonly ScriptSource[]): Promise<void> {
    await this.#own?.start(sources);
  }

  load({ payloads }: GatewayConfig, policy: PayloadPolicy | undefined, sources?: readonly ScriptSource[]): void {
    this.stage.reload(scriptEntries(payloads, policy));
    if (sources) this.#own?.load(sources);
  }

  /** Nothing waits any more, and no answer reaches this gateway. A shared process continues. */
  async close(): Promise<void> {
    this.stage.end();
    await this.#own?.close();
  }
}
