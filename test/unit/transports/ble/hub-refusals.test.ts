/** What the hub makes of devices that refuse, and of what their links are given. */
import { expect, test } from "vitest";
import { BroadcastReceiver } from "../../../../src/transports/ble/broadcast.ts";
import type { CentralEvent } from "../../../../src/transports/ble/central.ts";
import { BleHub, tickMs } from "../../../../src/transports/ble/hub.ts";
import type { HubOutput } from "../../../../src/transports/ble/hub-output.ts";
import { bleOptions, nordicUartService } from "../../../../src/transports/ble/options.ts";
import { normalUuid } from "../../../../src/transports/ble/uuid.ts";

const address = "c0:00:00:00:00:01";
const parameters = { intervalMs: 30, latency: 0, supervisionMs: 4_000 };
const why = "it refuses what is written to it: an error of its own program (ATT error 0x80)";

class Bench {
  readonly #hub: BleHub;
  #now = 1_000_000;
  #out: HubOutput[] = [];

  constructor(more: Record<string, unknown> = {}) {
    const options = bleOptions.parse({ type: "ble", ...more });
    this.#hub = new BleHub(options, new BroadcastReceiver(options.broadcast, new Map()));
    this.tell({ is: "ready", adapter: "a", driver: "d" });
  }

  tell(event: CentralEvent): this {
    this.#hub.onCentral(event, this.#now);
    return this.#keep();
  }

  pass(ms: number): this {
    for (const end = this.#now + ms; this.#now < end; this.#keep()) {
      this.#now += tickMs;
      this.#hub.tick(this.#now);
    }
    return this;
  }

  /** What it told since the last look, on the level that people see. */
  told(): string[] {
    return this.#look().flatMap((each) => (each.kind === "told" && each.level !== "debug" ? [each.say] : []));
  }

  /** It advertises until it is connected to; after how many ms. */
  linkedAfter(): number {
    const since = this.#now;
    for (let tries = 0; tries < 5_000; tries++) {
      this.tell({
        ...{ is: "seen", address, addressType: "random", connectable: true, name: undefined, rssi: -60 },
        ...{ services: [normalUuid(nordicUartService)], serviceData: [], manufacturerData: [] },
      }).pass(tickMs);
      if (!this.#out.some((each) => each.kind === "command" && each.command.do === "link")) continue;
      this.#out = this.#out.filter((each) => each.kind !== "command");
      this.tell({ is: "parameters", address, parameters });
      this.tell({ is: "linked", address, mtu: 23, confirmed: true });
      return this.#now - since;
    }
    throw new Error("it was never connected to");
  }

  refuses(times: number): this {
    for (let i = 0; i < times; i++)
      this.tell({ is: "data", address, bytes: Uint8Array.of(3, 1, 0) }).tell({ is: "refused", address, why });
    return this;
  }

  /** A message to the device, which takes it. */
  takes(): void {
    this.#hub.send(address, Uint8Array.of(3, 1, 0), this.#now);
    this.#keep();
    for (const each of this.#out.slice()) {
      if (each.kind === "command" && each.command.do === "write") {
        this.tell({ is: "written", address, id: each.command.id });
      }
    }
  }

  get unlinks(): boolean {
    return this.#look().some((each) => each.kind === "command" && each.command.do === "unlink");
  }

  #look(): HubOutput[] {
    return this.#out.splice(0);
  }

  #keep(): this {
    this.#out.push(...this.#hub.take());
    return this;
  }
}

test("a refused write is said at once and once; the third in a row ends the link, and each time it waits longer", () => {
  const bench = new Bench();
  bench.linkedAfter();
  expect(
    bench
      .refuses(2)
      .told()
      .filter((say) => say.includes(why)),
  ).toHaveLength(1);
  expect(bench.unlinks).toBe(false);
  expect(bench.refuses(1).unlinks).toBe(true);
  bench.tell({ is: "unlinked", address, why: "we hung up" });
  expect(bench.told().at(-1)).toMatch(/ATT error 0x80\); next try in 10 s/);
  const pauses = Array.from({ length: 7 }, (_, i) => {
    const after = bench.linkedAfter();
    bench.refuses(3).tell({ is: "unlinked", address, why: "we hung up" });
    const said = bench.told().filter((say) => say.includes("next try"));
    // The second failure is logged too; further ones are only in the debug log.
    expect(said).toHaveLength(i === 0 ? 1 : 0);
    return Math.round(after / 10_000) * 10;
  });
  expect(pauses).toEqual([10, 20, 40, 80, 160, 300, 300]);
});

test("a write that is taken in between begins the count anew", () => {
  const bench = new Bench();
  bench.linkedAfter();
  for (let round = 0; round < 5; round++) bench.refuses(2).takes();
  expect(bench.unlinks).toBe(false);
});

test("a device is told of once for each thing that it does, and of eight things at most", () => {
  const bench = new Bench();
  bench.linkedAfter();
  bench.told();
  for (let i = 0; i < 30; i++) bench.tell({ is: "noticed", address, say: `thing ${i % 15}` });
  expect(bench.told()).toHaveLength(8);
});

test("the log says what the link was given, and when it changes", () => {
  const bench = new Bench();
  bench.linkedAfter();
  expect(bench.told().at(-1)).toMatch(/connected, MTU 23, .*interval 30 ms, latency 0, lost after 4 s of silence/);
  bench.tell({ is: "parameters", address, parameters: { ...parameters, latency: 4 } });
  expect(bench.told()).toEqual([expect.stringMatching(/the link has interval 30 ms, latency 4, .* now/)]);
});
