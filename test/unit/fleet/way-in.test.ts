/** Which shard each record of a single gateway belongs to, and that all of them get there. */
import { describe, expect, test } from "vitest";
import { isSharedKey } from "../../../src/core/inputs/restore-shared.ts";
import type { Change } from "../../../src/core/record.ts";
import { elsewhere, ofClients, ofSharedConnections, placeOf } from "../../../src/fleet/belongs.ts";
import { shardOf } from "../../../src/fleet/shard.ts";
import { fillFleet, type WayInParts } from "../../../src/fleet/way-in.ts";
import { session } from "../../conformance/store-suite.ts";

const shards = 16;
const publication = { topicName: "t", payload: Uint8Array.of(1), qos: 2, retain: false } as const;
const experience = { key: "k", deaths: 1, epochs: 1, ordinal: 1, firstDeath: 0 };
const learnt = { key: "k", taken: 1, until: 1, spanMs: 1, shortest: 1, hasShorterAnswered: false };

/** One of each kind. */
const oneOfEach: { readonly [Of in Change["of"]]: (clientId: string) => Extract<Change, { of: Of }> } = {
  session: (clientId) => session(clientId) as Extract<Change, { of: "session" }>,
  topic: (clientId) => ({ of: "topic", clientId, id: 3, record: { name: "n", known: true } }),
  queued: (clientId) => ({ of: "queued", clientId, id: 900, record: { publication, msgId: 7, released: false } }),
  uplink: (clientId) => ({
    of: "uplink",
    clientId,
    id: 9,
    record: { publication, origin: undefined, stage: "open", isWill: false },
  }),
  received: (clientId) => ({ of: "received", clientId, id: 8, record: { seq: 900 } }),
  backlog: (clientId) => ({ of: "backlog", clientId, id: 41, record: { publication, at: 1 } }),
  taken: (clientId) => ({ of: "taken", clientId, id: 5, record: { topicId: 3, hash: 1 } }),
  known: (clientId) => ({ of: "known", clientId, id: 0, record: {} }),
  letter: (clientId) => ({
    of: "letter",
    clientId,
    id: 77,
    record: { direction: "up", reason: "r", publication, at: 1 },
  }),
  suspect: (clientId) => ({ of: "suspect", clientId, id: 6, record: experience }),
  kind: (clientId) => ({ of: "kind", clientId, id: 6, record: learnt }),
  secure: (clientId) => ({ of: "secure", clientId, id: 0, record: { state: Uint8Array.of(1) } }),
};
const kinds = Object.keys(oneOfEach) as Change["of"][];
const staysBehind = ["secure"];
const staysBehindWithShared = ["session", "received", "suspect", "kind", "secure"];

describe("the way from one gateway into a fleet", () => {
  test.each(kinds.filter((of) => !staysBehind.includes(of)))("a %s goes to the shard of its client, as it is", (of) => {
    for (const clientId of ["meter-1", "meter-2", "ö/%", "pump"]) {
      const change = oneOfEach[of](clientId);
      expect(placeOf(change, shards)).toEqual({ shard: shardOf(clientId, shards), change });
      const gone = { ...change, record: undefined } as Change;
      expect(placeOf(gone, shards)).toEqual({ shard: shardOf(clientId, shards), change: gone });
    }
  });

  test("what keeps a device's encryption stays behind", () => {
    expect(placeOf(oneOfEach.secure("udp/a"), shards)).toEqual({ leftOut: ofClients.secure });
  });

  test.each(staysBehindWithShared)("a %s of a shared connection stays behind", (of) => {
    const key = "\0/0.1";
    expect(isSharedKey(key)).toBe(true); // as the core tells it from a client
    expect(placeOf(oneOfEach[of as Change["of"]](key), shards)).toHaveProperty("leftOut");
  });

  test("of a shared connection nothing else is known, and what is not known stays", () => {
    expect(Object.keys(ofSharedConnections).sort()).toEqual(["kind", "received", "session", "suspect"]);
    const letter = oneOfEach.letter("\0/0");
    expect(placeOf(letter, shards)).toEqual({ shard: shardOf("\0/0", shards), change: letter });
  });

  test("a client of a shared connection has moved; one with an MQTT session of its own has not", () => {
    const homeOf = (more: object) => {
      const placed = placeOf(session("a", more), shards);
      const record = "change" in placed && placed.change.of === "session" ? placed.change.record : undefined;
      return [record?.home, record?.movingTo];
    };
    expect(homeOf({ home: "/0" })).toEqual([elsewhere, undefined]);
    expect(homeOf({ home: "second/3" })).toEqual([elsewhere, undefined]);
    expect(homeOf({ movingTo: "/1" })).toEqual([undefined, elsewhere]);
    expect(homeOf({ home: "/0", movingTo: "second" })).toEqual([elsewhere, "second"]);
    expect(homeOf({ home: "second" })).toEqual(["second", undefined]);
    expect(homeOf({})).toEqual([undefined, undefined]);
  });

  test("each shard's store is given its clients' records in their order, and no others", async () => {
    const clients = Array.from({ length: 300 }, (_, i) => `c${i}`);
    const changes = clients.flatMap((clientId) => kinds.map((of) => oneOfEach[of](clientId)));
    const { made, stores } = await filled([...changes, oneOfEach.received("\0/0")]);
    expect(made.records).toBe(300 * (kinds.length - 1));
    expect(made.sessions).toBe(300);
    for (let shard = 0; shard < shards; shard++)
      expect(stores.get(shard) ?? []).toEqual(
        changes.filter(({ of, clientId }) => of !== "secure" && shardOf(clientId, shards) === shard),
      );
  });

  test("what was deleted while the backup was made is deleted, and its address is not written", async () => {
    const gone = { of: "session", clientId: "a", id: 0, record: undefined } as const;
    const { made, stores, addresses } = await filled([session("a"), session("b"), gone]);
    expect(stores.get(shardOf("a", shards))).toContainEqual(gone);
    expect(made).toMatchObject({ sessions: 1, addresses: 1 });
    expect([...addresses.values()]).toEqual([`${shardOf("b", shards)}`]);
  });

  test("the address book knows who is connected or asleep, at a transport that the fleet has", async () => {
    const at = (clientId: string, peer: string, state: string) => session(clientId, { peer, state } as object);
    const { made, addresses } = await filled([
      at("active", "udp/192.0.2.1:1", "active"),
      at("asleep", "udp/192.0.2.2:1", "asleep"),
      at("behind", "udp/192.0.2.2:1#0a", "active"),
      at("lost", "udp/192.0.2.3:1", "lost"),
      at("left", "udp/192.0.2.4:1", "disconnected"),
      at("radio", "radio/7", "active"),
    ]);
    expect(addresses).toEqual(
      new Map([
        ["{p/fleet}:addr:udp/192.0.2.1:1", `${shardOf("active", shards)}`],
        ["{p/fleet}:addr:udp/192.0.2.2:1", `${shardOf("asleep", shards)}`],
        ["{p/fleet}:addr:udp/192.0.2.2:1#0a", `${shardOf("behind", shards)}`],
      ]),
    );
    expect(made).toMatchObject({ sessions: 6, addresses: 3, elsewhere: new Map([["radio", 1]]) });
  });

  test("it names the shared connections that stay behind, and what a later version wrote", async () => {
    const { made, stores } = await filled(
      [
        session("\0/0"),
        session("\0/0.2"),
        session("\0second/1"),
        { ...session("\0second/1"), record: undefined } as Change,
      ],
      [{ is: "later", what: "kind z" }, { is: "own" }],
    );
    expect(made).toMatchObject({ records: 0, sessions: 0, sharedConnections: ["/0", "/0.2"], leftOut: ["kind z"] });
    expect(stores.size).toBe(0);
  });

  test("a store that cannot be written ends it", async () => {
    const failing = { write: () => Promise.reject(new Error("full")) };
    await expect(filled([session("a")], [], failing)).rejects.toThrow("full");
  });
});

type Content = WayInParts["contents"] extends AsyncIterable<infer Each> ? Each : never;

async function filled(changes: readonly Change[], more: readonly Content[] = [], parts: Partial<WayInParts> = {}) {
  const stores = new Map<number, Change[]>();
  const addresses = new Map<string, string>();
  async function* contents(): AsyncGenerator<Content> {
    for (const change of changes) yield { is: "change", change };
    yield* more;
  }
  const made = await fillFleet({
    shards,
    transports: new Set(["udp"]),
    contents: contents(),
    write: async (shard, written) => void stores.set(shard, [...(stores.get(shard) ?? []), ...written]),
    book: {
      set: async (entries) => {
        for (const [key, value] of entries) addresses.set(key, value);
      },
    },
    prefix: "p/fleet",
    read: () => {},
    ...parts,
  });
  return { made, stores, addresses };
}
