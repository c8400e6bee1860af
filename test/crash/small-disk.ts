/** A file system of a few megabytes, where this machine lets us mount one. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class SmallDisk {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** undefined: nothing may be mounted here; an error in CI. */
  static mount(megabytes: number): SmallDisk | undefined {
    const folder = mkdtempSync(join(tmpdir(), "small-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "small", folder], { stdio: "ignore" });
      return new SmallDisk(folder);
    } catch (cause) {
      rmSync(folder, { recursive: true });
      if (process.env["CI"]) throw new Error("a small file system cannot be mounted here", { cause });
      return undefined;
    }
  }

  /** Fills the disk up to this free space. */
  fill(leaveBytes = 0): void {
    const filler = join(this.folder, "filler");
    const piece = Buffer.alloc(65_536);
    try {
      for (;;) writeFileSync(filler, piece, { flag: "a" });
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    }
    if (leaveBytes > 0) execFileSync("truncate", ["-s", `-${leaveBytes}`, filler]);
  }

  empty(): void {
    rmSync(join(this.folder, "filler"), { force: true });
  }

  /** @throws while a process has a file open for writing */
  set readOnly(readOnly: boolean) {
    execFileSync("mount", ["-o", `remount,${readOnly ? "ro" : "rw"}`, this.folder], { stdio: "ignore" });
  }

  unmount(): void {
    execFileSync("umount", ["-l", this.folder]);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
