/** Whose keys are known, and what is said of keys that are wrong: never the key. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createAccessPolicy } from "../../../src/config/access.ts";
import { accessOptions } from "../../../src/config/access-options.ts";
import type { PeerId } from "../../../src/core/types.ts";
import { BadKeyLog } from "../../../src/transports/dtls/bad-keys.ts";
import { DtlsTransport } from "../../../src/transports/dtls/dtls.ts";
import { keyFromHex, readKeys } from "../../../src/transports/dtls/key-ring.ts";
import { dtlsOptions } from "../../../src/transports/dtls/options.ts";
import { identityIn, peerOf } from "../../../src/transports/dtls/peers.ts";

const key = "00112233445566778899aabbccddeeff";
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dtls-keys-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function fileWith(content: unknown, mode = 0o600): string {
  const file = join(folder, "keys.json");
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  chmodSync(file, mode);
  return file;
}

describe("a file", () => {
  test("gives keys by identity; one that others may read is warned of", () => {
    const ring = readKeys({ file: fileWith({ dev1: key, "a/b#ü": key }) });
    expect([...(ring.all?.keys() ?? [])]).toEqual(["dev1", "a/b#ü"]);
    expect(ring.warnings).toEqual([]);
    expect(readKeys({ file: fileWith({ dev1: key }, 0o644) }).warnings[0]).toMatch(/open to other users: chmod go-rwx/);
  });

  test.each([
    [`{ "dev1": "${key}" `, /is not JSON/],
    [[key], /must have the form \{ "identity"/],
    [{ dev1: key.slice(2) }, /key of "dev1" must be 16 to 64 octets/],
    [{ dev1: `${key}0` }, /must be 16 to 64 octets/],
    [{ dev1: "my secret password" }, /must be 16 to 64 octets/],
    [{ dev1: { key } }, /must be 16 to 64 octets/],
    [{ "": key }, /1 to 128 octets/],
    [{ "a\u0007": key }, /without control characters/],
  ])("that is %j is refused, and nothing of a key is said", (content, why) => {
    const file = fileWith(content);
    let said = "";
    try {
      readKeys({ file });
    } catch (error) {
      said = String(error);
    }
    expect(said).toMatch(why);
    expect(said).not.toMatch(/00112233|password/);
  });
});

test("a folder gives them by the names of its files", () => {
  const keys = join(folder, "keys");
  mkdirSync(keys, { mode: 0o700 });
  writeFileSync(join(keys, "dev1"), `${key}\n`);
  writeFileSync(join(keys, ".hidden"), "no key");
  expect([...(readKeys({ folder: keys }).all?.keys() ?? [])]).toEqual(["dev1"]);
});

describe("a program", () => {
  const asked = (command: string[], identity: string) =>
    new Promise<Uint8Array | undefined>((done) => readKeys({ command }).ask(identity, done));

  test("reads the identity and says the key; nothing, an error or rubbish are nobody's", async () => {
    const known = ["sh", "-c", `read name; test "$name" = -dev1 && echo ${key}`];
    expect(await asked(known, "-dev1")).toEqual(keyFromHex(key));
    expect(await asked(known, "dev2")).toBeUndefined();
    expect(await asked(["sh", "-c", `echo ${key}; exit 1`], "dev1")).toBeUndefined();
    expect(await asked(["echo", "rubbish"], "dev1")).toBeUndefined();
    expect(await asked([join(folder, "no-such")], "dev1")).toBeUndefined();
  });
});

test.each(["dev1", "a/b#c", "ü 100%", "*"])("identity %s in a peer's name and back", (identity) => {
  const peer = peerOf("dtls", identity);
  expect(peer.slice(5)).not.toMatch(/[/#]/);
  expect(identityIn(peer)).toBe(identity);
});

describe("client ids of a device with a key", () => {
  function admits(clients: string | undefined, identity: string, clientId: string): boolean {
    const keys = { file: "/none" };
    const transport = new DtlsTransport(dtlsOptions.parse({ type: "dtls", keys, ...(clients && { clients }) }));
    const peer = peerOf("dtls", identity);
    const policy = createAccessPolicy(accessOptions.parse({}), (of: PeerId) => transport.hostOf(of));
    return policy.client(clientId, peer, transport.identityOf(peer)).admitted;
  }

  test.each([
    [undefined, "dev1", "dev1", true],
    [undefined, "dev1", "dev2", false],
    [undefined, "dev1", "dev1x", false],
    [undefined, "dev*", "dev1", false],
    [undefined, "dev*", "dev*", true],
    [undefined, "d.v", "dxv", false],
    ["{identity}-*", "dev1", "dev1-a", true],
    ["{identity}-*", "dev1", "dev1", false],
    ["{identity}-*", "?", "x-a", false],
    ["*", "dev1", "anything", true],
  ])("clients %j, identity %s, client id %s: %s", (clients, identity, clientId, isAdmitted) => {
    expect(admits(clients, identity, clientId)).toBe(isAdmitted);
  });

  test("it may publish at QoS -1, for it has shown who it is", () => {
    const policy = createAccessPolicy(accessOptions.parse({}), (peer: PeerId) => identityIn(peer) ?? peer);
    expect(policy.qosMinusOne(peerOf("dtls", "dev1")).admitted).toBe(true);
    expect(policy.isInside(peerOf("dtls", "dev1"))).toBe(true);
  });
});

test("wrong keys: a line for each identity and hour, and an end to them", () => {
  const log = new BadKeyLog();
  const bad = (identity: string, isKnown = true) => ({ identity, place: "192.0.2.7:5000", isKnown });
  expect(log.line(bad("dev1"), 0)).toBe('"dev1" at 192.0.2.7:5000: the key does not match');
  expect(log.line(bad("dev1"), 3_599_999)).toBeUndefined();
  expect(log.line(bad("x", false), 1)).toMatch(/there is no such identity$/);
  const lines = Array.from({ length: 1_000 }, (_, i) => log.line(bad(`${i}`), 2)).filter((line) => line !== undefined);
  expect(lines.length).toBeLessThan(60);
  expect(log.line(bad("dev1"), 3_600_000)).toBeDefined();
});
