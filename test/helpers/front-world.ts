/**
 * Fronts of a fleet, joined in memory: transports that hear and say what a test wants, a network between the gateways that loses,
 * doubles and changes frames, an address book that answers late or not at all, and a clock that a test moves.
 */
import { datagramWords } from "../../src/core/dialects/glance.ts";
import type { PeerId } from "../../src/core/types.ts";
import { Front, type FrontParts } from "../../src/fleet/front.ts";
import type { AddressBook, AddressFacts, Member } from "../../src/fleet/members.ts";
import { shardOf } from "../../src/fleet/shard.ts";
import type { Door } from "../../src/transports/door.ts";
import type { Transport, TransportEvents } from "../../src/transports/transport.ts";
import { encode } from "../../src/wire/v12/codec.ts";
import type { Writable } from "../../src/wire/v12/messages.ts";
import { VirtualTime } from "./lease-world.ts";

export const shards = 16;

export function datagram(message: Writable, nodeId?: Uint8Array): Uint8Array {
  return encode(message, nodeId && { nodeId, radius: 0 });
}

export const connect = (clientId: string) =>
  datagram({ type: "CONNECT", will: false, cleanSession: true, protocolId: 1, duration: 60, clientId });
export const pingReq = (clientId = "") => datagram({ type: "PINGREQ", clientId });
export const publish = (qos: 0 | 1 | -1, data: string) =>
  datagram({
    type: "PUBLISH",
    dup: false,
    qos,
    retain: false,
    topicIdType: "normal",
    topicId: 1,
    msgId: qos === 1 ? 7 : 0,
    data: Buffer.from(data),
  });
export const accepted = datagram({ type: "CONNACK", returnCode: 0 });
export const pingResp = datagram({ type: "PINGRESP" });

/** A client id of this shard. */
export function clientOf(shard: number, more = ""): string {
  for (let n = 0; ; n++) if (shardOf(`c${more}${n}`, shards) === shard) return `c${more}${n}`;
}

export class FakeTransport implements Transport {
  readonly name: string;
  readonly place = "0.0.0.0:1883";
  readonly warnings: readonly string[] = [];
  readonly sent: { readonly to: PeerId; readonly bytes: Uint8Array }[] = [];
  readonly broadcasts: Uint8Array[] = [];
  /** It cannot be opened. */
  failure: Error | undefined;
  mayLeave: () => boolean = () => true;
  events: TransportEvents | undefined;
  isClosed = false;

  constructor(name = "udp") {
    this.name = name;
  }

  maxMessageBytes(): number {
    return 1_024;
  }

  hostOf(peer: PeerId): string {
    return peer.slice(peer.indexOf("/") + 1, peer.lastIndexOf(":"));
  }

  identityOf(peer: PeerId) {
    return { name: this.hostOf(peer), by: "address" as const, verified: false };
  }

  async start(events: TransportEvents): Promise<void> {
    if (this.failure) throw this.failure;
    this.events = events;
  }

  sendsWhile(mayLeave: () => boolean): void {
    this.mayLeave = mayLeave;
  }

  send(to: PeerId, bytes: Uint8Array): void {
    if (this.mayLeave()) this.sent.push({ to, bytes });
  }

  broadcast(bytes: Uint8Array): void {
    this.broadcasts.push(bytes);
  }

  stats() {
    return { datagramsIn: 0, datagramsOut: 0, bytesIn: 0, bytesOut: 0, sendErrors: 0 };
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  /** One wake-up. */
  hear(...heard: readonly (readonly [from: string, bytes: Uint8Array])[]): void {
    this.events?.batch?.(() => {
      for (const [from, bytes] of heard) this.events?.datagram(`${this.name}/${from}`, bytes);
    });
  }
}

/** What the network does with a frame: what arrives. */
export type Weather = (frame: Uint8Array, from: string, to: string) => readonly Uint8Array[];

/** Where the gateways send to each other. */
export class NetBetween {
  readonly #carriers = new Map<string, FakeCarrier>();
  weather: Weather = (frame) => [frame];
  readonly frames: { readonly from: string; readonly to: string; readonly frame: Uint8Array }[] = [];

  join(carrier: FakeCarrier, place: string): void {
    this.#carriers.set(place, carrier);
  }

  carry(from: string, to: string, frame: Uint8Array): void {
    this.frames.push({ from, to, frame });
    for (const each of this.weather(frame, from, to)) this.inject(from, to, each);
  }

  inject(from: string, to: string, frame: Uint8Array): void {
    this.#carriers.get(to)?.hear([from, frame.slice()]);
  }
}

class FakeCarrier extends FakeTransport {
  readonly #net: NetBetween;
  readonly #place: string;

  constructor(net: NetBetween, place: string) {
    super("between");
    this.#net = net;
    this.#place = place;
    net.join(this, place);
  }

  override send(to: PeerId, bytes: Uint8Array): void {
    this.#net.carry(this.#place, to.slice("between/".length), bytes);
  }
}

export class FakeBook implements AddressBook {
  readonly kept = new Map<string, AddressFacts>();
  readonly asked: string[] = [];
  readonly writes: string[] = [];
  /** Answers wait for it. */
  gate: Promise<void> = Promise.resolve();
  isAway = false;

  async find(peer: string): Promise<AddressFacts | undefined> {
    this.asked.push(peer);
    await this.gate;
    if (this.isAway) throw new Error("there is no connection");
    return this.kept.get(peer);
  }

  keep(peer: string, facts: AddressFacts, seconds?: number): void {
    this.writes.push(`${peer} ${facts.shard} ${facts.front}${seconds === undefined ? "" : ` ${seconds}`}`);
    this.kept.set(peer, facts);
  }
}

/** What a shard's gateway heard, in the place of one. */
export interface ShardHere {
  readonly shard: number;
  readonly port: Transport;
  readonly ports: readonly Transport[];
  readonly heard: string[];
  /** How many came in each batch. */
  readonly batches: number[];
  mayLeave: boolean;
  /** Called while it handles a datagram. */
  hears: () => void;
}

export interface FrontHere {
  readonly name: string;
  readonly front: Front;
  readonly udp: FakeTransport;
  /** Its second one. */
  readonly udp6: FakeTransport | undefined;
  readonly said: string[];
  readonly shards: Map<number, ShardHere>;
}

export interface WorldOptions {
  readonly key?: (name: string) => Uint8Array | undefined;
  readonly parts?: Partial<FrontParts>;
  readonly transports?: (name: string) => FakeTransport[];
  /** What stands before the transports of this member. */
  readonly doors?: (name: string) => ReadonlyMap<string, Door>;
}

export class FrontWorld {
  readonly time = new VirtualTime();
  readonly net = new NetBetween();
  readonly book = new FakeBook();
  readonly owners = new Map<number, string>();
  readonly fronts = new Map<string, FrontHere>();
  readonly #options: WorldOptions;
  #members: readonly Member[] = [];
  readonly #others = new Map<string, readonly Member[]>();
  readonly #regular = new Set<() => void>();
  /** What leaves at the end of the turn. */
  #later: (() => void)[] = [];

  constructor(options: WorldOptions = {}) {
    this.#options = options;
  }

  async member(name: string, owned: readonly number[], run = `run of ${name}`): Promise<FrontHere> {
    const place = `10.0.0.${name.charCodeAt(0)}:9000`;
    this.alive(name, { name, run, place, version: "1", isDraining: false });
    const transports = this.#options.transports?.(name) ?? [new FakeTransport()];
    const said: string[] = [];
    const doors = this.#options.doors?.(name);
    const front = new Front({
      name,
      ...(doors && { doors }),
      transports,
      ownership: {
        shards,
        ownerOf: (shard) => this.#ownerOf(name, shard),
        others: () => this.#others.get(name) ?? [],
      },
      book: this.book,
      words: datagramWords,
      between: { carrier: new FakeCarrier(this.net, place), key: () => this.#options.key?.(name), run },
      timers: {
        now: () => this.time.now,
        after: (ms, call) => this.time.after(ms, call),
        every: (_ms, call) => {
          this.#regular.add(call);
          return () => this.#regular.delete(call);
        },
      },
      retryMs: Number.POSITIVE_INFINITY,
      told: (level, say) => said.push(`${level}: ${say}`),
      later: (call) => void this.#later.push(call),
      ...this.#options.parts,
    });
    await front.start();
    const [udp, udp6] = transports;
    if (!udp) throw new Error("a member has a transport");
    const here: FrontHere = { name, front, udp, udp6, said, shards: new Map() };
    this.fronts.set(name, here);
    for (const shard of owned) await this.own(here, shard);
    return here;
  }

  /** Its gateway serves the shard from now on. */
  async own(here: FrontHere, shard: number): Promise<ShardHere> {
    this.owners.set(shard, here.name);
    const ports = here.front.transportsOf(shard);
    const [port] = ports;
    if (!port) throw new Error("a member has a transport");
    const own: ShardHere = { shard, port, ports, heard: [], batches: [], mayLeave: true, hears: () => {} };
    for (const each of ports) {
      each.sendsWhile?.(() => own.mayLeave);
      await each.start({
        datagram: (from, bytes) => {
          own.heard.push(`${from} ${hex(bytes)}`);
          own.hears();
        },
        batch: (work) => {
          const before = own.heard.length;
          work();
          own.batches.push(own.heard.length - before);
        },
        peerGone: () => {},
        failed: () => {},
        notice: () => {},
      });
    }
    here.shards.set(shard, own);
    return own;
  }

  alive(name: string, member: Member): void {
    this.#members = [...this.#members.filter((each) => each.name !== name), member];
    this.#tell();
  }

  dead(name: string): void {
    this.#members = this.#members.filter((each) => each.name !== name);
    this.#tell();
  }

  /** This turn of the event loop ends, and what comes of it. */
  async turn(): Promise<void> {
    for (let i = 0; i < 10; i++) await this.step();
  }

  /** One turn of the event loop ends. */
  async step(): Promise<void> {
    await this.time.pass(0);
    for (const call of this.#later.splice(0)) call();
  }

  /** The processes run: what they do regularly is done now. */
  run(): void {
    for (const call of this.#regular) call();
  }

  #tell(): void {
    for (const { name } of this.#members) {
      this.#others.set(
        name,
        this.#members.filter((each) => each.name !== name),
      );
    }
  }

  #ownerOf(asks: string, shard: number): "here" | Member | undefined {
    const owner = this.owners.get(shard);
    return owner === asks ? "here" : this.#members.find(({ name }) => name === owner);
  }
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** A device, and how gateways call it. */
export const device = "192.0.2.7:4000";
export const peer: PeerId = `udp/${device}`;

/** Two gateways: barn owns the even shards, silo the odd ones. */
export async function twoGateways(options: ConstructorParameters<typeof FrontWorld>[0] = {}) {
  const world = new FrontWorld(options);
  const barn = await world.member("barn", [0, 2, 4]);
  const silo = await world.member("silo", [1, 3, 5]);
  const shardOf = (n: number) => {
    const found = barn.shards.get(n) ?? silo.shards.get(n);
    if (!found) throw new Error(`nobody has shard ${n}`);
    return found;
  };
  return { world, barn, silo, shardOf };
}
