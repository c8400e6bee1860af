/** The far end of a serial line that is a pseudo-terminal; pty-line.c carries the octets. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { join, resolve } from "node:path";

export class PtyLine {
  readonly path: string;
  /** What the other end sent, as it came. */
  onData: (chunk: Uint8Array) => void = () => {};
  readonly #child: ChildProcessWithoutNullStreams;

  private constructor(path: string, child: ChildProcessWithoutNullStreams) {
    this.path = path;
    this.#child = child;
    child.stdout.on("data", (chunk: Uint8Array) => this.onData(chunk));
    child.stdin.on("error", () => {}); // unplugged during a write
  }

  /** Plugs a device in under this name, and answers when it can be opened. */
  static async plug(folder: string, path: string): Promise<PtyLine> {
    const child = spawn(join(folder, "pty-line"), [path]);
    await new Promise<void>((done, fail) => {
      child.stderr.once("data", () => done());
      child.once("error", fail);
      child.once("exit", (code) => fail(new Error(`pty-line ended with ${code}`)));
    });
    return new PtyLine(path, child);
  }

  /** @throws with the compiler's words. */
  static build(folder: string): void {
    const source = resolve(import.meta.dirname, "pty-line.c");
    execFileSync("cc", ["-O1", "-Wall", "-Werror", "-o", join(folder, "pty-line"), source], { stdio: "pipe" });
  }

  send(bytes: Uint8Array): void {
    this.#child.stdin.write(bytes);
  }

  async unplug(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const over = new Promise((done) => this.#child.once("exit", done));
    this.#child.stdin.end();
    await over;
  }
}
