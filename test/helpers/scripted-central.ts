/** An adapter played by a script: devices that advertise connect when they are asked to. */
import type { Central, CentralCommand, CentralEvent } from "../../src/transports/ble/central.ts";
import { nordicUartService } from "../../src/transports/ble/options.ts";
import { normalUuid } from "../../src/transports/ble/uuid.ts";
import { pieces, Reassembler } from "../../src/transports/framing.ts";
import type { Timers } from "../../src/transports/timers.ts";

const mtu = 23;

export class ScriptedCentral implements Central {
  readonly counters = { restarts: 0, advertisements: 0, rssBytes: 0 };
  readonly commands: CentralCommand[] = [];
  readonly restarts: string[] = [];
  readonly #nodes = new Map<string, ScriptedNode>();
  #tell: ((event: CentralEvent) => void) | undefined;

  start(onEvent: (event: CentralEvent) => void): void {
    this.#tell = onEvent;
    this.tell({ is: "ready", adapter: "adapter 00:00:00:00:00:00", driver: "script" });
  }

  tell(event: CentralEvent): void {
    queueMicrotask(() => this.#tell?.(event));
  }

  command(command: CentralCommand): void {
    this.commands.push(command);
    if (command.do === "scan") {
      for (const node of this.#nodes.values()) if (command.on && !node.isLinked) this.tell(node.seen());
      return;
    }
    const node = this.#nodes.get(command.address);
    if (command.do === "link" && node) {
      this.tell({ is: "linked", address: command.address, mtu, confirmed: false });
      queueMicrotask(() => node.link());
    } else if (command.do === "unlink") {
      node?.unlink();
      this.tell({ is: "unlinked", address: command.address, why: "we hung up" });
    } else if (command.do === "write") {
      node?.take(command.bytes);
      this.tell({ is: "written", address: command.address, id: command.id });
    }
  }

  restart(why: string): void {
    this.restarts.push(why);
  }

  add(address: string): ScriptedNode {
    const node = new ScriptedNode(address, this);
    this.#nodes.set(address, node);
    this.tell(node.seen());
    return node;
  }

  async close(): Promise<void> {
    this.#tell = undefined;
  }
}

export class ScriptedNode {
  readonly address: string;
  readonly received: Uint8Array[] = [];
  readonly #central: ScriptedCentral;
  readonly #reassembler = new Reassembler({ maxMessageBytes: 65_535, resyncMs: 1_000 });
  #waiting: Uint8Array[] = [];
  isLinked = false;

  constructor(address: string, central: ScriptedCentral) {
    this.address = address;
    this.#central = central;
  }

  seen(): CentralEvent {
    return {
      is: "seen",
      address: this.address,
      addressType: "random",
      connectable: true,
      name: "node",
      services: [normalUuid(nordicUartService)],
      serviceData: [],
      manufacturerData: [],
      rssi: -60,
    };
  }

  link(): void {
    this.isLinked = true;
    for (const bytes of this.#waiting.splice(0)) this.send(bytes);
  }

  unlink(): void {
    this.isLinked = false;
  }

  send(bytes: Uint8Array): void {
    if (!this.isLinked) {
      this.#waiting.push(bytes);
      return;
    }
    for (const part of pieces(bytes, mtu - 3)) this.#central.tell({ is: "data", address: this.address, bytes: part });
  }

  take(bytes: Uint8Array): void {
    this.received.push(...this.#reassembler.take(bytes, 0));
  }

  async close(): Promise<void> {
    this.#waiting = [];
  }
}

/** Time that runs a hundred times faster. */
export const fastTimers: Timers = {
  now: () => performance.now() * 100,
  after(ms, call) {
    const timer = setTimeout(call, ms / 100);
    return () => clearTimeout(timer);
  },
  every(ms, call) {
    const timer = setInterval(call, ms / 100);
    return () => clearInterval(timer);
  },
};

/** Time that stands still until it is moved. */
export class ScriptedTimers implements Timers {
  #now = 1_000_000;
  #timers = new Set<{ at: number; every: number | undefined; call: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): () => void {
    return this.#add({ at: this.#now + ms, every: undefined, call });
  }

  every(ms: number, call: () => void): () => void {
    return this.#add({ at: this.#now + ms, every: ms, call });
  }

  /** Lets time pass, and what is due happen, in order. */
  pass(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#now = Math.max(this.#now, due.at);
      if (due.every === undefined) this.#timers.delete(due);
      else due.at += due.every;
      due.call();
    }
    this.#now = end;
  }

  /** Time passes and nothing happens, not even what is due. */
  stall(ms: number): void {
    this.#now += ms;
  }

  get size(): number {
    return this.#timers.size;
  }

  #add(timer: { at: number; every: number | undefined; call: () => void }): () => void {
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
}
