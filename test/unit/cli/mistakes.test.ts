/** What people mistype ends in one sentence and with 1, never in a stack trace. */
import { afterEach, expect, test, vi } from "vitest";
import { run } from "../../../src/cli/program.ts";

const nowhere = "/there/is/no/such/file";

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = 0;
});

test.each([
  [["pub", "-t", "a", "-f", nowhere], /^ENOENT: no such file or directory, open '\/there/],
  [["pub", "-t", "a", "-m", "1", "--psk-file", nowhere], /^cannot read the secret in \/there/],
  [["pub", "-t", "a", "-m", "1", "--psk-identity", "x", "--psk-variable", "NOPE"], /^environment variable NOPE is not/],
  [["pub", "-t", "a", "-m", "1", "--cert-file", "x"], /^error: a certificate needs all of --cert-file, --key-file and/],
  [
    ["pub", "-t", "a", "-m", "1", "--cert-file", nowhere, "--key-file", nowhere, "--ca-file", nowhere],
    /^\/there\S+ cannot be read: ENOENT/,
  ],
  [["pub", "-t", "a", "-m", "1", "-h", "no.such.host.invalid"], /^getaddrinfo \w+ no\.such\.host\.invalid/],
  [["sub", "-t", "a", "--psk-file", nowhere], /^cannot read the secret in \/there/],
  [["decode", "-r", nowhere], /^decode: ENOENT/],
  [["replay", nowhere, "--to", "127.0.0.1:1"], /ENOENT/],
  [["check", "-c", nowhere], /^cannot read \/there/],
  [["backup", nowhere, "-c", nowhere], /^cannot read \/there/],
])("%j", async (words, says) => {
  let said = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
  await run(["node", "mqtt-sn-gateway", ...words]);
  expect(said).toMatch(says);
  expect(said.trim().split("\n")).toHaveLength(1);
  expect(process.exitCode).toBe(1);
});

test("what is our own mistake keeps its stack", async () => {
  const { sayProblems } = await import("../../../src/cli/problems.ts");
  expect(() => sayProblems(new TypeError("x is not a function"))).toThrow("x is not a function");
});
