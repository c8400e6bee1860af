/** Part of the composition root: scripts for payloads, their process, and the stage at which messages wait for them. */
import { scriptEntries } from "./config/payloads.ts";
import type { GatewayConfig } from "./config/schema.ts";
import type { GatewayCore } from "./core/gateway-core.ts";
import type { Input } from "./core/input.ts";
import type { PayloadPolicy } from "./core/payloads.ts";
import { ScriptStage } from "./runtime/script-stage.ts";
import type { ScriptSource } from "./script/question.ts";
import { type RunnerCounters, ScriptRunner, type Told } from "./script/runner.ts";
import { ScriptValues } from "./script/values.ts";
import { systemTimers } from "./transports/timers.ts";

export interface ScriptParts {
  readonly core: GatewayCore;
  readonly handle: (input: Input) => void;
  readonly told: Told;
  /** Milliseconds since 1970. */
  readonly wallClock: () => number;
}

export class Scripts {
  readonly stage: ScriptStage;
  readonly values = new ScriptValues();
  readonly #runner: ScriptRunner;

  constructor({ scripts }: GatewayConfig, parts: ScriptParts) {
    const limits = { runMs: scripts.runMsMax, memoryBytes: scripts.memoryMegabytesMax * 2 ** 20 };
    this.#runner = new ScriptRunner(limits, systemTimers, parts.told);
    this.stage = new ScriptStage({ ...parts, scripts: this.#runner, values: this.values }, undefined);
  }

  get counters(): RunnerCounters {
    return this.#runner.counters;
  }

  /** Called before the first transport opens, so that every message finds the process of scripts running. */
  start(sources: readonly ScriptSource[]): Promise<void> {
    return this.#runner.start(sources);
  }

  load({ payloads }: GatewayConfig, policy: PayloadPolicy | undefined, sources?: readonly ScriptSource[]): void {
    this.stage.reload(scriptEntries(payloads, policy));
    if (sources) this.#runner.load(sources);
  }

  close(): Promise<void> {
    return this.#runner.close();
  }
}
