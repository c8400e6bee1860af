/** The address book over a server that may be away: what is asked in one turn goes together, and no failure is more than a failure. */
import { expect, test } from "vitest";
import { addressSeconds, RedisAddressBook } from "../../../src/fleet/address-book.ts";

function world() {
  const values = new Map<string, string>();
  const calls: string[] = [];
  const later: (() => void)[] = [];
  const pauses: (() => void)[] = [];
  const server = {
    isAway: false,
    gate: Promise.resolve(),
    async get(keys: readonly string[]) {
      calls.push(`get ${keys.join(" ")}`);
      await server.gate;
      if (server.isAway) throw new Error("there is no connection");
      return keys.map((key) => values.get(key) ?? null);
    },
    async set(entries: readonly (readonly [string, string])[], seconds: number) {
      calls.push(`set ${entries.map(([key]) => key).join(" ")} ${seconds}`);
      await server.gate;
      if (server.isAway) throw new Error("there is no connection");
      for (const [key, value] of entries) values.set(key, value);
    },
  };
  const book = new RedisAddressBook({
    server,
    prefix: "barn",
    later: (call) => void later.push(call),
    pause: (call) => void pauses.push(call),
  });
  const turn = async () => {
    for (const call of later.splice(0)) call();
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };
  /** The pause after a failure is over. */
  const again = async () => {
    for (const call of pauses.splice(0)) call();
    await turn();
  };
  return { values, calls, server, book, later, turn, again };
}

test("what is kept is found, with the front or without; what lies there in another form is not believed", async () => {
  const { values, book, turn } = world();
  book.keep("udp/192.0.2.1:1", { shard: 63, front: "barn 2" });
  book.keep("udp/192.0.2.2:1", { shard: 0, front: "" });
  await turn();
  expect([...values.values()]).toEqual(["63 barn 2", "0"]);
  values.set("{barn}:addr:udp/192.0.2.3:1", "later than this version");
  const asked = [1, 2, 3, 4].map((n) => book.find(`udp/192.0.2.${n}:1`));
  await turn();
  expect(await Promise.all(asked)).toEqual([
    { shard: 63, front: "barn 2" },
    { shard: 0, front: "" },
    undefined,
    undefined,
  ]);
});

test("one command for all that is asked in a turn, and one for all that is written; of two writes the later one", async () => {
  const { values, calls, book, later, turn } = world();
  book.keep("a/1", { shard: 1, front: "" });
  book.keep("a/1", { shard: 2, front: "" });
  const asked = [book.find("a/2"), book.find("a/3")];
  expect(later).toHaveLength(1);
  await turn();
  await Promise.all(asked);
  expect(calls).toEqual(["get {barn}:addr:a/2 {barn}:addr:a/3", `set {barn}:addr:a/1 ${addressSeconds}`]);
  expect(values.get("{barn}:addr:a/1")).toBe("2");
});

test("a server that is away fails the question, and writes are counted; the next ones are asked again", async () => {
  const { server, book, turn } = world();
  server.isAway = true;
  book.keep("a/1", { shard: 1, front: "" });
  const asked = book.find("a/1");
  asked.catch(() => {});
  await turn();
  await expect(asked).rejects.toThrow("there is no connection");
  expect(book.counters).toEqual({ kept: 0, notKept: 1 });
  server.isAway = false;
  book.keep("a/1", { shard: 1, front: "" });
  await turn();
  expect(book.counters).toEqual({ kept: 1, notKept: 1 });
});

test("what could not be written is written when the server is back, unless there is a later entry of the same address", async () => {
  const { server, book, values, turn, again } = world();
  server.isAway = true;
  book.keep("a/1", { shard: 1, front: "" });
  book.keep("a/2", { shard: 2, front: "" });
  await turn();
  await again();
  expect(values.size).toBe(0);
  book.keep("a/2", { shard: 7, front: "" });
  server.isAway = false;
  await again();
  expect([...values.values()].sort()).toEqual(["1", "7"]);
});

test("what waits is bounded, while the server says nothing", async () => {
  const { server, book, turn } = world();
  let open = () => {};
  server.gate = new Promise((resolve) => {
    open = resolve;
  });
  for (let n = 0; n < 6_000; n++) book.keep(`a/${n}`, { shard: 1, front: "" });
  await turn();
  for (let n = 6_000; n < 12_000; n++) book.keep(`a/${n}`, { shard: 1, front: "" });
  expect(book.counters.notKept).toBe(2_000);
  const asked = Array.from({ length: 4_097 }, (_, n) => book.find(`b/${n}`));
  await expect(asked[4_096]).rejects.toThrow("too many look-ups");
  await turn();
  open();
  for (let i = 0; i < 5; i++) await turn();
  expect(await asked[0]).toBeUndefined();
  expect(book.counters.kept).toBe(10_000);
});

test("entries with different times are written with their own times, also after a failed write", async () => {
  const { server, book, calls, values, turn, again } = world();
  const keepAll = () => {
    book.keep("a/1", { shard: 1, front: "" });
    book.keep("dtls/cid:07", { shard: 2, front: "barn" }, 2_592_000);
    book.keep("a/2", { shard: 3, front: "" });
    book.keep("dtls/192.0.2.7:4000", { shard: 2, front: "barn" }, 2_592_000);
  };
  const commands = [
    `set {barn}:addr:a/1 {barn}:addr:a/2 ${addressSeconds}`,
    "set {barn}:addr:dtls/cid:07 {barn}:addr:dtls/192.0.2.7:4000 2592000",
  ];
  keepAll();
  await turn();
  expect(calls).toEqual(commands);
  expect(book.counters).toEqual({ kept: 4, notKept: 0 });
  server.isAway = true;
  keepAll();
  await turn();
  server.isAway = false;
  calls.splice(0);
  values.clear();
  await again();
  expect(calls).toEqual(commands);
  expect(values.size).toBe(4);
});

test("a write that fails does not replace a later one of the same address, which has its own time", async () => {
  const { server, book, calls, turn, again } = world();
  let open = () => {};
  server.gate = new Promise((resolve) => {
    open = resolve;
  });
  server.isAway = true;
  book.keep("a/1", { shard: 1, front: "" }, 100);
  await turn();
  book.keep("a/1", { shard: 2, front: "" }, 200);
  open();
  for (let i = 0; i < 10; i++) await Promise.resolve();
  expect(book.counters.notKept).toBe(1);
  server.isAway = false;
  await again();
  expect(calls).toEqual(["set {barn}:addr:a/1 100", "set {barn}:addr:a/1 200"]);
});
