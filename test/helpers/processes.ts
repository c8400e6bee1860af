/** The shipped command, and other programs, as processes of a test: `npm test` builds it first. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach } from "vitest";
import { until } from "./test-gateway.ts";

export const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

export interface Running {
  readonly child: ChildProcess;
  /** All that it said so far, and its exit code; undefined: it runs. */
  readonly output: { text: string; code: number | null | undefined };
  readonly says: (what: string, patienceMs?: number) => Promise<void>;
  readonly ends: () => Promise<void>;
}

/** Gives each test of a file its own folder. Processes that a test started there are ended with it, and the folder is removed. */
export class Processes {
  folder = "";
  readonly #running: ChildProcess[] = [];

  /** `name`: of the folder, for people. Registers hooks of the file. */
  constructor(name: string) {
    beforeEach(() => {
      this.folder = mkdtempSync(join(tmpdir(), `${name}-`));
    });
    afterEach(async () => {
      for (const child of this.#running.splice(0)) {
        if (child.exitCode === null && child.signalCode === null)
          await new Promise((done) => child.once("exit", done).kill("SIGKILL"));
      }
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  /** The shipped command; `input`: what it reads, to its end. */
  command(args: readonly string[], more: { env?: NodeJS.ProcessEnv; input?: string } = {}): Running {
    return this.program(process.execPath, [main, ...args], more);
  }

  program(
    path: string,
    args: readonly string[],
    { env = process.env, input }: { env?: NodeJS.ProcessEnv; input?: string } = {},
  ): Running {
    const child = spawn(path, args, { cwd: this.folder, env });
    this.#running.push(child);
    if (input !== undefined) child.stdin.end(input);
    const output: Running["output"] = { text: "", code: undefined };
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data) => {
        output.text += data;
      });
    child.once("exit", (code) => {
      output.code = code;
    });
    return {
      child,
      output,
      says: (what, patienceMs) => until(`"${what}" in: ${output.text}`, () => output.text.includes(what), patienceMs),
      ends: () => until(`the end of: ${output.text}`, () => output.code !== undefined),
    };
  }
}
