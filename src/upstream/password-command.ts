/**
 * A password from a program, for tokens that expire. No shell is used. The standard output, without the last line end,
 * is the password. Neither it nor any other output is ever logged.
 *
 * Only one process runs at a time, even if many connections wait for it; all of them get its output.
 */
import { execFile } from "node:child_process";
import { performance } from "node:perf_hooks";

/** The longest password that MQTT can carry. */
const passwordBytesMax = 65_535;
/** After a refused password the command is not run again within this time. */
const pauseMs = 1_000;

export type Answer = { readonly password: Buffer } | { readonly failed: string };

export class PasswordCommand {
  readonly #command: readonly string[];
  readonly #timeoutMs: number;
  readonly #cacheMs: number;
  readonly #now: () => number;
  #waiting: ((answer: Answer) => void)[] = [];
  #kept: { readonly password: Buffer; readonly askedAt: number } | undefined;

  constructor(
    command: readonly string[],
    limits: { readonly timeoutSeconds: number; readonly cacheSeconds: number },
    now: () => number = () => performance.now(),
  ) {
    this.#command = command;
    this.#timeoutMs = limits.timeoutSeconds * 1_000;
    this.#cacheMs = limits.cacheSeconds * 1_000;
    this.#now = now;
  }

  /** Calls back, immediately if the password is still known. */
  ask(done: (answer: Answer) => void): void {
    const kept = this.#kept;
    if (kept && this.#now() - kept.askedAt < this.#cacheMs) return done({ password: kept.password });
    if (this.#waiting.push(done) === 1) this.#run();
  }

  /** The broker refused the password: the next connection runs the command again. */
  forget(): void {
    if (this.#kept && this.#now() - this.#kept.askedAt >= pauseMs) this.#kept = undefined;
  }

  #run(): void {
    const askedAt = this.#now();
    const [program = "", ...words] = this.#command;
    const settle = (answer: Answer) => {
      if ("password" in answer) this.#kept = { password: answer.password, askedAt };
      for (const done of this.#waiting.splice(0)) done(answer);
    };
    const limits = { timeout: this.#timeoutMs, killSignal: "SIGKILL", maxBuffer: passwordBytesMax + 2 } as const;
    try {
      const child = execFile(program, words, { ...limits, encoding: "buffer" }, (error, output) =>
        settle(error ? { failed: `the password command ${why(error, limits.timeout)}` } : passwordOf(output)),
      );
      child.stdin?.on("error", () => {}); // the program has ended, or does not read
      child.stdin?.end();
    } catch {
      settle({ failed: "the password command cannot be started" });
    }
  }
}

function passwordOf(output: Buffer): Answer {
  let end = output.length;
  if (output[end - 1] === 10) end--;
  if (end < output.length && output[end - 1] === 13) end--;
  if (end === 0) return { failed: "the password command printed nothing" };
  if (end > passwordBytesMax) return { failed: `the password command printed more than ${passwordBytesMax} octets` };
  return { password: Buffer.from(output.subarray(0, end)) };
}

/** Uses own texts, because Node's contain the arguments and the output of the command. */
function why(error: { code?: unknown; killed?: boolean; signal?: unknown }, timeoutMs: number): string {
  if (error.code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `printed more than ${passwordBytesMax} octets`;
  if (error.killed) return `did not end within ${timeoutMs / 1_000} s`;
  if (typeof error.code === "string") return `cannot be started (${error.code})`;
  return typeof error.code === "number" ? `ended with code ${error.code}` : `was ended by ${String(error.signal)}`;
}
