/** A device that was written in C from docs/guide/ble-profile.md alone: what the page says is enough to be understood. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { missingCompiler } from "../hardware/compiler.ts";
import { until } from "../helpers/test-gateway.ts";
import { BleLab, missingFromLab } from "./lab/lab.ts";

const missing = missingFromLab() ?? missingCompiler();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;
const source = join(import.meta.dirname, "lab/profile-device.c");

describe.skipIf(missing !== undefined)(`a device from the profile page${named}`, () => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  test.each(["raw", "user"])("connects at the first try; QoS 0, 1 and 2 both ways (channel %s)", async (channel) => {
    const folder = mkdtempSync(join(tmpdir(), "profile-device-"));
    open.push({ close: () => rmSync(folder, { recursive: true }) });
    const program = join(folder, "profile-device");
    execFileSync("cc", ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, source], { stdio: "pipe" });
    const at = await BleLab.start({ channel });
    open.push(at);
    const device = spawn(program, [at.socket, "from-page"], { stdio: ["ignore", "pipe", "pipe"] });
    open.push({ close: () => device.kill() });
    const said = linesOf(device);
    for (const qos of [0, 1, 2]) {
      await at.arrives(`from-page up ${qos}`);
      await until(`published at QoS ${qos}`, () => said.includes(`published at QoS ${qos}`));
    }
    for (const qos of [0, 1, 2] as const) await at.publish("down/from-page", `for you ${qos}`, qos);
    await until("its end", () => device.exitCode !== null);
    expect(said.filter((line) => line.startsWith("down")).sort()).toEqual([
      "down 0 for you 0",
      "down 1 for you 1",
      "down 2 for you 2",
    ]);
    expect(said.filter((line) => line === "link")).toHaveLength(1);
    expect(said.at(-1)).toBe("done");
    expect([device.exitCode, [...at.seen.values()]]).toEqual([0, [1, 1, 1]]);
    await until("the goodbye", () => at.session("from-page")?.state !== "active");
  });
});

function linesOf(device: ChildProcess): string[] {
  const lines: string[] = [];
  let rest = "";
  const take = (text: Buffer) => {
    const parts = (rest + text.toString()).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
  };
  device.stdout?.on("data", take);
  device.stderr?.on("data", take);
  return lines;
}
