/** An earlier version of the project, built beside this one: on the same machine in the same minute it says what is noise. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

/** The last commit that changed the gateway; empty outside of git. */
export function lastCommit(root: string): string {
  try {
    return execFileSync("git", ["log", "-1", "--format=%h", "--", "src", "native"], { cwd: root, stdio: "pipe" })
      .toString()
      .trim();
  } catch {
    return "";
  }
}

/**
 * The folder of `commit`, built in .cache/bench with the packages of this version (once). Undefined, with a word why, where
 * that cannot be: outside of git, in a clone without history, or if its sources do not compile with these packages.
 */
export async function earlierVersion(
  root: string,
  commit: string,
  say: (words: string) => void,
): Promise<string | undefined> {
  const folder = join(root, `.cache/bench/earlier-${commit}`);
  if (existsSync(join(folder, "built"))) return folder;
  say(`building ${commit}, to be asked by turns`);
  try {
    if (!/^[0-9a-f]{4,40}$/.test(commit)) throw new Error(`"${commit}" is no commit`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const archive = join(folder, "sources.tar");
    execFileSync("git", ["archive", "-o", archive, commit], { cwd: root, stdio: "pipe" });
    execFileSync("tar", ["-xf", archive, "-C", folder], { stdio: "pipe" });
    rmSync(archive);
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    for (const script of ["build", "build-native"])
      execFileSync(process.execPath, [join(folder, `scripts/${script}.mjs`)], { cwd: folder, stdio: "pipe" });
    mkdirSync(join(folder, "built"));
    return folder;
  } catch (error) {
    say(`${commit} cannot be asked: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`);
    return undefined;
  }
}
