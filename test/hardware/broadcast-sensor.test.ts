/** The broadcast sensor's application, built for this machine: what it advertises is what the gateway takes. */
import { spawnSync } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { BroadcastReceiver, broadcastPayload } from "../../src/transports/ble/broadcast.ts";
import { bleOptions } from "../../src/transports/ble/options.ts";
import { decode } from "../../src/wire/v12/codec.ts";
import { BleLab, missingFromLab } from "../ble/lab/lab.ts";
import { Peripheral } from "../ble/lab/peripheral.ts";
import { hardware, make, missingCompiler } from "./compiler.ts";

const folder = join(hardware, "nrf52-broadcast-sensor");
const address = "c0:98:e5:00:00:01"; // of host/board.c
const key = "000102030405060708090a0b0c0d0e0f";
const missing = missingCompiler();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;

interface OnAir {
  readonly atMs: number;
  readonly advertisement: Buffer;
}

describe.skipIf(missing !== undefined)(`broadcast sensor${named}`, () => {
  const scratch = mkdtempSync(join(tmpdir(), "sensor-"));
  const open: { close(): unknown }[] = [];
  beforeAll(async () => {
    await make("nrf52-broadcast-sensor");
    return () => rmSync(scratch, { recursive: true });
  });
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  /** One run of the sensor: what it advertises for these measurements, one a minute. */
  function run(measurements: readonly string[], kept: string, more: readonly string[] = []): OnAir[] {
    const input = measurements.map((each) => `${each}\n`).join("");
    const run = spawnSync(join(folder, "build/sensor"), [join(scratch, kept), ...more], { input, encoding: "utf8" });
    expect(run.status, run.stderr).toBe(0);
    return [...run.stdout.matchAll(/^(\d+) ms every 1000 ms ([0-9a-f]+)$/gm)].map((match) => ({
      atMs: Number(match[1]),
      advertisement: Buffer.from(match[2] ?? "", "hex"),
    }));
  }

  /** As a scanner splits an advertisement that has one element. */
  function taken(receiver: BroadcastReceiver, { advertisement, atMs }: OnAir): string {
    expect(advertisement.length).toBeLessThanOrEqual(31);
    expect(advertisement[0]).toBe(advertisement.length - 1);
    expect(advertisement[1]).toBe(0xff);
    const seen = { manufacturerData: [advertisement.subarray(2)], serviceData: [] };
    const { broadcast } = bleOptions.parse({ type: "ble" });
    const outcome = receiver.receive(address, broadcastPayload(seen, broadcast) ?? Buffer.alloc(0), atMs);
    if ("dropped" in outcome) return outcome.dropped;
    const decoded = decode(outcome.message);
    if (!decoded.ok || decoded.message.type !== "PUBLISH") return "no PUBLISH";
    expect(decoded.message).toMatchObject({ qos: -1, topicIdType: "predefined", topicId: 7, retain: false });
    return Buffer.from(decoded.message.data).toString();
  }

  const receiver = (keys: Record<string, string> = {}) =>
    new BroadcastReceiver(
      bleOptions.parse({ type: "ble" }).broadcast,
      new Map(Object.entries(keys).map(([of, hex]) => [of, Buffer.from(hex, "hex")])),
    );

  test("says what changed by 0.1 degrees, and every ten minutes that it lives", () => {
    const at = receiver();
    const steady = Array.from({ length: 21 }, () => "2137 2980");
    const said = run(["2137 2980", "2146 2980", "2147 2980", "-", "-1050 3001", ...steady], "plain");
    expect(said.map(({ atMs }) => atMs / 60_000)).toEqual([0, 2, 4, 5, 15, 25]);
    expect(said.map((each) => taken(at, each))).toEqual([
      "21.37,2.98",
      "21.47,2.98",
      "-10.50,3.00",
      "21.37,2.98",
      "21.37,2.98",
      "21.37,2.98",
    ]);
  });

  test("the same advertisement heard again is one message; the counter goes round", () => {
    const at = receiver();
    const said = run(["1 2980", "100 2980", "200 2980"], "round"); // counters 65534, 65535, 0
    for (const each of said) expect([taken(at, each), taken(at, each)][1]).toBe("duplicate");
  });

  test("with a key: taken, and refused when anything is altered or comes again", () => {
    const at = receiver({ [address]: key });
    const [first, second] = run(["2137 2980", "2200 2980"], "key", [key]);
    if (!first || !second) throw new Error("it said too little");
    for (let octet = 4; octet < second.advertisement.length; octet++) {
      const advertisement = Buffer.from(second.advertisement);
      advertisement[octet] = (advertisement[octet] ?? 0) ^ 0x01;
      expect(["wrong-tag", "malformed"], `octet ${octet}`).toContain(taken(at, { advertisement, atMs: 0 }));
    }
    expect(taken(at, first)).toBe("21.37,2.98");
    expect(taken(at, second)).toBe("22.00,2.98");
    expect(taken(at, first)).toBe("replayed");
  });

  test("no counter comes twice, whenever the power fails", () => {
    const at = receiver({ [address]: key });
    for (let start = 0; start < 5; start++) {
      for (const each of run([`${start} 2980`, `${start + 100} 2980`], "power", [key])) {
        expect(taken(at, each)).toMatch(/^[0-9]\.\d\d,2\.98$/);
      }
    }
    expect(readFileSync(join(scratch, "power"), "utf8").trim()).toBe("5001");
    const many = Array.from({ length: 1_001 }, (_, i) => `${(i % 2) * 100} 2980`);
    expect(run(many, "power", [key])).toHaveLength(1_001);
    expect(readFileSync(join(scratch, "power"), "utf8").trim()).toBe("7001");
  });

  test("what cannot be kept is not said: a number might come twice", () => {
    expect(run(["2137 2980"], "no/such/folder", [key])).toEqual([]);
    writeFileSync(join(scratch, "worn"), "4294966296\n"); // the last block that can be reserved begins one below
    expect(run(["2137 2980"], "worn", [key])).toEqual([]);
  });

  test("HMAC-SHA-256 for keys of any allowed length is node's", () => {
    for (const bytes of [16, 31, 32, 55, 63, 64]) {
      const secret = randomBytes(bytes);
      const [said] = run(["2137 2980"], `hmac${bytes}`, [secret.toString("hex")]);
      const payload = said?.advertisement.subarray(4) ?? Buffer.alloc(0);
      const tag = createHmac("sha256", secret)
        .update(Buffer.from(address.replaceAll(":", ""), "hex"))
        .update(payload.subarray(0, -4))
        .digest()
        .subarray(0, 4);
      expect(payload.subarray(-4).toString("hex"), `${bytes} octets`).toBe(tag.toString("hex"));
    }
  });

  test("what README.md shows is what comes out", async () => {
    const readme = readFileSync(join(folder, "README.md"), "utf8");
    const shown = /```\n(0 ms every[^`]*)```/.exec(readme)?.[1]?.trim();
    const said = run(["2137 2980", "2140 2980", "2150 2975"], "readme", [key]);
    const lines = said.map(({ atMs, advertisement }) => `${atMs} ms every 1000 ms ${advertisement.toString("hex")}`);
    expect(shown?.split("\n").filter((line) => line.includes("every"))).toEqual(lines);
    const { table } = (await import(join(folder, "current-budget.mjs"))) as { table: () => string };
    expect(readme).toContain(table());
  });

  const noLab = missingFromLab();
  test.skipIf(noLab !== undefined)(
    `advertised, through the gateway, to the broker${noLab === undefined ? "" : ` (skipped: ${noLab})`}`,
    async () => {
      const keyFile = join(scratch, "sensor.key");
      writeFileSync(keyFile, key);
      const lab = await BleLab.start({
        broadcast: { keys: { [address]: { file: keyFile } }, unknownSenders: false },
      });
      open.push(lab);
      const sensor = new Peripheral(lab.socket, { address });
      open.push({ close: () => sensor.kill() });
      await sensor.start();
      for (const { advertisement } of run(["2137 2980", "2250 2975"], "air", [key])) {
        for (let repeats = 0; repeats < 5; repeats++) await sensor.broadcast(advertisement);
        await lab.arrives(advertisement.subarray(11, -4).toString());
      }
      expect([...lab.seen]).toEqual([
        ["21.37,2.98", 1],
        ["22.50,2.98", 1],
      ]);
    },
  );
});
