/** The alert rules of docs/guide/monitoring, by Prometheus's own tool. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { findPromtool } from "../helpers/find-promtool.mjs";

const program = findPromtool();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);
const folder = fileURLToPath(new URL("../../docs/guide/monitoring", import.meta.url));

function promtool(cwd: string, ...args: string[]): { status: number | null; text: string } {
  if ("missing" in program) throw new Error(program.missing);
  const { status, stdout, stderr } = spawnSync(program.path, args, { cwd, encoding: "utf8" });
  return { status, text: stdout + stderr };
}

describe.skipIf(missing !== undefined)(`alert rules${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  test("are rules", () => {
    const { status, text } = promtool(folder, "check", "rules", "alerts.yml");
    expect(text).toMatch(/12 rules found/);
    expect(status).toBe(0);
  });

  test("fire when they should, and not before", () => {
    const { status, text } = promtool(folder, "test", "rules", "alerts.test.yml");
    expect(text).toMatch(/SUCCESS/);
    expect(status).toBe(0);
  });

  test.each([
    ["mqttsn_upstream_up == 0", "mqttsn_upstream_up == 1"],
    ["14 * 86400", "7 * 86400"],
    ["> 0.1 * sum", "> 0.001 * sum"],
    ["_bucket[10m]))) > 1", "_bucket[10m]))) > 3"],
  ])("a mistake is found: %s", (rule, planted) => {
    const copy = mkdtempSync(join(tmpdir(), "alerts-"));
    try {
      cpSync(folder, copy, { recursive: true });
      const text = readFileSync(join(copy, "alerts.yml"), "utf8");
      expect(text).toContain(rule);
      writeFileSync(join(copy, "alerts.yml"), text.replace(rule, planted));
      expect(promtool(copy, "test", "rules", "alerts.test.yml").status).not.toBe(0);
    } finally {
      rmSync(copy, { recursive: true });
    }
  });
});
