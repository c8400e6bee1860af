/** What the gateway itself changes: whole on disk or not at all, shown by `check`, and no way in for others. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createAccessPolicy } from "../../src/config/access.ts";
import { accessOptions } from "../../src/config/access-options.ts";
import { predefinedTopics } from "../../src/config/core-options.ts";
import { parseConfig } from "../../src/config/load.ts";
import { Managed, managedInWords, managedKeys, withManagedTopics } from "../../src/config/managed.ts";
import { hashOfPassword, isPasswordOf } from "../../src/config/password-hash.ts";
import { shownConfig } from "../../src/config/shown.ts";
import type { PeerId } from "../../src/core/types.ts";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "managed-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

const store = (of: string, kind: "disk" | "memory" = "disk") => parseConfig({ store: { kind, folder: of } }).store;
const admitted = (clientId: string, from?: string) => ({
  clientId,
  at: "2026-11-28T10:00:00.000Z",
  by: "console",
  ...(from !== undefined && { from }),
});

test("who is admitted is there in the next run, in a file of the gateway's own", async () => {
  const place = folder();
  const managed = new Managed(store(place));
  // At once: none is lost.
  await Promise.all([managed.admit(admitted("a", "192.0.2.1")), managed.admit(admitted("b"))]);
  await managed.admit(admitted("a", "192.0.2.2"));
  expect(readdirSync(place)).toEqual(["managed.json"]);
  expect(statSync(join(place, "managed.json")).mode & 0o777).toBe(0o600);
  const later = new Managed(store(place));
  expect(later.state.admitted).toEqual([admitted("b"), admitted("a", "192.0.2.2")]);
  expect(managedInWords(later)).toEqual([
    expect.stringMatching(/managed\.json admits "b" from anywhere, before access\.rules are asked \(console, 2026-/),
    expect.stringContaining('admits "a" from 192.0.2.2'),
  ]);
  expect(await later.withdraw("a")).toBe(true);
  expect(await later.withdraw("a")).toBe(false);
});

test("a topic id given by hand comes before the configuration's, for all clients or one, until it is taken back", async () => {
  const place = folder();
  const managed = new Managed(store(place));
  const { topics } = parseConfig({
    topics: { predefined: { 1: "file", 2: "two" }, predefinedFor: { a: { 1: "own" } } },
  });
  expect(withManagedTopics(topics, managed.state)).toBe(topics);
  const at = "2026-11-28T10:00:00.000Z";
  await managed.predefine({ id: 1, name: "old", at });
  await managed.predefine({ id: 1, name: "hand", at });
  await managed.predefine({ id: 3, name: "three", client: "__proto__", at });
  const later = new Managed(store(place));
  expect(later.state.predefined).toHaveLength(2);
  const merged = predefinedTopics(withManagedTopics(topics, later.state));
  expect([...merged.forAll]).toEqual([
    [1, "hand"],
    [2, "two"],
  ]);
  expect([...(merged.byClientId.get("a") ?? [])]).toEqual([[1, "own"]]);
  expect([...(merged.byClientId.get("__proto__") ?? [])]).toEqual([[3, "three"]]);
  expect(managedInWords(later)).toEqual([
    expect.stringContaining('gives all clients topic id 1 = "hand", before topics.predefined'),
    expect.stringContaining('gives "__proto__" topic id 3 = "three"'),
  ]);
  expect(await later.endPredefined({ id: 3 })).toBe(false);
  expect(await later.endPredefined({ id: 1 })).toBe(true);
  expect(predefinedTopics(withManagedTopics(topics, later.state)).forAll.get(1)).toBe("file");
});

test("with a store in memory it lasts as long as the gateway", async () => {
  const place = folder();
  const managed = new Managed(store(place, "memory"));
  await managed.admit(admitted("a"));
  expect(managed.state.admitted).toHaveLength(1);
  expect(readdirSync(place)).toEqual([]);
});

test("where it cannot be written nothing is changed, and it is said", async () => {
  const place = join(folder(), "not-there");
  const managed = new Managed(store(place));
  await expect(managed.admit(admitted("a"))).rejects.toThrow(/managed\.json cannot be written: ENOENT/);
  expect(managed.state.admitted).toEqual([]);
});

test("a file that is none is a problem with its place, and no hash is repeated", () => {
  const place = folder();
  const file = join(place, "managed.json");
  writeFileSync(file, "{");
  expect(() => new Managed(store(place))).toThrow(/not valid/);
  writeFileSync(file, JSON.stringify({ version: 1, console: { password: "secret" } }));
  try {
    new Managed(store(place));
    expect.unreachable();
  } catch (error) {
    const text = JSON.stringify(error);
    expect(text).toContain("managed.json: console.password: is no hash");
    expect(text).not.toContain("secret");
  }
});

test("a new password logs everybody out; of a log-in only the hash is kept", async () => {
  const place = folder();
  const managed = new Managed(store(place));
  await managed.changeLogins(() => [{ hash: "h", role: "viewer", until: 1 }]);
  const hash = await hashOfPassword("correct horse");
  await managed.setPassword(hash, true);
  expect(managed.state.console).toEqual({ password: hash, isForLan: true, logins: [], tokens: [] });
  expect(readFileSync(join(place, "managed.json"), "utf8")).not.toContain("correct");
  expect(await isPasswordOf(hash, "correct horse")).toBe(true);
  expect(await isPasswordOf(hash, "correct horsf")).toBe(false);
  expect(await isPasswordOf("nonsense", "")).toBe(false);
});

test("tokens for programs: only their hashes are kept, and a new password does not end them", async () => {
  const place = folder();
  const managed = new Managed(store(place));
  const one = { name: "graphs", role: "viewer", hash: "a1".repeat(32), added: "2026-11-28T10:00:00.000Z" } as const;
  await managed.addToken(one);
  await managed.addToken({ ...one, name: "robot", role: "operator" });
  await expect(managed.addToken(one)).rejects.toThrow(/there is a token graphs/);
  await managed.setPassword(await hashOfPassword("correct horse"), true);
  const later = new Managed(store(place));
  expect(later.state.console.tokens.map(({ name }) => name)).toEqual(["graphs", "robot"]);
  expect(managedInWords(later).join()).toMatch(
    /managed\.json has tokens for programs: graphs \(viewer\), robot \(operator\)/,
  );
  expect(managedInWords(later).join()).not.toContain("a1a1");
  expect(await later.removeToken("graphs")).toBe(true);
  expect(await later.removeToken("graphs")).toBe(false);
});

test("who was admitted by hand comes before the rules, word for word, and from where it was said", () => {
  const hostOf = (peer: PeerId) => peer.replace(/^[^/]*\/(.*):\d+$/, "$1");
  const policy = createAccessPolicy(accessOptions.parse({ default: "deny", rules: [{ deny: "a" }] }), hostOf, [
    { clientId: "a", from: "192.0.2.1" },
    { clientId: "*" },
  ]);
  const asked = (clientId: string, peer: PeerId) =>
    policy.client(clientId, peer, { name: hostOf(peer), by: "address", verified: false }).admitted;
  expect(asked("a", "udp/192.0.2.1:5")).toBe(true);
  expect(asked("a", "udp/192.0.2.2:5")).toBe(false);
  expect(asked("*", "udp/192.0.2.2:5")).toBe(true);
  expect(asked("b", "udp/192.0.2.1:5")).toBe(false);
});

test("the configuration is shown without what is secret, or may be", () => {
  const config = parseConfig({
    upstream: {
      url: "mqtts://user:s3cret@broker.example",
      password: { file: "password" },
      credentials: [{ clients: "a*", passwordCommand: ["say", "s3cret"] }],
    },
  });
  const text = JSON.stringify(shownConfig(config));
  expect(text).not.toContain("s3cret");
  expect(text).toContain('"password":{"file":"password"}');
});

test("keys of devices: kept for their owner alone, found by name, shown nowhere", async () => {
  const place = folder();
  const managed = new Managed(store(place));
  const device = (name: string, key: string) => ({ name, key, added: "2026-11-28T10:00:00.000Z" });
  await managed.keepDevice(device("dev1", "00".repeat(16)));
  await managed.keepDevice(device("dev2", "a1".repeat(16)));
  await managed.keepDevice(device("dev1", "b2".repeat(16)));
  expect(statSync(join(place, "managed.json")).mode & 0o777).toBe(0o600);
  const later = new Managed(store(place));
  expect([...managedKeys(later)].map(([name, key]) => [name, Buffer.from(key).toString("hex")])).toEqual([
    ["dev2", "a1".repeat(16)],
    ["dev1", "b2".repeat(16)],
  ]);
  expect(managedKeys(later)).toBe(managedKeys(later));
  expect(managedInWords(later).join()).toMatch(/keys of 2 devices: dev2, dev1/);
  expect(managedInWords(later).join()).not.toMatch(/a1a1|b2b2/);
  expect(await later.removeDevice("dev1")).toBe(true);
  expect(await later.removeDevice("dev1")).toBe(false);
  expect([...managedKeys(later).keys()]).toEqual(["dev2"]);
});

test.each(["", "a/b", "#", "a*", "a b", "x".repeat(65)])("no device is called %j", async (name) => {
  const place = folder();
  const devices = [{ name, key: "a1".repeat(16), added: "" }];
  writeFileSync(join(place, "managed.json"), JSON.stringify({ version: 1, devices }));
  let refused: unknown;
  try {
    new Managed(store(place));
  } catch (error) {
    refused = error;
  }
  expect(JSON.stringify(refused)).toMatch(/devices\.0\.name/);
  expect(JSON.stringify(refused)).not.toContain("a1a1");
});
