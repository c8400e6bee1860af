/** What others chose does not move anybody's cursor. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { err, out } from "../../src/cli/output.ts";
import { createLog } from "../../src/observe/log.ts";
import { ReportLog } from "../../src/observe/reports.ts";
import { shown } from "../../src/observe/terminal.ts";

const all = [...Array(0x20).keys(), 0x7f, ...Array.from({ length: 0x20 }, (_, i) => 0x80 + i)];
const evil = String.fromCharCode(...all, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069);
/** Nothing of it but the ends of lines. */
const raw = /(?!\n)[\p{Cc}\u202a-\u202e\u2066-\u2069]/u;

afterEach(() => {
  vi.restoreAllMocks();
});

async function logged(format: "json" | "pretty"): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "log-"));
  const file = join(folder, "log");
  const fd = openSync(file, "w");
  const log = await createLog({ level: "debug", format }, fd);
  const { report, notice } = new ReportLog(log);
  const peer = `udp/${evil}:1` as const;
  report({ event: "connect_refused", clientId: `a${evil}`, peer, reason: "notSupported", why: `b"\\${evil}` });
  report({ event: "drop", reason: "malformed", clientId: undefined, peer, detail: evil });
  notice.call(new ReportLog(log), "warn", `device ${evil}`);
  log.error({ problems: [evil] }, `it failed: ${evil}`);
  closeSync(fd);
  const text = readFileSync(file, "utf8");
  rmSync(folder, { recursive: true });
  return text;
}

test("in JSON lines of the log, which say the same to a program", async () => {
  const text = await logged("json");
  expect(text).not.toMatch(raw);
  const lines = text.trimEnd().split("\n");
  expect(lines).toHaveLength(4);
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ clientId: `a${evil}`, why: `b"\\${evil}` });
});

test("in the log for people", async () => {
  const text = await logged("pretty");
  // Colours are pino-pretty's own, and there are none in a file.
  expect(text).not.toMatch(raw);
  expect(text).toContain("\\u001b");
  expect(text).toContain("\\u202e");
  // A client id cannot begin a new line.
  for (const line of text.trimEnd().split("\n")) expect(line).toMatch(/^(\[\d\d:|\s{4})/);
});

test("in what commands say, and their JSON stays what it was", () => {
  const said: string[] = [];
  const write = (text: unknown) => {
    said.push(String(text));
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(write);
  vi.spyOn(process.stderr, "write").mockImplementation(write);
  out(JSON.stringify({ clientId: evil }, undefined, 2));
  err(`there is no session of ${evil}`);
  vi.restoreAllMocks();
  expect(said.join("").replaceAll("\t", "")).not.toMatch(raw);
  expect(JSON.parse(said[0] ?? "")).toEqual({ clientId: evil });
});

test("what is text stays as it is", () => {
  const text = "Zähler/キッチン/🌡 21.5 °C\tok\n";
  expect(shown(text)).toBe(text);
});
