/** A compiled part, built with sanitizers and run in a separate process. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const runtime = spawnSync("cc", ["-print-file-name=libasan.so"], { encoding: "utf8" }).stdout?.trim() ?? "";

/** Why it cannot be done here, for the name of the test that is skipped; "": it can. */
export const noSanitizers = runtime.startsWith("/") ? "" : " (skipped: no C compiler with sanitizers)";

/** `exercise`: a program of test/helpers, that is given the built part and `words`, and says "done". */
export function expectNothingOutsideItsMemory(part: string, exercise: string, words: readonly string[] = []): void {
  const folder = mkdtempSync(join(tmpdir(), "sanitized-"));
  try {
    const built = join(folder, `${part}.node`);
    const flags = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"];
    const checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    const compiled = spawnSync("cc", [...flags, ...checks, "-o", built, join(root, `native/${part}.c`)]);
    expect(compiled.stderr.toString()).toBe("");
    const args = ["--expose-gc", join(root, "test/helpers", exercise), built, ...words];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      encoding: "utf8",
      env: {
        ...process.env,
        LD_PRELOAD: runtime,
        ASAN_OPTIONS: "detect_leaks=0",
        UBSAN_OPTIONS: "print_stacktrace=1",
      },
    });
    expect({ status, stderr, stdout }).toEqual({ status: 0, stderr: "", stdout: "done\n" });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
