/** Sensors that broadcast: what of an advertisement is taken for a PUBLISH, once. The byte examples are the profile's. */
import { createCipheriv } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BroadcastReceiver, broadcastPayload, broadcastTag } from "../../../../src/transports/ble/broadcast.ts";
import { CountersFile } from "../../../../src/transports/ble/counters-file.ts";
import { readKeys } from "../../../../src/transports/ble/keys.ts";
import { bleOptions } from "../../../../src/transports/ble/options.ts";
import { decode } from "../../../../src/wire/v12/codec.ts";
import { ScriptedTimers } from "../../../helpers/scripted-central.ts";

const address = "c0:98:e5:00:00:01";
const key = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const settings = (more: Record<string, unknown> = {}) => bleOptions.parse({ type: "ble", broadcast: more }).broadcast;

function receiver(more: Record<string, unknown> = {}, keys = new Map<string, Uint8Array>()) {
  return new BroadcastReceiver(settings(more), keys);
}

function plain(counter: number, data = "2137"): Buffer {
  return hex(`a1 0007 ${counter.toString(16).padStart(4, "0")} ${data}`);
}

function authentic(counter: number, data = "2137", by = key, from = address): Buffer {
  const body = hex(`a9 0007 ${counter.toString(16).padStart(8, "0")} ${data}`);
  return Buffer.concat([body, broadcastTag(by, from, body)]);
}

function secret(counter: number, by = key, from = address): Buffer {
  const head = hex(`b9 0007 ${counter.toString(16).padStart(8, "0")}`);
  const nonce = Buffer.concat([hex(from.replaceAll(":", "")), head]);
  const cipher = createCipheriv("aes-128-ccm", by, nonce, { authTagLength: 4 });
  return Buffer.concat([head, cipher.update(hex("2137")), cipher.final(), cipher.getAuthTag()]);
}

describe("encrypted", () => {
  const keys = new Map([[address, key]]);

  test("what was encrypted for this sender comes out, once, and its counter is that of its other messages", () => {
    const taken = receiver({}, keys);
    const outcome = taken.receive(address, secret(7), 0);
    expect("message" in outcome && decode(outcome.message)).toMatchObject({
      message: { type: "PUBLISH", qos: -1, topicIdType: "predefined", topicId: 7, data: Uint8Array.of(0x21, 0x37) },
    });
    expect(outcome).toMatchObject({ authenticated: true, counter: 7 });
    expect(taken.receive(address, secret(7), 1)).toEqual({ dropped: "duplicate" });
    expect(taken.receive(address, authentic(6), 2)).toEqual({ dropped: "replayed" });
    expect(taken.receive(address, secret(8), 3)).toHaveProperty("message");
  });

  test("one changed octet, another key, another sender, no key, a longer key: nothing", () => {
    for (let i = 0; i < secret(7).length; i++) {
      const changed = secret(7).map((octet, at) => (at === i ? octet ^ 0x20 : octet));
      expect(receiver({}, keys).receive(address, changed, 0)).toHaveProperty("dropped");
    }
    expect(receiver({}, keys).receive(address, secret(7, Buffer.alloc(16)), 0)).toEqual({ dropped: "wrong-tag" });
    const copied = secret(7, key, "c0:98:e5:00:00:02");
    expect(receiver({}, keys).receive(address, copied, 0)).toEqual({ dropped: "wrong-tag" });
    expect(receiver().receive(address, secret(7), 0)).toEqual({ dropped: "no-key" });
    const long = new Map([[address, Buffer.alloc(32)]]);
    expect(receiver({}, long).receive(address, secret(7), 0)).toEqual({ dropped: "wrong-tag" });
  });

  test("encrypted without a tag is nothing", () => {
    expect(receiver({}, keys).receive(address, hex("b1 0007 0001 2137"), 0)).toEqual({ dropped: "malformed" });
  });
});

describe("which advertisements are broadcasts", () => {
  const seen = { manufacturerData: [hex("ffff a1 0007 0001 2137")], serviceData: [] };

  test("manufacturer data of the company, marked; service data of the service, marked; nothing else", () => {
    expect(broadcastPayload(seen, settings())).toEqual(hex("a1 0007 0001 2137"));
    expect(broadcastPayload(seen, settings({ companyId: 0x0059 }))).toBeUndefined();
    expect(broadcastPayload(seen, settings({ companyId: null }))).toBeUndefined();
    expect(broadcastPayload(seen, settings({ enabled: false }))).toBeUndefined();
    expect(broadcastPayload({ ...seen, manufacturerData: [hex("ffff 0215")] }, settings())).toBeUndefined();
    expect(broadcastPayload({ ...seen, manufacturerData: [hex("ffff")] }, settings())).toBeUndefined();
    const inService = { manufacturerData: [], serviceData: [{ uuid: "fdf0", data: plain(1) }] };
    expect(broadcastPayload(inService, settings())).toBeUndefined();
    expect(broadcastPayload(inService, settings({ serviceUuid: "FDF0" }))).toEqual(plain(1));
  });
});

describe("a broadcast becomes PUBLISH with QoS -1", () => {
  test("predefined topic, short topic, retain", () => {
    const take = (payload: Buffer) => {
      const outcome = receiver().receive(address, payload, 0);
      expect(outcome).toHaveProperty("message");
      return "message" in outcome ? decode(outcome.message) : undefined;
    };
    expect(take(hex("a1 0007 0001 2137"))).toMatchObject({
      ok: true,
      message: { type: "PUBLISH", qos: -1, retain: false, topicIdType: "predefined", topicId: 7, msgId: 0 },
    });
    expect(take(hex("a6 7431 0001 35"))).toMatchObject({
      message: { topicIdType: "short", topicId: 0x7431, retain: true, data: Uint8Array.of(0x35) },
    });
    expect(take(hex(`a1 0007 0001 ${"11".repeat(300)}`))).toMatchObject({ ok: true, message: { topicId: 7 } });
  });

  test("whatever comes, it is a whole PUBLISH or dropped with a reason", () => {
    const counts = fc.uint8Array({ minLength: 0, maxLength: 300 });
    fc.assert(
      fc.property(counts, (bytes) => {
        const outcome = receiver({}, new Map([[address, key]])).receive(address, bytes, 0);
        if ("message" in outcome) expect(decode(outcome.message)).toMatchObject({ message: { qos: -1 } });
        else expect(outcome.dropped).not.toBe("");
      }),
    );
  });

  test("too short, or of a topic kind that QoS -1 does not have", () => {
    for (const bad of ["a1 0007 00", "a0 0007 0001", "a3 0007 0001", "a9 0007 00000001 010203"]) {
      expect(receiver().receive(address, hex(bad), 0)).toEqual({ dropped: "malformed" });
    }
  });
});

describe("once", () => {
  test("repeats are dropped, also across the counter's end", () => {
    const taken = receiver();
    const outcomes = [0xfffe, 0xfffe, 0xffff, 0xffff, 0, 0, 1].map((n) => taken.receive(address, plain(n), n));
    expect(outcomes.map((outcome) => ("message" in outcome ? "taken" : outcome.dropped))).toEqual([
      "taken",
      "duplicate",
      "taken",
      "duplicate",
      "taken",
      "duplicate",
      "taken",
    ]);
  });

  test("a late copy is refused; a sensor that starts anew is not: soon with a far counter, later with any", () => {
    const taken = receiver();
    taken.receive(address, plain(100), 0);
    expect(taken.receive(address, plain(90), 1_000)).toEqual({ dropped: "replayed" });
    expect(taken.receive(address, plain(0), 1_000)).toHaveProperty("message");
    taken.receive(address, plain(10), 2_000);
    expect(taken.receive(address, plain(1), 62_000)).toHaveProperty("message");
  });

  test("two senders do not disturb each other; the longest silent is forgotten first", () => {
    const taken = receiver({ sendersMax: 2 });
    for (const sender of ["a", "b", "a", "c"]) taken.receive(sender, plain(5), 0);
    expect(taken.senders).toBe(2);
    expect(taken.receive("a", plain(5), 0)).toEqual({ dropped: "duplicate" });
    expect(taken.receive("b", plain(5), 0)).toHaveProperty("message");
  });

  test("so many a minute, per sender", () => {
    const taken = receiver({ perMinuteMax: 3 });
    const at = (n: number, ms: number) => taken.receive(address, plain(n), ms);
    for (let n = 0; n < 3; n++) expect(at(n, 0)).toHaveProperty("message");
    expect(at(3, 59_999)).toEqual({ dropped: "too-many" });
    expect(at(4, 60_000)).toHaveProperty("message");
  });
});

describe("authenticated", () => {
  const keys = new Map<string, Uint8Array>([[address, key]]);

  test("the tag of the profile's example", () => {
    expect(authentic(1).toString("hex")).toBe("a90007000000012137fb395942"); // as another HMAC made it
    expect(receiver({}, keys).receive(address, authentic(1), 0)).toMatchObject({ authenticated: true, counter: 1 });
  });

  test("a wrong key, a changed octet, another address, an old counter: all refused", () => {
    const taken = receiver({}, keys);
    const changed = authentic(5);
    changed[8] = 0x00;
    expect(taken.receive(address, authentic(5, "2137", Buffer.alloc(16, 1)), 0)).toEqual({ dropped: "wrong-tag" });
    expect(taken.receive(address, changed, 0)).toEqual({ dropped: "wrong-tag" });
    expect(taken.receive("c0:98:e5:00:00:02", authentic(5), 0)).toEqual({ dropped: "no-key" });
    expect(taken.receive(address, plain(5), 0)).toEqual({ dropped: "not-authenticated" });
    expect(taken.receive(address, authentic(5), 0)).toHaveProperty("message");
    expect(taken.receive(address, authentic(5), 0)).toEqual({ dropped: "duplicate" });
    expect(taken.receive(address, authentic(4), 3_600_000)).toEqual({ dropped: "replayed" });
    expect(receiver({ unknownSenders: false }).receive(address, plain(1), 0)).toEqual({ dropped: "not-authenticated" });
  });

  test("forged tags do not use up the sender's minute", () => {
    const taken = receiver({ perMinuteMax: 1 }, keys);
    for (let n = 1; n < 100; n++) taken.receive(address, authentic(n, "00", Buffer.alloc(16)), 0);
    expect(taken.receive(address, authentic(100), 0)).toHaveProperty("message");
  });

  test("after a restart nothing old is let through: the counters are kept", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ble-counters-"));
    const path = join(folder, "counters.json");
    const timers = new ScriptedTimers();
    const file = new CountersFile(path, timers, () => {});
    file.note(address, 41);
    file.note(address, 42);
    timers.pass(1_000);
    await file.close();
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ [address]: 42 });
    const again = new BroadcastReceiver(settings(), keys, new CountersFile(path, timers, () => {}).read());
    expect(again.receive(address, authentic(42), 0)).toEqual({ dropped: "duplicate" });
    expect(again.receive(address, authentic(41), 0)).toEqual({ dropped: "replayed" });
    expect(again.receive(address, authentic(43), 0)).toHaveProperty("message");
    writeFileSync(path, "{ damaged");
    expect(new CountersFile(path, timers, () => {}).problems.join()).toMatch(/damaged/);
    rmSync(folder, { recursive: true });
  });

  test("a folder that is gone is said once", async () => {
    const timers = new ScriptedTimers();
    const said: string[] = [];
    const file = new CountersFile("/nonexistent/counters.json", timers, (say) => said.push(say));
    for (let n = 1; n < 4; n++) {
      file.note(address, n);
      await file.close();
    }
    expect(said).toHaveLength(1);
  });

  test("keys come from files and variables; a bad one is named, never shown", () => {
    process.env["TEST_BLE_KEY"] = key.toString("hex");
    expect(readKeys({ [address.toUpperCase()]: { env: "TEST_BLE_KEY" } }).get(address)).toEqual(key);
    process.env["TEST_BLE_KEY"] = "secret-but-not-hex";
    expect(() => readKeys({ [address]: { env: "TEST_BLE_KEY" } })).toThrow(
      /c0:98:e5:00:00:01: variable TEST_BLE_KEY: is not/,
    );
    expect(() => readKeys({ [address]: { env: "TEST_BLE_KEY" } })).not.toThrow(/secret/);
    expect(() => readKeys({ [address]: { file: "/nonexistent" } })).toThrow(/ENOENT/);
  });
});

test("a sensor that is forgotten may count anew; the file forgets it too", async () => {
  const folder = mkdtempSync(join(tmpdir(), "counters-"));
  const path = join(folder, "counters.json");
  writeFileSync(path, JSON.stringify({ [address]: 500, "c0:00:00:00:00:99": 7 }));
  const counters = new CountersFile(path, new ScriptedTimers(), () => {});
  const receiver = new BroadcastReceiver(settings(), new Map([[address, key]]), counters.read());
  const outcome = () => receiver.receive(address, authentic(3), 0);
  expect(outcome()).toEqual({ dropped: "replayed" });
  expect([receiver.forget(address), counters.forget(address)]).toEqual([true, true]);
  expect(outcome()).toMatchObject({ counter: 3 });
  expect([receiver.forget("c0:00:00:00:00:55"), counters.forget(address)]).toEqual([false, false]);
  await counters.close();
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ "c0:00:00:00:00:99": 7 });
  rmSync(folder, { recursive: true });
});
