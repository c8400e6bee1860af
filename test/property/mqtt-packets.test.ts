/**
 * Reader and writer of MQTT packets compared with mqtt-packet: any packets, divided at any place, give what its parser gives. It reads what
 * we write. No octets make the reader throw, or continue after it reported "malformed".
 */
import fc from "fast-check";
import { generate, type IPublishPacket, type Packet, parser } from "mqtt-packet";
import { describe, expect, test } from "vitest";
import { fitsPacket } from "../../src/core/broker/limits.ts";
import { noLimits, type PublicationMeta } from "../../src/core/types.ts";
import { type PacketEvents, PacketReader, packetBytesMax, type ReadPublish } from "../../src/upstream/packet-reader.ts";
import { PacketWriter } from "../../src/upstream/packet-writer.ts";
import { TopicAliases } from "../../src/upstream/topic-aliases.ts";

type Version = "3.1.1" | "5";
const versions = ["3.1.1", "5"] as const;
const hex = (octets: Uint8Array) => Buffer.from(octets).toString("hex");

/** What a reader tells, in words. */
function listening(): { readonly events: PacketEvents; readonly told: string[] } {
  const told: string[] = [];
  const events: PacketEvents = {
    publish: ({ topicName, payload, qos, retain, dup, packetId, expirySeconds, subscriptionIds, meta }) =>
      told.push(
        `publish ${topicName} ${hex(payload)} ${qos} ${retain} ${dup} ${packetId} ${expirySeconds} ${subscriptionIds} ${saidOf(meta)}`,
      ),
    ack: (kind, packetId, code) => told.push(`${kind} ${packetId} ${code}`),
    release: (packetId) => told.push(`pubrel ${packetId}`),
    other: (octets) => told.push(`other ${hex(octets)}`),
    malformed: () => told.push("malformed"),
  };
  return { events, told };
}

function saidOf(meta: PublicationMeta = {}): string {
  const { expirySeconds, contentType, responseTopic, correlationData, userProperties = [] } = meta;
  const pairs = userProperties.map(([name, value]) => `${name}=${value}`).sort();
  return JSON.stringify([expirySeconds, contentType, responseTopic, correlationData && hex(correlationData), pairs]);
}

/** What mqtt-packet's parser says of the same octets, in the same words. */
function byTheirParser(version: Version, octets: Buffer): string[] {
  const told: string[] = [];
  const reading = parser({ protocolVersion: version === "5" ? 5 : 4 });
  reading.on("packet", (packet: Packet) => told.push(inWords(version, packet)));
  reading.on("error", (error: Error) => {
    throw error;
  });
  reading.parse(octets);
  return told;
}

function metaOf(given: NonNullable<IPublishPacket["properties"]> = {}): PublicationMeta {
  const { messageExpiryInterval, contentType, responseTopic, correlationData, userProperties } = given;
  return {
    ...(messageExpiryInterval !== undefined && { expirySeconds: messageExpiryInterval }),
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlationData !== undefined && { correlationData }),
    ...(userProperties && {
      userProperties: Object.entries(userProperties).flatMap(([name, values]) =>
        [values].flat().map((value) => [name, value] as const),
      ),
    }),
  };
}

function inWords(version: Version, packet: Packet): string {
  switch (packet.cmd) {
    case "publish": {
      const { topic, payload, qos, retain, dup, messageId, properties } = packet;
      const ids = properties?.subscriptionIdentifier;
      const list = ids === undefined ? undefined : [ids].flat();
      return `publish ${topic} ${hex(Buffer.from(payload))} ${qos} ${retain} ${dup} ${messageId ?? 0} ${properties?.messageExpiryInterval} ${list} ${saidOf(metaOf(properties))}`;
    }
    case "pubrel":
      return `pubrel ${packet.messageId}`;
    case "puback":
    case "pubrec":
    case "pubcomp":
      return `${packet.cmd} ${packet.messageId} ${packet.reasonCode ?? 0}`;
    case "suback":
      return `suback ${packet.messageId} ${packet.granted[0]}`;
    case "unsuback":
      return `unsuback ${packet.messageId} ${version === "5" ? packet.granted?.[0] : 0}`;
    default:
      return `other ${hex(generate(packet, { protocolVersion: version === "5" ? 5 : 4 }))}`;
  }
}

const packetId = fc.integer({ min: 1, max: 65_535 });
const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 80 }).filter((name) => !/[\0#+]/.test(name));
const octets = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes));
/** So short that no packet has more properties than are kept. */
const short = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).filter((name) => !/[\0#+]/.test(name));

const metas: fc.Arbitrary<PublicationMeta> = fc.record(
  {
    expirySeconds: fc.integer({ min: 0, max: 0xffffffff }),
    contentType: short,
    responseTopic: short,
    correlationData: octets,
    userProperties: fc.array(fc.tuple(short, short), { minLength: 1, maxLength: 4 }),
  },
  { requiredKeys: [] },
);

function packets(version: Version): fc.Arbitrary<Packet> {
  const isV5 = version === "5";
  const properties = fc.record(
    {
      messageExpiryInterval: fc.integer({ min: 0, max: 0xffffffff }),
      subscriptionIdentifier: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength: 3 }),
      contentType: short,
      responseTopic: short,
      correlationData: octets,
      payloadFormatIndicator: fc.boolean(),
      userProperties: fc.dictionary(short, short, { minKeys: 1, maxKeys: 3, noNullPrototype: true }),
    },
    { requiredKeys: [] },
  );
  const publish = fc
    .record({ topic: text, payload: octets, qos: fc.constantFrom(0, 1, 2), retain: fc.boolean(), packetId, properties })
    .chain(({ packetId: messageId, properties: given, ...rest }) =>
      fc.boolean().map((dup) => ({
        cmd: "publish",
        ...rest,
        dup: dup && rest.qos > 0,
        ...(rest.qos > 0 && { messageId }),
        ...(isV5 && { properties: given }),
      })),
    );
  const codes = isV5 ? fc.constantFrom(0, 0x10, 0x80, 0x97) : fc.constant(0);
  const why = isV5 ? fc.option(text, { nil: undefined }) : fc.constant(undefined);
  const acks = fc
    .record({ cmd: fc.constantFrom("puback", "pubrec"), messageId: packetId, reasonCode: codes, reason: why })
    .map(({ reason, ...rest }) => ({ ...rest, ...(reason !== undefined && { properties: { reasonString: reason } }) }));
  const releases = fc.record({
    cmd: fc.constantFrom("pubrel", "pubcomp"),
    messageId: packetId,
    reasonCode: isV5 ? fc.constantFrom(0, 0x92) : fc.constant(0),
  });
  const lists = fc.record({
    cmd: fc.constant("suback"),
    messageId: packetId,
    granted: fc.constantFrom(0, 1, 2, 0x80).map((code) => [code]),
  });
  const unsuback = fc.record({ cmd: fc.constant("unsuback"), messageId: packetId, granted: fc.constant([0]) });
  const other = fc.constantFrom(
    { cmd: "pingresp" },
    { cmd: "connack", returnCode: 0, reasonCode: 0, sessionPresent: false },
  );
  return fc.oneof(publish, acks, releases, lists, unsuback, other).map((packet) => packet as Packet);
}

/** The same octets, cut at the given places. */
function cut(whole: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (whole.length + 1)), whole.length].sort((a, b) => a - b);
  return at.slice(1).map((end, i) => whole.subarray(at[i], end));
}

describe.each(versions)("MQTT %s", (version) => {
  test("any packets, cut anywhere, are read as mqtt-packet reads them", () => {
    fc.assert(
      fc.property(
        fc.array(packets(version), { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat({ max: 4_000 }), { maxLength: 12 }),
        (list, places) => {
          const whole = Buffer.concat(
            list.map((packet) => generate(packet, { protocolVersion: version === "5" ? 5 : 4 })),
          );
          const { events, told } = listening();
          const reader = new PacketReader(version, events);
          for (const chunk of cut(whole, places)) reader.take(Buffer.from(chunk));
          expect(told).toEqual(byTheirParser(version, whole));
          expect(told).toHaveLength(list.length);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("octet by octet is the same", () => {
    fc.assert(
      fc.property(fc.array(packets(version), { minLength: 1, maxLength: 3 }), (list) => {
        const whole = Buffer.concat(
          list.map((packet) => generate(packet, { protocolVersion: version === "5" ? 5 : 4 })),
        );
        const { events, told } = listening();
        const reader = new PacketReader(version, events);
        for (let i = 0; i < whole.length; i++) reader.take(Buffer.from(whole.subarray(i, i + 1)));
        expect(told).toEqual(byTheirParser(version, whole));
      }),
      { numRuns: 50 },
    );
  });

  test("random and damaged octets: nothing is thrown, and nothing comes after malformed", () => {
    fc.assert(
      fc.property(
        fc.array(packets(version), { maxLength: 3 }),
        fc.array(fc.tuple(fc.nat({ max: 2_000 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 5 }),
        fc.uint8Array({ maxLength: 40 }),
        (list, damages, tail) => {
          const whole = Buffer.concat([
            ...list.map((packet) => generate(packet, { protocolVersion: version === "5" ? 5 : 4 })),
            tail,
          ]);
          for (const [place, octet] of damages) if (whole.length > 0) whole[place % whole.length] = octet;
          const { events, told } = listening();
          const reader = new PacketReader(version, events);
          reader.take(whole);
          reader.take(Buffer.from([0x40, 2, 0, 1]));
          const at = told.indexOf("malformed");
          if (at >= 0) expect(at).toBe(told.length - 1);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("what we write, mqtt-packet reads; it is one piece as far as it goes", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            topicName: text,
            payload: octets,
            qos: fc.constantFrom(0, 1, 2),
            retain: fc.boolean(),
            packetId,
            dup: fc.boolean(),
            meta: fc.option(metas, { nil: undefined }),
          }),
          {
            minLength: 1,
            maxLength: 10,
          },
        ),
        (list) => {
          const writer = new PacketWriter(version);
          for (let round = 0; round < 2; round++) {
            const expected: string[] = [];
            for (const { packetId: id, dup, qos, meta, ...rest } of list) {
              const publication = { ...rest, qos: qos as 0 | 1 | 2, ...(meta && { meta }) };
              const said = version === "5" ? meta : undefined;
              writer.publish(publication, id, dup);
              writer.acknowledge("pubrec", id);
              writer.packet(generate({ cmd: "pingresp" }));
              expected.push(
                `publish ${rest.topicName} ${hex(rest.payload)} ${qos} ${rest.retain} ${dup && qos > 0} ${qos > 0 ? id : 0} ${said?.expirySeconds} undefined ${saidOf(said)}`,
                `pubrec ${id} 0`,
                `other ${hex(generate({ cmd: "pingresp" }))}`,
              );
            }
            const length = writer.length;
            const pieces = writer.take();
            expect(pieces).toHaveLength(1);
            expect(pieces[0]).toHaveLength(length);
            expect(byTheirParser(version, Buffer.concat(pieces))).toEqual(expected);
            expect(writer.length).toBe(0);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test("writers whose octets are copied use the same memory one after the other, and each says its own", () => {
    const names = ["a", "b", "c"] as const;
    const turn = fc.record({
      packets: fc.array(fc.tuple(fc.constantFrom(...names), fc.integer({ min: 0, max: 400 })), { maxLength: 12 }),
      order: fc.shuffledSubarray([...names], { minLength: 3 }),
      taken: fc.subarray([...names]),
    });
    fc.assert(
      fc.property(fc.array(turn, { maxLength: 12 }), (turns) => {
        const writers = new Map(names.map((name) => [name, new PacketWriter(version)]));
        for (const writer of writers.values()) writer.isCopied = true;
        const left = new Map(names.map((name) => [name, [] as Buffer[]]));
        const said = new Map(names.map((name) => [name, [] as string[]]));
        let packetId = 0;
        for (const { packets, order, taken } of turns) {
          for (const [name, length] of packets) {
            const payload = new Uint8Array(length).fill(name.charCodeAt(0));
            writers.get(name)?.publish({ topicName: name, payload, qos: 1, retain: false }, ++packetId, false);
            said.get(name)?.push(`publish ${name} ${hex(payload)} 1 false false ${packetId}`);
          }
          for (const name of order) {
            const writer = writers.get(name);
            const send = (octets: Uint8Array, length: number) =>
              taken.includes(name) && (left.get(name)?.push(Buffer.from(octets.subarray(0, length))) ?? 0) > 0;
            // What is not copied is the stream's, which may keep it for long.
            if (writer && !writer.passTo({ send })) left.get(name)?.push(...writer.take());
            expect(writer?.length).toBe(0);
          }
        }
        for (const name of names) {
          const told = byTheirParser(version, Buffer.concat(left.get(name) ?? []));
          expect(told.map((line) => line.split(" ").slice(0, 7).join(" "))).toEqual(said.get(name));
        }
      }),
    );
  });

  test("much in one turn comes in several pieces, in order", () => {
    const writer = new PacketWriter(version);
    const publication = { topicName: "t", payload: Buffer.alloc(30_000, 7), qos: 1, retain: false } as const;
    for (let id = 1; id <= 5; id++) writer.publish(publication, id, false);
    writer.publish({ ...publication, payload: Buffer.alloc(200_000) }, 6, false);
    writer.acknowledge("puback", 7);
    const length = writer.length;
    const pieces = writer.take();
    expect(pieces.length).toBeGreaterThan(1);
    const whole = Buffer.concat(pieces);
    expect(whole).toHaveLength(length);
    const ids = byTheirParser(version, whole).map((line) => line.split(" ").at(line.startsWith("publish") ? -4 : -2));
    expect(ids).toHaveLength(7);
    expect(byTheirParser(version, whole).at(-1)).toBe("puback 7 0");
  });

  test.each([
    ["QoS 3", "3605000174000100"],
    ["packet id 0", "32050001740000"],
    ["a topic name beyond the packet", "3004000a7474"],
    ["an empty topic name", version === "5" ? "3003000000" : "30020000"],
    ["a topic name that is no UTF-8", version === "5" ? "30040001c000" : "30030001c0"],
    ["U+0000 in a topic name", version === "5" ? "300400010000" : "3003000100"],
    ["PUBACK with flags", "41020001"],
    ["PUBREL without its flags", "60020001"],
    ["PUBACK of one octet", "400100"],
    ["SUBACK without a code", version === "5" ? "9003000100" : "90020001"],
    ["a Remaining Length of five octets", "30ffffffff7f"],
    ["a CONNACK of a megabyte", "208080c000"],
    ...(version === "5"
      ? [
          ["properties beyond the packet", "300500017409ff"],
          ["a topic alias, which was not offered", "30070001740323000161"],
          ["an expiry twice", "300e0001740a02000000010200000001"],
          ["a subscription identifier of 0", "3006000174020b00"],
          ["a property that PUBLISH does not have", "3006000174021901"],
        ]
      : [["PUBACK with a reason code", "4003000100"]]),
  ])("malformed: %s", (_what, octetsHex) => {
    const { events, told } = listening();
    new PacketReader(version, events).take(Buffer.from(octetsHex, "hex"));
    expect(told).toEqual(["malformed"]);
  });

  test("a PUBLISH longer than is kept: its beginning is told, the rest is passed over, what follows is read", () => {
    const payload = Buffer.alloc(3 * packetBytesMax, 1);
    const long = generate(
      { cmd: "publish", topic: "t", payload, qos: 1, messageId: 9, retain: false, dup: false },
      { protocolVersion: version === "5" ? 5 : 4 },
    );
    const whole = Buffer.concat([long, Buffer.from("40020007", "hex")]);
    for (const size of [whole.length, 65_536, 1_000]) {
      const seen: string[] = [];
      const reader = new PacketReader(version, {
        ...listening().events,
        publish: (packet) => seen.push(`publish ${packet.packetId} ${packet.payload.length > 65_535}`),
        ack: (kind, id) => seen.push(`${kind} ${id}`),
        malformed: (why) => seen.push(why),
      });
      for (let at = 0; at < whole.length; at += size) reader.take(Buffer.from(whole.subarray(at, at + size)));
      expect(seen).toEqual(["publish 9 true", "puback 7"]);
    }
  });
});

test("a payload keeps no more memory alive than about its own size", () => {
  const one = generate({ cmd: "publish", topic: "t", payload: "small", qos: 0, retain: false, dup: false });
  const large = generate({
    cmd: "publish",
    topic: "t",
    payload: Buffer.alloc(60_000),
    qos: 0,
    retain: false,
    dup: false,
  });
  const kept: Uint8Array[] = [];
  const { events } = listening();
  const reader = new PacketReader("3.1.1", { ...events, publish: ({ payload }) => kept.push(payload) });
  reader.take(Buffer.concat(Array.from({ length: 1_000 }, () => one)));
  reader.take(Uint8Array.prototype.slice.call(large) as Buffer);
  for (const payload of kept) {
    expect(payload.buffer.byteLength).toBeLessThanOrEqual(4 * payload.byteLength + 512);
  }
  expect(kept.map(({ byteLength }) => byteLength)).toEqual([...Array.from({ length: 1_000 }, () => 5), 60_000]);
});

test("what was read does not change when the memory of a chunk is used again", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(20, 200, 20_000),
      fc.array(fc.nat({ max: 21_000 }), { maxLength: 6 }),
      (length, places) => {
        const payload = Buffer.alloc(length, 0x70);
        const packet = { cmd: "publish", topic: "t", payload, qos: 0, retain: false, dup: false } as const;
        const properties = { correlationData: Buffer.alloc(300, 0x63) };
        const whole = generate({ ...packet, properties }, { protocolVersion: 5 });
        const memory = Buffer.alloc(65_536);
        const read: ReadPublish[] = [];
        const { events } = listening();
        const reader = new PacketReader("5", { ...events, publish: (each) => read.push(each) });
        for (const chunk of cut(whole, places)) {
          chunk.copy(memory);
          reader.take(memory.subarray(0, chunk.length));
          memory.fill(0xff);
        }
        expect(read.map((each) => hex(each.payload))).toEqual([hex(payload)]);
        expect(hex(read[0]?.meta?.correlationData ?? new Uint8Array())).toBe(hex(properties.correlationData));
      },
    ),
  );
});

test("of properties that are too many, or are no text, a message loses these alone", () => {
  const read = (properties: NonNullable<IPublishPacket["properties"]>) => {
    const { events, told } = listening();
    const packet = { cmd: "publish", topic: "t", payload: "", qos: 0, retain: false, dup: false, properties } as const;
    new PacketReader("5", events).take(generate(packet, { protocolVersion: 5 }));
    return told;
  };
  const many = read({ messageExpiryInterval: 9, contentType: "c", userProperties: { name: "v".repeat(4_000) } });
  expect(many).toEqual([`publish t  0 false false 0 9 undefined ${saidOf({ expirySeconds: 9 })}`]);
  const wrong = read({ responseTopic: "a/#", contentType: "c" });
  expect(wrong).toEqual([`publish t  0 false false 0 undefined undefined ${saidOf({ contentType: "c" })}`]);
  const { events, told } = listening();
  // Content type C0 00 is no UTF-8, the value of the user property is U+0000.
  new PacketReader("5", events).take(Buffer.from("30100001740c030002c00026000161000100", "hex"));
  expect(told).toEqual([`publish t  0 false false 0 undefined undefined ${saidOf()}`]);
});

/** What a receiver of topic aliases takes each PUBLISH for; it throws where an alias is not known, or is too large. */
function resolved(octets: Buffer, maximum: number): IPublishPacket[] {
  const names = new Map<number, string>();
  const found: IPublishPacket[] = [];
  const reading = parser({ protocolVersion: 5 });
  reading.on("error", (error: Error) => {
    throw error;
  });
  reading.on("packet", (packet: Packet) => {
    if (packet.cmd !== "publish") return;
    const alias = packet.properties?.topicAlias;
    if (alias !== undefined && (alias < 1 || alias > maximum)) throw new Error(`alias ${alias} of ${maximum}`);
    if (alias !== undefined && packet.topic !== "") names.set(alias, packet.topic);
    const topic = packet.topic || names.get(alias ?? 0);
    if (!topic) throw new Error(`an alias that nobody has said: ${alias}`);
    found.push({ ...packet, topic });
  });
  reading.parse(octets);
  return found;
}

test("with topic aliases a receiver has the names that were written, and no packet is longer than the core took it for", () => {
  const names = fc.uniqueArray(text, { minLength: 1, maxLength: 30 });
  const publications = names.chain((all) =>
    fc.array(
      fc.record({
        topicName: fc.constantFrom(...all),
        payload: octets,
        qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
        retain: fc.boolean(),
        meta: fc.option(metas, { nil: undefined }),
      }),
      { minLength: 1, maxLength: 80 },
    ),
  );
  fc.assert(
    fc.property(
      publications,
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 20 }),
      (list, maximum, seen) => {
        const writer = new PacketWriter("5");
        writer.aliases = new TopicAliases(maximum, seen);
        for (const { meta, ...rest } of list) {
          const before = writer.length;
          const publication = { ...rest, ...(meta && { meta }) };
          writer.publish(publication, 9, false);
          // Texts of properties that are not ASCII are counted by their length in UTF-16.
          const isAscii = /^[\0-\x7f]*$/.test(JSON.stringify(meta ?? {}));
          const limits = { ...noLimits, maximumPacketBytes: writer.length - before - 1 };
          if (isAscii) expect(fitsPacket(limits, publication)).toBe(false);
        }
        const whole = Buffer.concat(writer.take());
        const read = resolved(whole, maximum);
        expect(read.map(({ topic, payload, qos }) => `${topic} ${hex(Buffer.from(payload))} ${qos}`)).toEqual(
          list.map(({ topicName, payload, qos }) => `${topicName} ${hex(payload)} ${qos}`),
        );
        expect(read.map(({ properties }) => saidOf(metaOf(properties)))).toEqual(list.map(({ meta }) => saidOf(meta)));
        // Another connection: nothing is known there.
        writer.clear();
        for (const { meta: _, ...rest } of list) writer.publish(rest, 9, true);
        expect(resolved(Buffer.concat(writer.take()), 0)).toHaveLength(list.length);
      },
    ),
    { numRuns: 300 },
  );
});
