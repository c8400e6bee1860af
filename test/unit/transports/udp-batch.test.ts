/** Addresses of batched UDP: their binary form and their names, and the limit of what is remembered. */
import { beforeEach, describe, expect, test } from "vitest";
import type { PeerId } from "../../../src/core/types.ts";
import { RecentMap } from "../../../src/transports/recent-map.ts";
import { type PeerNames, V4Addresses, V6Addresses } from "../../../src/transports/udp-addresses.ts";
import { type BatchEvents, UdpBatch } from "../../../src/transports/udp-batch.ts";
import type { NativeBatch } from "../../../src/transports/udp-native.ts";
import { ReplyAddresses } from "../../../src/transports/udp-reply-addresses.ts";
import { TurnEnd } from "../../../src/upstream/turn-end.ts";

const names: PeerNames = {
  peerOf: (host, port) => `udp/${host}:${port}`,
  addressOf: (peer) => {
    const colon = peer.lastIndexOf(":");
    return { host: peer.slice(4, colon), port: Number(peer.slice(colon + 1)) };
  },
};

let lookUps: string[] = [];
let sent: number[] = [];
/** What the kernel takes of each call. */
let room = Number.POSITIVE_INFINITY;
let inbox = 0;
let wake: (what: number) => number = () => 0;
let gathers = 0;
let calls: string[] = [];
/** A kernel with addresses of one octet: ::7 is 7. */
const native: NativeBatch = {
  open: () => 3,
  locals: () => 0,
  duplicate: () => 4,
  host: (words, index) => `::${words[index * 8 + 7]}`,
  address: (host, port, words, index) => {
    lookUps.push(`${host} ${port}`);
    words.set([port, 0, 0, 0, 0, Number(host.slice(2))], index * 8 + 2);
    return host.startsWith("::") ? 1 : 0;
  },
  receive: (_fd, _arena, words) => {
    const count = Math.min(inbox, 64);
    inbox -= count;
    for (let i = 0; i < count; i++) words.set([i, 1, 9, 0, 0, 0, 0xffff, i], i * 8);
    return count;
  },
  send: (_fd, _arena, words, count) => {
    const taken = Math.min(count, room);
    for (let i = 0; i < taken; i++) sent.push(words[i * 8 + 7] ?? 0);
    return taken;
  },
  thin: (_fd, first, second) => {
    calls.push(`thin ${first} ${second}`);
    return 0;
  },
  hops: (_fd, count) => {
    calls.push(`hops ${count}`);
    return 0;
  },
  watch: (_fd, call, gatherMilliseconds) => {
    gathers = gatherMilliseconds;
    wake = call;
    return {};
  },
  wake: (_watch, whenWritable) => {
    calls.push(`wake ${whenWritable}`);
    return 0;
  },
  unwatch: () => {
    calls.push("unwatch");
  },
};
beforeEach(() => {
  lookUps = [];
  sent = [];
  room = Number.POSITIVE_INFINITY;
  inbox = 0;
  calls = [];
});

describe("IPv4", () => {
  const words = new Uint32Array(16);

  test.each<[PeerId, number, number]>([
    ["udp/192.0.2.1:1883", 0xc000_0201, 1883],
    ["udp/255.255.255.255:65535", 0xffff_ffff, 65_535],
    ["udp/0.0.0.0:1", 0, 1],
  ])("%s to words and back", (peer, address, port) => {
    const v4 = new V4Addresses(names);
    words.fill(0xdead);
    expect(v4.write(peer, words, 8)).toBe(true);
    expect([...words.subarray(10)]).toEqual([port, 0, 0, 0, 0xffff, address]);
    expect(v4.peerAt(words, 8)).toBe(peer);
    expect(v4.peerAt(words, 8)).toBe(peer);
  });

  test.each<PeerId>([
    "udp/",
    "udp/1.2.3:4",
    "udp/1.2.3.4",
    "udp/1.2.3.4:",
    "udp/1.2.3.4:0",
    "udp/1.2.3.4:65536",
    "udp/1.2.3.4:1x",
    "udp/1.2.3.4:123456",
    "udp/1.2.3.256:4",
    "udp/1.2.3.4.5:6",
    "udp/1..3.4:5",
    "udp/0001.2.3.4:5",
    "udp/::1:5",
    "udp/host:5",
    "udp/-1.2.3.4:5",
    "udp/1.2.3.4:+5",
  ])("%s is no address", (peer) => {
    expect(new V4Addresses(names).write(peer, words, 0)).toBe(false);
  });
});

describe("IPv6", () => {
  test("a name is looked up once, an address that agrees in part is told apart", () => {
    const v6 = new V6Addresses(native, names);
    const words = new Uint32Array(16);
    for (let i = 0; i < 2; i++) expect(v6.write("udp/::7:1883", words, 8)).toBe(true);
    expect(lookUps).toEqual(["::7 1883"]);
    expect(v6.peerAt(words, 8, 1)).toBe("udp/::7:1883");
    const other = new V6Addresses({ ...native, host: () => "fe80::7%eth0" }, names);
    other.write("udp/::7:1883", words, 8);
    words[8 + 3] = 2; // the scope
    expect(other.peerAt(words, 8, 1)).toBe("udp/fe80::7%eth0:1883");
    expect(v6.write("udp/host:1", words, 0)).toBe(false);
  });
});

describe("from which address a peer is answered", () => {
  const v4 = (address: number) => [0, 0, 0, 0xffff, address];
  /** Words with those of the datagram in the middle of others. */
  const came = (local: readonly number[]) => Uint32Array.of(7, 7, 7, 7, 7, ...local, 7, 7, 7, 7, 7);
  const answered = (addresses: ReplyAddresses, peer: PeerId): number[] => {
    const words = came([9, 9, 9, 9, 9]);
    addresses.write(peer, words, 5);
    expect([...words.subarray(0, 5), ...words.subarray(10)]).toEqual(Array(10).fill(7));
    return [...words.subarray(5, 10)];
  };

  test("the one that it wrote to last; a group is none, and of a stranger nothing is known", () => {
    const addresses = new ReplyAddresses();
    expect(answered(addresses, "udp/a")).toEqual([0, 0, 0, 0, 0]);
    for (const local of [v4(0x0a00_0001), v4(0xffff_fffe), [3, 0xfe80_0000, 0, 0, 1], [4, 0xfe80_0000, 0, 0, 1]]) {
      addresses.heard("udp/a", came(local), 5);
      expect(answered(addresses, "udp/a")).toEqual(local);
      addresses.heard("udp/a", came([0, 0, 0, 0, 0]), 5);
      expect(answered(addresses, "udp/a")).toEqual(local);
    }
    addresses.heard("udp/b", came([0, 0, 0, 0, 0]), 5);
    expect(answered(addresses, "udp/b")).toEqual([0, 0, 0, 0, 0]);
  });

  test("no more peers are remembered than twice the limit, and who speaks or is spoken to stays", () => {
    const addresses = new ReplyAddresses(100);
    for (let i = 0; i < 1_000; i++) {
      addresses.heard(`udp/${i}`, came(v4(i + 1)), 5); // more addresses, too, than are shared
      expect(answered(addresses, "udp/0")).toEqual(v4(1));
    }
    const known = Array.from({ length: 1_000 }, (_, i) => i).filter(
      (i) => answered(addresses, `udp/${i}`)[4] === i + 1,
    );
    expect(known.length).toBeLessThanOrEqual(200);
    expect(known).toContain(999);
  });
});

describe("the batch", () => {
  const one = Uint8Array.of(1);
  let unsent = 0;
  let came: string[] = [];
  let failures: string[] = [];
  const events: BatchEvents = {
    ...names,
    datagram: (from) => came.push(from),
    batch: (work) => {
      came.push("(");
      work();
      came.push(")");
    },
    notSent: (count) => {
      unsent += count;
    },
    failed: ({ message }) => failures.push(message),
  };
  const open = (): UdpBatch => {
    unsent = 0;
    came = [];
    failures = [];
    const batch = UdpBatch.open(native, { host: "192.0.2.1", port: 1_883, gatherMilliseconds: 5 }, events);
    if (!batch) throw new Error("not opened");
    return batch;
  };
  const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

  test("what is no literal address is refused, and nothing is sent once it is closed", () => {
    const batch = open();
    for (const i of numbers(1, 64)) expect(batch.send(`udp/0.0.0.${i}:1`, one)).toBe(true);
    expect(batch.send("udp/host:1", one)).toBe(false);
    expect(batch.send("udp/0.0.0.65:1", one)).toBe(true);
    batch.close();
    batch.close();
    expect(sent).toEqual(numbers(1, 65));
    expect(batch.send("udp/0.0.0.1:1", one)).toBe(false);
    expect(calls).toEqual(["unwatch"]);
    wake(1);
    expect(came).toEqual([]);
  });

  test("a wake-up hands over all that waits, together; answers leave at its end", () => {
    const batch = open();
    inbox = 60;
    events.datagram = (from) => {
      came.push(from);
      batch.send("udp/0.0.0.1:1", one);
      if (came.length === 50) expect(sent).toEqual([]);
    };
    expect(wake(1)).toBe(60);
    expect(gathers).toBe(5);
    expect(came).toHaveLength(62);
    expect([came[0], came[1], came[60], came[61]]).toEqual(["(", "udp/0.0.0.0:9", "udp/0.0.0.59:9", ")"]);
    expect(sent).toHaveLength(60);
  });

  test("one turn does not read for ever: the next wake-up goes on", () => {
    open();
    inbox = 10_000;
    expect(wake(1)).toBe(-1);
    expect(inbox).toBe(10_000 - 64);
  });

  test("no room in the socket's buffer: it waits, in order, up to a limit", () => {
    const batch = open();
    room = 10;
    for (const i of numbers(1, 64)) batch.send(`udp/0.0.0.${i}:1`, one);
    expect(sent).toEqual(numbers(1, 10));
    expect(calls).toEqual(["wake true"]);
    for (const i of numbers(65, 1_034)) expect(batch.send(`udp/0.0.${i >> 8}.${i & 255}:1`, one)).toBe(true);
    expect(batch.send("udp/0.0.9.9:1", one)).toBe(false);
    wake(2); // ten more; the rest waits again
    expect(sent).toEqual(numbers(1, 20));
    room = Number.POSITIVE_INFINITY;
    wake(2);
    expect(sent).toEqual(numbers(1, 1_034));
    expect(calls.at(-1)).toBe("wake false");
    expect(unsent).toBe(0);
    room = 0;
    batch.broadcast("udp/0.0.0.7:1", one, 3);
    batch.close();
    expect(unsent).toBe(1);
    expect(calls).toContain("hops 3");
  });

  test.each([
    ["all addresses", 1],
    ["one address", 0],
  ])("bound to %s: where each answer leaves from", (_what, isForAll) => {
    const came: (Uint32Array | undefined)[] = [];
    const left: (readonly number[] | undefined)[] = [];
    unsent = 0;
    const own: NativeBatch = {
      ...native,
      locals: () => isForAll,
      receive: (fd, arena, words, count, locals) => {
        came.push(locals);
        for (let i = 0; i < 64; i++) locals?.set([0, 0, 0, 0xffff, 1_000 + i], i * 5);
        return native.receive(fd, arena, words, count);
      },
      send: (fd, arena, words, count, locals) => {
        for (let i = 0; i < Math.min(count, room); i++) left.push(locals && [...locals.subarray(i * 5, i * 5 + 5)]);
        return native.send(fd, arena, words, count);
      },
    };
    const batch = UdpBatch.open(own, { host: "0.0.0.0", port: 1_883, gatherMilliseconds: 0 }, events);
    inbox = 3;
    events.datagram = (from) => void batch?.send(from, one);
    room = 1;
    wake(1); // two find no room, and wait
    room = 10;
    batch?.broadcast("udp/224.0.0.1:1", one, 3);
    wake(2);
    const from = (address: number) => (isForAll ? [0, 0, 0, 0xffff, address] : undefined);
    expect(left).toEqual([from(1_000), from(1_001), from(1_002), isForAll ? [0, 0, 0, 0, 0] : undefined]);
    expect(came).toEqual([isForAll ? expect.any(Uint32Array) : undefined]);
  });

  test("where nothing may leave any more, what waits for the end of the turn does not either", () => {
    let may = true;
    events.mayLeave = () => may;
    const batch = open();
    inbox = 3;
    events.datagram = () => {
      batch.send("udp/0.0.0.1:1", one);
      may = false; // it stood still in the middle
    };
    wake(1);
    expect(sent).toEqual([]);
    expect(unsent).toBe(3);
    batch.close();
    expect(sent).toEqual([]);
    delete events.mayLeave;
  });

  test("an error of the socket is told", () => {
    open();
    wake(-9);
    expect(failures).toEqual(["the socket failed: EBADF"]);
  });
});

test("the end of a turn: who asks within `around` is called after it, others by an immediate", async () => {
  const turnEnd = new TurnEnd();
  const order: string[] = [];
  const add = (name: string) => turnEnd.add(() => order.push(name));
  turnEnd.around(() => {
    add("a");
    turnEnd.around(() => add("b"));
    order.push("work");
  });
  expect(order).toEqual(["work", "a", "b"]);
  add("before");
  turnEnd.around(() => add("with it"));
  expect(order).toHaveLength(3);
  await new Promise((done) => setImmediate(done));
  expect(order.slice(3)).toEqual(["before", "with it"]);
  const fails = () => {
    add("still");
    throw new Error("no");
  };
  expect(() => turnEnd.around(fails)).toThrow("no");
  expect(order.at(-1)).toBe("still");
});

test("the end of a turn where nothing may leave any more: nobody is called", async () => {
  let may = true;
  const turnEnd = new TurnEnd(() => may);
  const order: string[] = [];
  turnEnd.add(() => order.push("a"));
  may = false;
  await new Promise((done) => setImmediate(done));
  turnEnd.around(() => turnEnd.add(() => order.push("b")));
  expect(order).toEqual([]);
});

test("a map of what was asked for recently: bounded, and what is used stays", () => {
  const map = new RecentMap<number, string>(10);
  map.set(0, "zero");
  for (let i = 1; i <= 1_000; i++) {
    map.set(i, "more");
    expect(map.get(0)).toBe("zero");
  }
  const kept = Array.from({ length: 1_001 }, (_, i) => i).filter((i) => map.get(i) !== undefined);
  expect(kept.length).toBeLessThanOrEqual(20);
  expect(kept).toContain(1_000);
});
