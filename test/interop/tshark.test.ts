/** Another project's program reads what we write: tshark's MQTT-SN dissector, field by field. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { CaptureWriter, type Datagram } from "../../src/capture/capture-file.ts";
import { encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { connect, octets, publish, sleep, subscribe, wake } from "../helpers/bench.ts";
import { findTshark } from "../helpers/find-tshark.mjs";

const program = findTshark();
const missing = "missing" in program ? program.missing : undefined;

/** Messages, and what tshark says of them. */
const messages: readonly (readonly [Message, Readonly<Record<string, string>>])[] = [
  [
    connect({ clientId: "sensor-1", will: true, duration: 300 }),
    { "client.id": "sensor-1", "keep.alive": "300", will: "1", "clean.session": "1" },
  ],
  [{ type: "CONNACK", returnCode: 1 }, { "return.code": "0x01" }],
  [{ type: "WILLTOPICREQ" }, {}],
  [{ type: "WILLTOPIC", qos: 1, retain: true, willTopic: "a/will" }, { "will.topic": "a/will" }],
  [{ type: "WILLMSG", willMsg: octets("gone") }, { "will.msg": "gone" }],
  [
    { type: "REGISTER", topicId: 0, msgId: 7, topicName: "a/b" },
    { topic: "a/b", "msg.id": "7" },
  ],
  [
    { type: "REGACK", topicId: 3, msgId: 7, returnCode: 0 },
    { "topic.id": "3", "msg.id": "7", "return.code": "0x00" },
  ],
  [publish({ dup: true, topicId: 3, msgId: 8, data: octets("21.5") }), { dup: "1", "topic.id": "3", "msg.id": "8" }],
  [publish({ data: octets("x".repeat(400)) }), { "msg.len": "409" }],
  [
    { type: "PUBACK", topicId: 3, msgId: 8, returnCode: 2 },
    { "topic.id": "3", "msg.id": "8", "return.code": "0x02" },
  ],
  [{ type: "PUBREC", msgId: 9 }, { "msg.id": "9" }],
  [subscribe("a/#", 1, 10), { "topic.name.or.id": "a/#", "msg.id": "10" }],
  [
    { type: "SUBACK", qos: 1, topicId: 4, msgId: 10, returnCode: 0 },
    { "topic.id": "4", "msg.id": "10" },
  ],
  [{ type: "UNSUBACK", msgId: 11 }, { "msg.id": "11" }],
  [wake("sensor-1"), { "client.id": "sensor-1" }],
  [{ type: "PINGRESP" }, {}],
  [sleep(60), { "sleep.timer": "60" }],
];

type Layers = Readonly<Record<string, readonly string[]>>;

describe.skipIf(missing !== undefined)(`tshark${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "tshark-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function dissected(datagrams: readonly Datagram[], fields: readonly string[]): readonly Layers[] {
    if ("missing" in program) return [];
    const writer = new CaptureWriter(["udp", "ble"]);
    const blocks = datagrams.map((each) => writer.datagram(each, each.peer.split("/")[0] ?? ""));
    const file = join(folder, "capture.pcapng");
    writeFileSync(file, Buffer.concat([writer.head(), ...blocks, writer.lost(3, 2_000_000)]));
    const asked = fields.flatMap((field) => ["-e", field]);
    const args = [
      "-r",
      file,
      "-n",
      "-o",
      "mqttsn.udp.port:1883",
      "-o",
      "udp.check_checksum:TRUE",
      "-T",
      "json",
      ...asked,
    ];
    const env = program.libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: program.libraries };
    const { stdout, stderr, status } = spawnSync(program.path, args, { env, encoding: "utf8", maxBuffer: 2 ** 26 });
    expect(status, stderr).toBe(0);
    return (JSON.parse(stdout) as { _source: { layers: Layers } }[]).map(({ _source }) => _source.layers);
  }

  const peers = ["udp/192.0.2.7:40000", "udp/[2001:db8::7]:40000", "ble/c0:98:e5:00:00:01"];

  test.each(peers)("every message has the values that it was written with: %s", (peer) => {
    const written = messages.map(([message], i): Datagram => {
      const bytes = encode(message);
      const direction = i % 2 === 0 ? "in" : "out";
      return { atUs: 1_700_000_000_000_001 + i, direction, peer, bytes, wholeBytes: bytes.length, comment: `no. ${i}` };
    });
    const names = [...new Set(messages.flatMap(([, said]) => Object.keys(said)))].map((name) => `mqttsn.${name}`);
    const read = dissected(written, [
      ...names,
      "mqttsn.msg.type",
      "_ws.malformed",
      "frame.time_epoch",
      "frame.comment",
      "frame.interface_name",
      "frame.packet_flags_direction",
      "udp.checksum.status",
    ]);
    expect(read).toHaveLength(messages.length);
    read.forEach((layers, i) => {
      const [message, said] = messages[i] ?? [];
      const code = encode(message as Message);
      expect(layers["mqttsn.msg.type"], message?.type).toEqual([
        `0x${(code[code[0] === 1 ? 3 : 1] ?? 0).toString(16).padStart(2, "0")}`,
      ]);
      for (const [name, value] of Object.entries(said ?? {}))
        expect(layers[`mqttsn.${name}`], `${message?.type} ${name}`).toEqual([value]);
      expect(layers["_ws.malformed"], message?.type).toBeUndefined();
      expect(["good", "none"], String(layers["udp.checksum.status"])).toContain(
        { 1: "good", 3: "none" }[String(layers["udp.checksum.status"])],
      );
      expect(layers["frame.comment"]).toEqual([`no. ${i}`]);
      expect(layers["frame.interface_name"]).toEqual([peer.split("/")[0]]);
      expect(layers["frame.time_epoch"]).toEqual([`1700000000.${String(i + 1).padStart(6, "0")}000`]);
      expect(layers["frame.packet_flags_direction"]).toEqual([i % 2 === 0 ? "0x00000001" : "0x00000002"]);
    });
  });

  test("a message whose contents were left out is shown as cut, with its whole length", () => {
    const bytes = encode(publish({ data: octets("secret") }));
    const cut: Datagram = {
      atUs: 1,
      direction: "in",
      peer: "udp/192.0.2.7:4",
      bytes: bytes.subarray(0, 7),
      wholeBytes: bytes.length,
      comment: "",
    };
    const [layers] = dissected([cut], ["frame.len", "frame.cap_len", "mqttsn.msg.type", "mqttsn.topic.id"]);
    expect(layers).toEqual({
      "frame.len": ["41"],
      "frame.cap_len": ["35"],
      "mqttsn.msg.type": ["0x0c"],
      "mqttsn.topic.id": ["1"],
    });
  });
});
