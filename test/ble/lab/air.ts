/** The radio of a test: BlueZ's emulated controllers in a separate process, which can be killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../helpers/test-gateway.ts";
import { findBtvirt } from "./find-btvirt.mjs";

export class Air {
  readonly #folder = mkdtempSync(join(tmpdir(), "air-"));
  #btvirt: ChildProcess | undefined;

  /** Where a controller is to be had. */
  get socket(): string {
    return join(this.#folder, "bt-server-le");
  }

  /** Where one with extended advertising is. */
  get extendedSocket(): string {
    return join(this.#folder, "bt-server-bredrle");
  }

  async start(): Promise<void> {
    const found = findBtvirt();
    if ("missing" in found) throw new Error(found.missing);
    rmSync(this.socket, { force: true });
    const btvirt = spawn(found.path, ["-s"], { cwd: this.#folder, stdio: "ignore" });
    this.#btvirt = btvirt;
    btvirt.once("exit", (code, signal) => {
      if (this.#btvirt === btvirt) console.error(`btvirt ended by itself: ${signal ?? code}`);
    });
    await until("btvirt's socket", () => existsSync(this.socket) && existsSync(join(this.#folder, "bt-server-mon")));
  }

  /** kill -9: all controllers disappear at once. */
  async kill(): Promise<void> {
    const btvirt = this.#btvirt;
    this.#btvirt = undefined;
    if (!btvirt || btvirt.exitCode !== null || btvirt.signalCode !== null) return;
    const gone = new Promise((resolve) => btvirt.once("exit", resolve));
    btvirt.kill("SIGKILL");
    await gone;
    for (const name of ["bt-server-le", "bt-server-mon", "bt-server-bredr", "bt-server-bredrle", "bt-server-amp"]) {
      rmSync(join(this.#folder, name), { force: true });
    }
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
