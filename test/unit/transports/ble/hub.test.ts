/** The hub by hand: what the adapter says and the time go in, commands come out. */
import { describe, expect, test } from "vitest";
import { BroadcastReceiver } from "../../../../src/transports/ble/broadcast.ts";
import type { CentralCommand, CentralEvent } from "../../../../src/transports/ble/central.ts";
import { BleHub, tickMs } from "../../../../src/transports/ble/hub.ts";
import type { HubOutput } from "../../../../src/transports/ble/hub-output.ts";
import { bleOptions, nordicUartService } from "../../../../src/transports/ble/options.ts";
import { normalUuid } from "../../../../src/transports/ble/uuid.ts";

const message = Uint8Array.of(3, 1, 0);
const at = (n: number) => `c0:00:00:00:00:${n.toString(16).padStart(2, "0")}`;

class HubBench {
  readonly hub: BleHub;
  now = 1_000_000;
  readonly outputs: HubOutput[] = [];

  constructor(more: Record<string, unknown> = {}) {
    const options = bleOptions.parse({ type: "ble", ...more });
    this.hub = new BleHub(options, new BroadcastReceiver(options.broadcast, new Map()));
    this.tell({ is: "ready", adapter: "a", driver: "d" });
  }

  tell(event: CentralEvent): this {
    this.hub.onCentral(event, this.now);
    this.outputs.push(...this.hub.take());
    return this;
  }

  /** The device advertises. */
  seen(n: number, more: Partial<Extract<CentralEvent, { is: "seen" }>> = {}): this {
    return this.tell({
      is: "seen",
      address: at(n),
      addressType: "random",
      connectable: true,
      name: undefined,
      services: [normalUuid(nordicUartService)],
      serviceData: [],
      manufacturerData: [],
      rssi: -60,
      ...more,
    });
  }

  pass(ms: number): this {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += Math.min(tickMs, end - this.now);
      this.hub.tick(this.now);
      this.outputs.push(...this.hub.take());
    }
    return this;
  }

  /** Commands since the last look. */
  commands(): CentralCommand[] {
    const commands = this.outputs.flatMap((output) => (output.kind === "command" ? [output.command] : []));
    this.outputs.length = 0;
    return commands;
  }

  /** Connections asked for, and ended, since the last look; scanning left out. */
  wishes(): string[] {
    return this.commands().flatMap((command) =>
      command.do === "scan" ? [] : [`${command.do} ${command.address.slice(-2)}`],
    );
  }

  said(): string[] {
    return this.outputs.flatMap((output) => (output.kind === "told" ? [output.say] : []));
  }

  linked(n: number): this {
    const wish = `link ${at(n).slice(-2)}`;
    let asked = false;
    for (let i = 0; i < 10 && !asked; i++) asked = this.seen(n).pass(300).wishes().includes(wish);
    expect(asked, wish).toBe(true);
    this.tell({ is: "linked", address: at(n), mtu: 23, confirmed: false });
    this.outputs.length = 0;
    return this;
  }

  data(n: number, bytes: Uint8Array = message): this {
    return this.tell({ is: "data", address: at(n), bytes });
  }

  send(n: number, bytes: Uint8Array = message): this {
    this.hub.send(at(n), bytes, this.now);
    this.outputs.push(...this.hub.take());
    return this;
  }

  releaseLink(n: number): this {
    this.hub.releaseLink(at(n), this.now);
    return this;
  }
}

describe("scanning", () => {
  test("goes on and off as configured, and pauses while a connection is being made", () => {
    const bench = new HubBench({ scan: { onSeconds: 2, offSeconds: 1 } });
    const scans = () => bench.commands().flatMap((command) => (command.do === "scan" ? [command.on] : []));
    expect(scans()).toEqual([true]);
    bench.pass(1_900);
    expect(scans()).toEqual([]);
    bench.pass(200);
    expect(scans()).toEqual([false]);
    bench.pass(1_000);
    expect(scans()).toEqual([true]);
    bench.seen(1).pass(400);
    expect(bench.commands()).toEqual([
      { do: "scan", on: false },
      { do: "link", address: at(1) },
    ]);
    bench.pass(10_000);
    expect(scans()).toEqual([]);
    bench.tell({ is: "linkFailed", address: at(1), why: "x" });
    expect(scans()).toEqual([true]);
  });
});

describe("who may connect", () => {
  test("those that advertise the service; deny wins; nobody with an empty list", () => {
    const bench = new HubBench({ deny: [{ name: "BAD*" }] });
    bench.seen(1, { services: [] }).seen(2, { name: "bad one" }).seen(3, { connectable: false }).pass(1_000);
    expect(bench.wishes()).toEqual([]);
    bench.seen(4).pass(400);
    expect(bench.wishes()).toEqual(["link 04"]);
    const closed = new HubBench({ allow: [] }).seen(1).pass(1_000);
    expect(closed.wishes()).toEqual([]);
    expect([...closed.hub.devices()]).toEqual([]);
  });

  test("by address, by name, by both, by strength", () => {
    const bench = new HubBench({ allow: [{ address: "C0:00:00:*", name: "BBC micro:bit*" }], rssiMin: -70 });
    bench.seen(1).seen(2, { name: "BBC micro:bit [zovap]", rssi: -71 }).pass(1_000);
    expect(bench.wishes()).toEqual([]);
    bench.seen(3, { name: "BBC micro:bit [zovap]", services: [] }).pass(400);
    expect(bench.wishes()).toEqual(["link 03"]);
  });

  test("a name that comes only in the scan response counts with the services of before", () => {
    const bench = new HubBench({ allow: [{ name: "sensor", service: nordicUartService }] });
    bench.seen(1).pass(400);
    expect(bench.wishes()).toEqual([]);
  });
});

describe("one connection after the other", () => {
  test("no second attempt while one is under way, and then one more look at the advertisements", () => {
    const bench = new HubBench().seen(1).seen(2).pass(400);
    expect(bench.wishes()).toEqual(["link 01"]);
    bench.seen(2).pass(5_000);
    expect(bench.wishes()).toEqual([]);
    bench.tell({ is: "linked", address: at(1), mtu: 23, confirmed: false }).pass(400);
    expect(bench.wishes()).toEqual([]); // not seen since scanning continued
    bench.seen(2);
    expect(bench.wishes()).toEqual(["link 02"]);
  });

  test("who fails waits longer each time, up to five minutes; others do not", () => {
    const bench = new HubBench();
    const pauses: number[] = [];
    for (let i = 0; i < 11; i++) {
      let waited = 0;
      while (!bench.wishes().includes("link 01")) {
        bench.seen(1).pass(500);
        waited += 500;
      }
      pauses.push(waited);
      bench.tell({ is: "linkFailed", address: at(1), why: "no answer" });
    }
    const tail = pauses.slice(1).map((ms) => Math.floor(ms / 1_000));
    expect(tail.slice(0, 5)).toEqual([1, 2, 4, 8, 16]);
    expect(tail.at(-1)).toBe(300);
    bench.seen(1).seen(2).pass(500);
    expect(bench.wishes()).toEqual(["link 02"]);
    expect(bench.hub.counters.linksFailed).toBe(11);
  });

  test("the line of the second failure says the 2nd time", () => {
    const bench = new HubBench();
    const lines: string[] = [];
    for (let i = 0; i < 12; i++) {
      while (!bench.wishes().includes("link 01")) bench.seen(1).pass(1_000);
      bench.tell({ is: "linkFailed", address: at(1), why: "no answer" });
      lines.push(...bench.said());
    }
    const times = lines.map((line) => /the (\w+) time/.exec(line)?.[1]);
    expect(times).toEqual([undefined, ..."2nd 3rd 4th 5th 6th 7th 8th 9th 10th 11th 12th".split(" ")]);
  });

  test("an attempt that does not end, ends the process; the device that hung it waits a minute", () => {
    const bench = new HubBench().seen(1).pass(400);
    bench.pass(36_000);
    expect(bench.outputs).toContainEqual({ kind: "restart", why: `connecting to ${at(1)} did not finish` });
    bench.tell({ is: "unavailable", why: "it said nothing for 10 s", hung: true });
    bench.tell({ is: "ready", adapter: "a", driver: "d" });
    bench.commands();
    for (let i = 0; i < 59; i++) bench.seen(1).pass(1_000);
    expect(bench.wishes()).toEqual([]);
    for (let i = 0; i < 4; i++) bench.seen(1).pass(1_000);
    expect(bench.wishes()).toEqual(["link 01"]);
  });
});

describe("messages", () => {
  test("come out whole, go in two at a time, and are counted", () => {
    const bench = new HubBench().linked(1);
    bench.data(1, Uint8Array.of(3)).data(1, Uint8Array.of(1, 0, 2, 0x16, 4));
    expect(bench.outputs).toEqual([
      { kind: "message", address: at(1), bytes: message },
      { kind: "message", address: at(1), bytes: Uint8Array.of(2, 0x16) },
    ]);
    bench.outputs.length = 0;
    for (let i = 0; i < 4; i++) bench.send(1, Uint8Array.of(3, 2, i));
    const first = bench.commands();
    expect(first).toHaveLength(2);
    const id = first[0]?.do === "write" ? first[0].id : 0;
    bench.tell({ is: "written", address: at(1), id });
    expect(bench.commands()).toMatchObject([{ do: "write", bytes: Uint8Array.of(3, 2, 2) }]);
    expect(bench.hub.counters).toMatchObject({ messagesIn: 2, messagesOut: 3, bytesIn: 5, bytesOut: 9 });
  });

  test("wait for a device that is away, which then comes first; and are given up after a while", () => {
    const bench = new HubBench({ linksMax: 1 }).linked(1).data(1);
    bench.tell({ is: "unlinked", address: at(1), why: "away" });
    bench.send(1);
    expect(bench.commands().filter((command) => command.do === "write")).toEqual([]);
    bench.seen(2).seen(1).pass(400);
    expect(bench.wishes()).toEqual(["link 01"]);
    bench.tell({ is: "linked", address: at(1), mtu: 23, confirmed: false });
    expect(bench.commands()).toMatchObject([{ do: "write" }, { do: "scan", on: true }]);
    bench.tell({ is: "unlinked", address: at(1), why: "away" });
    const before = bench.hub.counters.sendErrors;
    bench.send(1).pass(10_100);
    bench.linked(1);
    expect(bench.hub.counters.sendErrors).toBe(before + 1);
  });

  test("beyond the limit, and to nobody, they count as lost", () => {
    const bench = new HubBench().linked(1);
    for (let i = 0; i < 80; i++) bench.send(1);
    expect(bench.hub.counters.sendErrors).toBe(80 - 2 - 64);
    bench.send(9);
    expect(bench.hub.counters.sendErrors).toBe(80 - 2 - 64 + 1);
  });

  test("a part that stays a part is noise; the next message is read", () => {
    const bench = new HubBench({ resyncSeconds: 2, supervisionSeconds: 1 })
      .linked(1)
      .data(1, Uint8Array.of(9, 4, 4))
      .pass(2_000);
    bench.outputs.length = 0;
    bench.data(1);
    expect(bench.outputs[0]).toMatchObject({ kind: "message", bytes: message });
    expect(bench.hub.counters.noiseBytes).toBe(3);
  });

  test("a radio that was silent for as long as it may goes on where it was", () => {
    const bench = new HubBench({ resyncSeconds: 2, supervisionSeconds: 4 })
      .linked(1)
      .data(1, message.slice(0, 2))
      .pass(4_000);
    bench.outputs.length = 0;
    bench.data(1, message.slice(2));
    expect(bench.outputs[0]).toMatchObject({ kind: "message", bytes: message });
    expect(bench.hub.counters.noiseBytes).toBe(0);
  });

  describe("the Bluetooth process stood still, so octets may be missing", () => {
    const stalled = { is: "stalled", ms: 3_000 } as const;
    const messagesOf = (bench: HubBench) => bench.outputs.filter(({ kind }) => kind === "message").length;

    test("in the middle of a message: the link is ended, and what still comes by it is not read", () => {
      const bench = new HubBench().linked(1).linked(2).data(1, message.slice(0, 2)).data(2);
      bench.outputs.length = 0;
      bench.tell(stalled).data(1, message.slice(2)).data(1);
      expect(messagesOf(bench)).toBe(0);
      expect(bench.said()[0]).toContain("stood still for 3.0 s");
      expect(bench.wishes()).toEqual(["unlink 01"]);
      bench.tell({ is: "unlinked", address: at(1), why: "by us" });
      expect(bench.hub.counters).toMatchObject({ linksLost: 1, noiseBytes: 6 });
      bench.linked(1).data(1);
      expect(messagesOf(bench)).toBe(1);
    });

    test("soon after it: whole messages are taken, a part or noise ends the link", () => {
      const bench = new HubBench().linked(1).linked(2).tell(stalled).data(1).data(2);
      expect(messagesOf(bench)).toBe(2);
      bench.outputs.length = 0;
      bench.data(1, Uint8Array.of(...message, 5, 4)).data(2, Uint8Array.of(...message, 0));
      expect(messagesOf(bench)).toBe(0);
      expect(bench.wishes()).toEqual(["unlink 01", "unlink 02"]);
    });

    test("the kernel dropped nothing: the message is filled up, no link ends", () => {
      const bench = new HubBench().linked(1).data(1, message.slice(0, 2));
      bench.outputs.length = 0;
      bench.tell({ ...stalled, dropped: 0 });
      expect(bench.said()).toEqual(["ble: the Bluetooth process stood still for 3.0 s; the kernel kept all packets"]);
      bench.data(1, Uint8Array.of(...message.slice(2), ...message.slice(0, 1))).data(1, message.slice(1));
      expect(messagesOf(bench)).toBe(2);
      expect(bench.wishes()).toEqual([]);
    });

    test("the kernel dropped packets though nothing stood still: as if it had", () => {
      const bench = new HubBench().linked(1).linked(2).data(1, message.slice(0, 2));
      bench.outputs.length = 0;
      bench.tell({ is: "stalled", ms: 0, dropped: 7 });
      expect(bench.said()[0]).toContain("the kernel dropped 7 packets");
      bench.data(2, message.slice(0, 2));
      expect(bench.wishes()).toEqual(["unlink 01", "unlink 02"]);
    });

    test("later all is as ever", () => {
      const bench = new HubBench().linked(1).tell(stalled).pass(1_000).data(1, message.slice(0, 2));
      expect(bench.wishes()).toEqual([]);
      bench.data(1, message.slice(2));
      expect(messagesOf(bench)).toBe(1);
    });
  });

  test("a link that takes no writes is ended, and when that does not end either, the process", () => {
    const bench = new HubBench().linked(1).data(1).send(1).pass(15_200);
    expect(bench.wishes()).toContain("unlink 01");
    bench.pass(15_200);
    expect(bench.outputs.some(({ kind }) => kind === "restart")).toBe(true);
  });
});

describe("links end", () => {
  test("lost: the gateway is told, the device may come back at once", () => {
    const bench = new HubBench().linked(1).data(1);
    bench.outputs.length = 0;
    bench.tell({ is: "unlinked", address: at(1), why: "the device hung up" });
    expect(bench.outputs).toContainEqual({ kind: "gone", address: at(1), why: "the device hung up" });
    bench.seen(1).pass(400);
    expect(bench.wishes()).toEqual(["link 01"]);
  });

  test("a sleeper's link is let go after a second, when everything is written; what it says keeps it", () => {
    const bench = new HubBench().linked(1).data(1).send(1).releaseLink(1).pass(3_000);
    expect(bench.wishes()).toEqual(["write 01"]);
    bench.tell({ is: "written", address: at(1), id: 1 }).pass(200);
    expect(bench.wishes()).toEqual(["unlink 01"]);
    const woken = new HubBench().linked(1).data(1).releaseLink(1).pass(500).data(1).pass(5_000);
    expect(woken.wishes()).toEqual([]);
  });

  test("the adapter goes: all links are gone, said once, and it begins again", () => {
    const bench = new HubBench().linked(1).linked(2);
    bench.tell({ is: "unavailable", why: "pulled out" }).tell({ is: "unavailable", why: "pulled out" });
    expect(bench.outputs.filter(({ kind }) => kind === "gone")).toHaveLength(2);
    expect(bench.said().filter((say) => /pulled out\. The gateway continues/.test(say))).toHaveLength(1);
    expect(bench.hub.condition).toEqual({ ready: false, say: "pulled out" });
    bench.commands();
    bench.tell({ is: "ready", adapter: "a", driver: "d" });
    expect(bench.commands()).toEqual([{ do: "scan", on: true }]);
  });

  test("who has a Nordic UART and never says MQTT-SN is left alone for longer and longer", () => {
    const bench = new HubBench().linked(1).data(1, Buffer.from("\0hello")).pass(30_100);
    expect(bench.wishes()).toEqual(["unlink 01"]);
    bench.tell({ is: "unlinked", address: at(1), why: "we hung up" });
    for (let i = 0; i < 58; i++) bench.seen(1).pass(1_000);
    expect(bench.wishes()).toEqual([]);
  });
});

describe("more devices than links", () => {
  test("a sleeper's link goes first, then the longest silent; busy ones keep theirs for a minute", () => {
    const bench = new HubBench({ linksMax: 2, turnSeconds: 5, turnSecondsMax: 60 }).linked(1).linked(2);
    bench.data(1).data(2).pass(1_000);
    bench.seen(3).pass(400);
    expect(bench.wishes()).toEqual([]);
    for (let i = 0; i < 10; i++) bench.data(2).seen(3).pass(1_000);
    expect(bench.wishes()).toEqual(["unlink 01"]);
    bench
      .tell({ is: "unlinked", address: at(1), why: "we hung up" })
      .seen(3)
      .pass(400);
    expect(bench.wishes()).toEqual(["link 03"]);
    bench.tell({ is: "linked", address: at(3), mtu: 23, confirmed: false });
    const began = bench.now;
    for (let i = 0; i < 100 && !bench.wishes().includes("unlink 02"); i++) bench.data(2).data(3).seen(1).pass(1_000);
    expect(bench.now - began).toBeLessThan(61_000);
    bench.tell({ is: "unlinked", address: at(2), why: "we hung up" });
  });

  test("twenty devices over four links: each gets its turn, again and again", () => {
    const bench = new HubBench({ linksMax: 4, turnSeconds: 2 });
    const turns = new Map<number, number>();
    const linked = new Set<number>();
    for (let i = 0; i < 3_000; i++) {
      for (let n = 1; n <= 20; n++) if (!linked.has(n)) bench.seen(n);
      for (const command of bench.pass(100).commands()) {
        const n = command.do === "scan" ? 0 : Number.parseInt(command.address.slice(-2), 16);
        if (command.do === "link") {
          linked.add(n);
          turns.set(n, (turns.get(n) ?? 0) + 1);
          bench.tell({ is: "linked", address: at(n), mtu: 23, confirmed: false }).data(n);
        } else if (command.do === "unlink") {
          linked.delete(n);
          bench.tell({ is: "unlinked", address: at(n), why: "we hung up" });
        }
        expect(linked.size).toBeLessThanOrEqual(4);
      }
    }
    expect(turns.size).toBe(20);
    const counts = [...turns.values()];
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(2);
    expect(Math.min(...counts)).toBeGreaterThan(10);
  });

  test("newcomers, or one that takes a new address each time, pass nobody who waits", () => {
    const bench = new HubBench({ linksMax: 1 }).linked(1).data(1).seen(2);
    let next = 10;
    const order: string[] = [];
    for (let i = 0; i < 300 && order.length < 4; i++) {
      bench.seen(++next).seen(2).pass(100);
      for (const wish of bench.wishes()) {
        order.push(wish);
        const address = wish.split(" ")[1] ?? "";
        if (wish.startsWith("unlink"))
          bench.tell({ is: "unlinked", address: `c0:00:00:00:00:${address}`, why: "we hung up" });
      }
    }
    expect(order.slice(0, 2)).toEqual(["unlink 01", "link 02"]);
  });

  test("devices beyond the table are forgotten, connected ones not", () => {
    const bench = new HubBench({ devicesMax: 10 }).linked(1);
    for (let n = 2; n < 200; n++) bench.seen(n, { rssi: -60, connectable: false });
    expect([...bench.hub.devices()]).toHaveLength(10);
    expect([...bench.hub.devices()].some(({ address }) => address === at(1))).toBe(true);
  });
});

test("a broadcast passes once, from whoever, without a connection", () => {
  const bench = new HubBench({ allow: [] });
  const manufacturerData = [Buffer.from("ffffa1000700012137", "hex")];
  bench.seen(1, { services: [], connectable: false, manufacturerData });
  bench.seen(1, { services: [], connectable: false, manufacturerData });
  const messages = bench.outputs.filter(({ kind }) => kind === "message");
  expect(messages).toHaveLength(1);
  expect(bench.hub.counters).toMatchObject({ broadcasts: 1, broadcastDrops: { duplicate: 1 } });
  expect(bench.wishes()).toEqual([]);
});
