/** The device library in C by itself: the standard's vectors, streams, fuzzing, and sizes. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { findCompiler, measure } from "../../hardware/device/size.mjs";
import { Reassembler } from "../../src/transports/framing.ts";
import { decode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { hardware, make, missingCompiler } from "./compiler.ts";

const missing = missingCompiler();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;
const folder = join(hardware, "device");
const arm = findCompiler();
const noArm = "missing" in arm ? ` (skipped: ${arm.missing})` : "";
if (noArm !== "" && process.env["CI"]) throw new Error(noArm);

interface Vector {
  readonly name: string;
  readonly hex: string;
  readonly type: string;
  readonly valid: boolean;
  readonly class?: string;
}
const { vectors } = JSON.parse(readFileSync(new URL("../vectors/vectors-1.2.json", import.meta.url), "utf8")) as {
  vectors: Vector[];
};

function lines(program: string, input: readonly string[], ...parameters: string[]): string[] {
  const run = spawnSync(join(folder, "build", program), parameters, {
    input: input.map((line) => `${line}\n`).join(""),
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  if (run.status !== 0) throw new Error(`${program}: ${run.stderr}`);
  return run.stdout.split("\n").slice(0, -1);
}

const bytesOf = (hexadecimal: string) => new Uint8Array(Buffer.from(hexadecimal, "hex"));
const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe.skipIf(missing !== undefined)(`device library${named}`, () => {
  beforeAll(() => make("device"));

  test("no symbol of it can be another one's in a firmware: all begin with mqttsn_ or sn_", async () => {
    await make("device", "build/symbols");
    const symbols = readFileSync(join(folder, "build/symbols"), "utf8").match(/\S+$/gm) ?? [];
    expect(symbols).toContain("mqttsn_init");
    expect(symbols.filter((name) => !/^(mqttsn|sn)_/.test(name))).toEqual([]);
  });

  describe("wire vectors", () => {
    // What a forwarder adds is taken off before a device sees it. [MQTT-SN 1.2 §5.5]
    const own = vectors.filter(({ type, name }) => type !== "ENCAPSULATED" && !name.startsWith("bad_encap"));
    let answers: string[] = [];
    beforeAll(() => {
      answers = lines(
        "wire_lines",
        own.map(({ hex }) => hex),
      );
    });

    test("good ones decode to the fields that the gateway's codec finds, and encode to the same octets", () => {
      for (const [i, { name, hex, valid }] of own.entries()) {
        if (!valid) continue;
        const answer = answers[i] ?? "";
        expect(answer, name).not.toBe("bad");
        const [type, flags, code, topicId, msgId, duration, isShort, rest, again] = answer.split(" ");
        // In the one octet form, which is what we send, and which a decoder of either sort reads alike.
        const canonical = hex.startsWith("01") && hex.length <= 2 * 257 ? undefined : hex;
        if (canonical !== undefined) expect(again, name).toBe(canonical);
        const decoded = decode(bytesOf(hex));
        const other = decode(bytesOf(again ?? ""));
        expect(other, name).toEqual(decoded);
        if (!decoded.ok) throw new Error(name);
        const seen = decoded.message as Message & Record<string, unknown>;
        expect(Number(type), name).toBe(bytesOf(hex)[hex.startsWith("01") ? 3 : 1]);
        if (typeof seen["topicId"] === "number") expect(Number(topicId), name).toBe(seen["topicId"]);
        if (typeof seen["msgId"] === "number") expect(Number(msgId), name).toBe(seen["msgId"]);
        if (typeof seen["duration"] === "number") expect(Number(duration), name).toBe(seen["duration"]);
        if (typeof seen["returnCode"] === "number") expect(Number(code), name).toBe(seen["returnCode"]);
        if (typeof seen["gwId"] === "number") expect(Number(code), name).toBe(seen["gwId"]);
        if (typeof seen["dup"] === "boolean") expect((Number(flags) & 0x80) !== 0, name).toBe(seen["dup"]);
        if (seen["data"] instanceof Uint8Array) expect(rest, name).toBe(hexOf(seen["data"]) || "-");
        if (seen.type === "DISCONNECT") expect(isShort === "1", name).toBe(seen.duration === undefined);
      }
    });

    test("bad ones are refused wherever the gateway's codec refuses them", () => {
      const bad = own.filter(({ valid }) => !valid);
      expect(bad.length).toBeGreaterThan(70);
      for (const [i, { name, hex, valid }] of own.entries()) {
        if (valid) continue;
        if (!decode(bytesOf(hex)).ok) expect(answers[i], name).toBe("bad");
        else expect(answers[i], name).toBeDefined(); // well-formed and senseless: the client's procedures see to it
      }
    });

    test("any octets: accepted by both codecs or by neither, but for what only a gateway has to see through", () => {
      const messages = fc.sample(fc.uint8Array({ maxLength: 40 }), { numRuns: 3_000, seed: 7 }).map((bytes) => {
        if (bytes.length > 1) bytes[0] = bytes.length;
        if (bytes.length > 1) bytes[1] = (bytes[1] ?? 0) % 0x20;
        return bytes;
      });
      const seen = lines("wire_lines", messages.map(hexOf));
      let good = 0;
      for (const [i, bytes] of messages.entries()) {
        const decoded = decode(bytes);
        if (decoded.ok) good++;
        if (seen[i] !== "bad") expect(decoded.ok, hexOf(bytes)).toBe(true);
      }
      expect(good).toBeGreaterThan(300);
    });
  });

  test("a stream is cut into the messages that the gateway's reassembler finds", () => {
    const message = fc
      .uint8Array({ minLength: 1, maxLength: 126 })
      .map((rest) => Uint8Array.of(rest.length + 1, ...rest));
    const noise = fc.uint8Array({ minLength: 1, maxLength: 6 });
    const stream = fc.array(fc.oneof({ weight: 6, arbitrary: message }, noise), { minLength: 1, maxLength: 12 });
    const cuts = fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.constantFrom(0, 10, 1_999, 2_000, 5_000)), {
      minLength: 1,
      maxLength: 40,
    });
    let messages = 0;
    fc.assert(
      fc.property(stream, cuts, (pieces, plan) => {
        // 0xFE begins a forwarder's encapsulation, which no device sees; the gateway keeps it with its message.
        const octets = Buffer.concat(pieces).map((octet) => (octet === 0xfe ? 0xfd : octet));
        const theirs = new Reassembler({ maxMessageBytes: 128, resyncMs: 2_000 });
        const input: string[] = [];
        const expected: string[] = [];
        let now = 0;
        for (let at = 0, i = 0; at < octets.length; i++) {
          const [size, pause] = plan[i % plan.length] ?? [1, 0];
          now += pause;
          const chunk = octets.subarray(at, at + size);
          at += size;
          input.push(`${now} ${hexOf(chunk)}`);
          expected.push(theirs.take(chunk, now).map(hexOf).join(" "));
        }
        const found = lines("framing_lines", input, "128").map((line) => line.split(" ").slice(0, -1).join(" "));
        messages += found.filter((line) => line !== "").length;
        expect(found).toEqual(expected);
      }),
      { numRuns: 80, seed: 11 },
    );
    expect(messages).toBeGreaterThan(100);
  });

  test("fuzzing with sanitizers", () => {
    for (const seed of [1, 2, 3]) {
      const run = spawnSync(join(folder, "build/fuzz"), [String(seed), "60000"], { encoding: "utf8" });
      expect(run.stdout + run.stderr).toBe("60000 runs\n");
    }
  });

  test("the smallest sizes compile without a warning, and stand the fuzzer", async () => {
    const sizes = ["MESSAGE_BYTES=32", "TOPICS=1", "TOPIC_BYTES=8", "TAKEN=1"].map((each) => `-DMQTTSN_${each}`);
    await make("device", "BUILD=build/small", `SIZES=${sizes.join(" ")}`, "build/small/fuzz");
    const run = spawnSync(join(folder, "build/small/fuzz"), ["4", "30000"], { encoding: "utf8" });
    expect(run.stdout + run.stderr).toBe("30000 runs\n");
  });

  test("the example of README.md compiles without a warning", () => {
    const example = /```c\n([\s\S]*?)```/.exec(readFileSync(join(folder, "README.md"), "utf8"))?.[1] ?? "";
    expect(example.split("\n").length).toBeGreaterThan(30);
    const options = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only"];
    const run = spawnSync("cc", [...options, `-I${join(folder, "include")}`, "-xc", "-"], {
      input: example,
      encoding: "utf8",
    });
    expect(run.stderr).toBe("");
    expect(run.status).toBe(0);
  });

  test.skipIf(noArm !== "")(`the sizes in README.md are those of today, within 3 %${noArm}`, () => {
    if ("missing" in arm) throw new Error(arm.missing);
    const readme = readFileSync(join(folder, "README.md"), "utf8");
    const said = (what: string) => Number(new RegExp(`${what}[^\\n]*\\| \\*\\*(\\d+)`).exec(readme)?.[1]);
    const { code, client } = measure(arm);
    const flash = code.reduce((sum, { text: octets }) => sum + octets, 0);
    expect(Math.abs(said("flash, all of it") / flash - 1)).toBeLessThan(0.03);
    expect(said("RAM for a client")).toBe(client);
    expect(code.every(({ ram }) => ram === 0)).toBe(true);
  });
});
