/** BTHome sensors: which become messages, under which topic, and how often. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseConfig } from "../../../../src/config/load.ts";
import { encryptBthome } from "../../../../src/payload/bthome.ts";
import { BroadcastReceiver } from "../../../../src/transports/ble/broadcast.ts";
import { BthomeReceiver, bthomeCounterName, bthomeData } from "../../../../src/transports/ble/bthome.ts";
import { addressOfPeer, bthomePeer, isBthomePeer } from "../../../../src/transports/ble/bthome-peer.ts";
import { CountersFile } from "../../../../src/transports/ble/counters-file.ts";
import { BleHub } from "../../../../src/transports/ble/hub.ts";
import { readBindKeys } from "../../../../src/transports/ble/keys.ts";
import { bleOptions } from "../../../../src/transports/ble/options.ts";
import { decode } from "../../../../src/wire/v12/codec.ts";
import { ScriptedTimers } from "../../../helpers/scripted-central.ts";

const address = "54:48:e6:8f:80:a5";
const key = Buffer.from("231d39c1d7cc1ab1aee224cd096db932", "hex");
const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const clear = hex("40 02ca09 03bf13");
const encrypted = (counter: number, plain = clear) => encryptBthome(plain, { address, key, counter });
const device = { address, name: "ATC_8F80A5", services: [], rssi: -70 };

function receiver(
  rules: readonly Record<string, unknown>[] = [{ topic: "home/{address}" }],
  more: { keys?: Map<string, Uint8Array>; counters?: Map<string, number>; broadcast?: Record<string, unknown> } = {},
) {
  const { broadcast } = bleOptions.parse({ type: "ble", broadcast: { bthome: { rules }, ...more.broadcast } });
  return new BthomeReceiver(broadcast, more.keys ?? new Map(), more.counters);
}

/** Topic and payload of each message, or why there is none. */
function told(outcome: ReturnType<BthomeReceiver["receive"]>): unknown {
  if ("dropped" in outcome) return outcome.dropped;
  return outcome.messages.map((bytes) => {
    const decoded = decode(bytes);
    if (!decoded.ok || decoded.message.type !== "PUBLISH") throw new Error("no PUBLISH");
    const { qos, topicIdType, topicId, data, retain } = decoded.message;
    expect([qos, topicIdType]).toEqual([-1, "normal"]);
    const text = Buffer.from(data);
    return `${text.subarray(0, topicId)} ${text.subarray(topicId)}${retain ? " retained" : ""}`;
  });
}

describe("topics by rule", () => {
  test("all readings as one JSON object, or each under its name", () => {
    expect(told(receiver().receive(device, clear, 0))).toEqual([
      'home/5448e68f80a5 {"temperature":25.06,"humidity":50.55}',
    ]);
    const each = receiver([{ topic: "home/{address}/{reading}", retain: true }]);
    expect(told(each.receive(device, hex("40 0009 02ca09 1a01 3c0103"), 0))).toEqual([
      "home/5448e68f80a5/temperature 25.06 retained",
      "home/5448e68f80a5/door true retained",
      'home/5448e68f80a5/dimmer {"steps":-3} retained',
    ]);
  });

  test("the first rule that fits: by address, by name; none: dropped", () => {
    const rules = [
      { address: "a4:c1:38:*", topic: "a" },
      { name: "ATC_*", topic: "b" },
    ];
    const by = (more: Partial<typeof device>) => told(receiver(rules).receive({ ...device, ...more }, clear, 0));
    expect(by({ address: "a4:c1:38:00:00:01" })).toEqual([expect.stringMatching(/^a /)]);
    expect(by({})).toEqual([expect.stringMatching(/^b /)]);
    expect(by({ name: "other" })).toBe("no-rule");
    expect(receiver([]).isWanted).toBe(false);
  });

  test.each(["a/+", "a/#", "a/{nothing}", "a/{address", ""])("no topic: %s", (topic) => {
    expect(() => bleOptions.parse({ type: "ble", broadcast: { bthome: { rules: [{ topic }] } } })).toThrow();
  });
});

describe("each reading once", () => {
  test("by its packet id for a minute; without one by its octets for ten seconds", () => {
    const withId = (id: string) => hex(`40 00${id} 02ca09`);
    const one = receiver();
    const at = (data: Buffer, now: number) => {
      const outcome = told(one.receive(device, data, now));
      return typeof outcome === "string" ? outcome : "taken";
    };
    expect([at(withId("01"), 0), at(withId("01"), 59_000), at(withId("02"), 59_500)]).toEqual([
      "taken",
      "duplicate",
      "taken",
    ]);
    expect([at(withId("02"), 120_000), at(clear, 120_001), at(clear, 130_000)]).toEqual([
      "taken",
      "taken",
      "duplicate",
    ]);
    expect(at(clear, 130_001)).toBe("taken");
  });

  test("no more in a minute than allowed; senders are bounded", () => {
    const few = receiver(undefined, { broadcast: { perMinuteMax: 2, sendersMax: 10 } });
    const outcomes = ["01", "02", "03"].map((id) => told(few.receive(device, hex(`40 00${id} 0161`), 0)));
    expect(outcomes[2]).toBe("too-many");
    for (let i = 0; i < 100; i++)
      few.receive({ ...device, address: `54:48:e6:8f:00:${String(i).padStart(2, "0")}` }, clear, 0);
    expect(few.senders).toBe(10);
  });
});

describe("encrypted sensors", () => {
  const keys = new Map([[address, key]]);

  test("the counter only rises; a copy is none, and what is in clear or by another key is nobody's", () => {
    const with_ = receiver(undefined, { keys });
    expect(with_.receive(device, encrypted(7), 0)).toMatchObject({ counter: 7 });
    expect(told(with_.receive(device, encrypted(7), 0))).toBe("duplicate");
    expect(told(with_.receive(device, encrypted(6), 1e9))).toBe("replayed");
    expect(told(with_.receive(device, encrypted(8), 0))).toHaveLength(1);
    expect(told(with_.receive(device, clear, 0))).toBe("not-authenticated");
    const changed = Buffer.from(encrypted(9));
    changed.writeUInt8(changed.readUInt8(2) ^ 1, 2);
    expect(told(with_.receive(device, changed, 0))).toBe("wrong-tag");
    expect(told(receiver().receive(device, encrypted(9), 0))).toBe("no-key");
    const closed = receiver(undefined, { broadcast: { unknownSenders: false } });
    expect(told(closed.receive(device, clear, 0))).toBe("not-authenticated");
  });

  test("a message that was refused for its rate does not move the counter", () => {
    const one = receiver(undefined, { keys, broadcast: { perMinuteMax: 1 } });
    one.receive(device, encrypted(1), 0);
    expect(told(one.receive(device, encrypted(2), 0))).toBe("too-many");
    expect(told(one.receive(device, encrypted(2), 60_000))).toHaveLength(1);
  });

  test("counters survive a restart, beside those of our own broadcasts, until the sensor is forgotten", async () => {
    const folder = mkdtempSync(join(tmpdir(), "bthome-"));
    const path = join(folder, "counters.json");
    const file = new CountersFile(path, new ScriptedTimers(), () => {});
    file.note(bthomeCounterName(address), 41);
    file.note(address, 5);
    await file.close();
    const again = receiver(undefined, {
      keys,
      counters: new Map(new CountersFile(path, new ScriptedTimers(), () => {}).read()),
    });
    expect(told(again.receive(device, encrypted(41), 0))).toBe("duplicate");
    expect(told(again.receive(device, encrypted(40), 0))).toBe("replayed");
    expect([again.forget(address), file.forget(address)]).toEqual([true, true]);
    await file.close();
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({});
    expect(told(again.receive(device, encrypted(1), 0))).toHaveLength(1);
    expect(again.forget("54:48:e6:8f:80:a6")).toBe(false);
    rmSync(folder, { recursive: true });
  });

  test("a bind key has 16 octets", () => {
    process.env["TEST_BIND_KEY"] = key.toString("hex");
    expect(readBindKeys({ [address]: { env: "TEST_BIND_KEY" } }).get(address)).toEqual(key);
    process.env["TEST_BIND_KEY"] = `${key.toString("hex")}00`;
    expect(() => readBindKeys({ [address]: { env: "TEST_BIND_KEY" } })).toThrow(/is not 32 hexadecimal digits/);
  });
});

test.each([
  ["version 1", "20 02ca09"],
  ["nothing known in it", "40 ff01"],
  ["only a packet id", "40 0001"],
  ["nothing", ""],
])("no reading: %s", (_what, octets) => {
  expect(told(receiver().receive(device, hex(octets), 0))).toBe("malformed");
});

describe("in the hub and the configuration", () => {
  const options = bleOptions.parse({ type: "ble", broadcast: { bthome: { rules: [{ topic: "home/{address}" }] } } });
  const seen = {
    ...({ is: "seen", addressType: "public", connectable: false, manufacturerData: [] } as const),
    ...device,
    serviceData: [{ uuid: "fcd2", data: encrypted(1) }],
  };

  test("a message of a peer of its own, a counter to be stored, what is dropped is counted", () => {
    const bthome = new BthomeReceiver(options.broadcast, new Map([[address, key]]));
    const hub = new BleHub(options, new BroadcastReceiver(options.broadcast, new Map()), bthome);
    hub.onCentral(seen, 0);
    const outputs = hub.take();
    expect(outputs).toMatchObject([
      { kind: "counter", address: `bthome/${address}`, counter: 1 },
      { kind: "message", address: `bthome:${address}` },
    ]);
    hub.onCentral({ ...seen, serviceData: [{ uuid: "fcd2", data: clear }] }, 0);
    expect(hub.counters).toMatchObject({ broadcasts: 1, broadcastDrops: { "not-authenticated": 1 } });
    expect(bthomeData(seen, false)).toBeUndefined();
  });

  test("only such a peer may name a topic [i20] [6.8]", async () => {
    const { coreOptions } = await import("../../../../src/config/core-options.ts");
    const config = parseConfig({ transports: [{ type: "udp" }, { type: "ble", name: "radio" }] });
    const { longNameQoSMinusOne } = coreOptions(config, {} as never);
    expect(longNameQoSMinusOne(`radio/${bthomePeer(address)}`)).toBe(true);
    for (const peer of [`radio/${address}`, "udp/bthome:1", `udp/${address}`, undefined] as const) {
      expect(longNameQoSMinusOne(peer), peer).toBe(false);
    }
    expect(isBthomePeer("radio", "radio/x")).toBe(false);
    expect([addressOfPeer(bthomePeer(address)), addressOfPeer(address)]).toEqual([address, address]);
  });
});
