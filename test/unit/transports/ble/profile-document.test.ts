/** What docs/guide/ble-profile.md shows is what the code reads. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { BroadcastReceiver, broadcastPayload } from "../../../../src/transports/ble/broadcast.ts";
import { bleOptions } from "../../../../src/transports/ble/options.ts";
import { Reassembler } from "../../../../src/transports/framing.ts";
import { decode } from "../../../../src/wire/v12/codec.ts";

const text = readFileSync(new URL("../../../../docs/guide/ble-profile.md", import.meta.url), "utf8");
const blocks = (kind: string) =>
  [...text.matchAll(new RegExp(`\`\`\`${kind}\\n([^\`]*)\`\`\``, "g"))].map((match) => match[1] ?? "");

test("the captured session decodes to what stands beside it", () => {
  const types: string[] = [];
  for (const block of blocks("capture")) {
    const reassemblers = new Map<string, Reassembler>();
    for (const line of block.trim().split("\n")) {
      const [, direction = "", hex = "", words = ""] = /^(notify|write) +([0-9a-f]+) +(.*)$/.exec(line) ?? [];
      expect(hex.length / 2, line).toBeGreaterThan(1);
      expect(hex.length / 2, line).toBeLessThanOrEqual(20);
      const stream = reassemblers.get(direction) ?? new Reassembler({ maxMessageBytes: 1_024, resyncMs: 2_000 });
      reassemblers.set(direction, stream);
      const messages = stream.take(Buffer.from(hex, "hex"), 0);
      if (words.startsWith("PUBLISH") && words.endsWith("…")) expect(messages).toEqual([]);
      for (const bytes of messages) {
        const decoded = decode(bytes);
        expect(decoded.ok, line).toBe(true);
        if (!decoded.ok) continue;
        types.push(decoded.message.type);
        if (words.startsWith("…")) expect(decoded.message).toMatchObject({ type: "PUBLISH" });
        else expect(words.startsWith(decoded.message.type), line).toBe(true);
        const said = /"([^"]*)"/.exec(words)?.[1];
        if (said !== undefined) expect(Buffer.from(bytes).toString("latin1"), line).toContain(said);
      }
    }
    for (const stream of reassemblers.values()) expect([stream.pendingBytes, stream.discardedBytes]).toEqual([0, 0]);
  }
  expect(types).toHaveLength(16);
});

test("the example advertisements are taken, and say what stands above them", () => {
  const address = "c0:98:e5:00:00:01";
  const key = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
  const got = blocks("advertisement").map((block, i) => {
    const bytes = Buffer.from(block.replaceAll(/\s/g, ""), "hex");
    expect(bytes.length).toBeLessThanOrEqual(31);
    const seen = {
      manufacturerData: [] as Buffer[],
      serviceData: [] as { uuid: string; data: Buffer }[],
    };
    for (let at = 0; at < bytes.length; at += 1 + bytes.readUInt8(at)) {
      const body = bytes.subarray(at + 2, at + 1 + bytes.readUInt8(at));
      expect(body.length, block).toBe(bytes.readUInt8(at) - 1);
      if (bytes[at + 1] === 0xff) seen.manufacturerData.push(body);
      if (bytes[at + 1] === 0x16)
        seen.serviceData.push({ uuid: body.readUInt16LE(0).toString(16), data: body.subarray(2) });
    }
    const { broadcast } = bleOptions.parse({ type: "ble", broadcast: { serviceUuid: "fdf0" } });
    const receiver = new BroadcastReceiver(broadcast, i === 2 || i === 4 ? new Map([[address, key]]) : new Map());
    const outcome = receiver.receive(address, broadcastPayload(seen, broadcast) ?? Buffer.alloc(0), 0);
    const decoded = "message" in outcome ? decode(outcome.message) : undefined;
    return decoded?.ok && decoded.message.type === "PUBLISH"
      ? [
          decoded.message.topicIdType,
          decoded.message.topicId,
          decoded.message.retain,
          Buffer.from(decoded.message.data).toString("hex"),
        ]
      : outcome;
  });
  expect(got).toEqual([
    ["predefined", 7, false, Buffer.from("21.5").toString("hex")],
    ["short", 0x7431, true, Buffer.from("5").toString("hex")],
    ["predefined", 7, false, "2137"],
    ["predefined", 7, false, Buffer.from("ok").toString("hex")],
    ["predefined", 7, false, "2137"],
  ]);
});

test("the defaults that the page names are those of the configuration", () => {
  const defaults = bleOptions.parse({ type: "ble" });
  for (const [name, words] of [
    ["turnSeconds", `silent for ${defaults.turnSeconds} s (\`turnSeconds\`)`],
    ["turnSecondsMax", `older than ${defaults.turnSecondsMax} s (\`turnSecondsMax\`)`],
    ["linksMax", `\`linksMax\`, ${defaults.linksMax} unless configured`],
    ["scan", `(${defaults.scan.onSeconds} s on, ${defaults.scan.offSeconds} s off, unless configured`],
    ["resyncSeconds", `for ${defaults.resyncSeconds} s without any octet (\`resyncSeconds\`)`],
    ["holdSeconds", `for ${defaults.holdSeconds} s (\`holdSeconds\`)`],
    ["perMinuteMax", `at most ${defaults.broadcast.perMinuteMax} messages per sender and minute`],
    ["maxMessageBytes", `has ${defaults.maxMessageBytes.toLocaleString("en")} octets unless configured`],
  ])
    expect(text.replaceAll(/\s+/g, " "), name).toContain(words);
});
