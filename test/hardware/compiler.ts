/** The C compiler of this machine. Where there is none, what needs it is skipped by name; in CI that is an error. */
import { execFile, spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";

export const hardware = resolve(import.meta.dirname, "../../hardware");

/** Why nothing can be compiled here; undefined = it can. @throws in CI. */
export function missingCompiler(): string | undefined {
  const missing = ["cc", "make"].filter((program) => spawnSync(program, ["--version"]).status !== 0);
  if (missing.length === 0) return undefined;
  const why = `no ${missing.join(", no ")}: sudo apt install build-essential`;
  if (process.env["CI"]) throw new Error(why);
  return why;
}

/**
 * Runs make in a folder of hardware/, without blocking this process: a router that stands still for some seconds is a network that loses
 * everything. @throws with the compiler's output.
 */
export async function make(folder: string, ...targets: string[]): Promise<void> {
  try {
    await promisify(execFile)("make", ["-s", "-C", resolve(hardware, folder), ...targets]);
  } catch (error) {
    const words = error instanceof Error && "stderr" in error ? String(error.stderr) : String(error);
    throw new Error(`${folder}: ${words}`);
  }
}
