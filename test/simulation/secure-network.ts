/**
 * The network of a world whose devices have keys. Between the simulated devices and the gateway's core stands shipped DTLS
 * on both sides (`src/secure`, `src/transports/dtls/join.ts`, `src/device/secure.ts`), and beneath it a network that loses,
 * doubles and delays; on which devices change their addresses, also to such as others had; and on which somebody keeps what
 * passes and says it again.
 *
 * What is judged here:
 * - No nonce is used twice under one key, by whomever, in all runs of the gateway.
 * - A device with a context is understood. Whatever it seals is taken, or is a copy; so no device has to shake hands again.
 *   Excused is what the world itself took away: a store that keeps nothing, an old copy of it, no connection id.
 * - No record is handed on twice, as long as what is stored of the numbers was up to date when the gateway died.
 * - What somebody says again from elsewhere leads no answer there if something newer came.
 */
import type { Change } from "../../src/core/record.ts";
import type { PeerId } from "../../src/core/types.ts";
import type { SecureDevice } from "../../src/device/secure.ts";
import type { SecureInput } from "../../src/secure/messages.ts";
import { stateOf } from "../../src/secure/record-of.ts";
import { SecureServer } from "../../src/secure/server.ts";
import { suites } from "../../src/secure/suites.ts";
import { secureKeeper } from "../../src/storage/secure-keeper.ts";
import type { Store } from "../../src/storage/store.ts";
import { DtlsJoin } from "../../src/transports/dtls/join.ts";
import { identityIn, peerOf } from "../../src/transports/dtls/peers.ts";
import type { SecureKeeper } from "../../src/transports/transport.ts";
import { NonceJudge } from "../helpers/secure-world.ts";
import type { CrashPoint } from "./crash.ts";
import { type Hears, Network, type NetworkFaults } from "./network.ts";
import type { SimProcess } from "./process.ts";
import type { Rng } from "./rng.ts";
import { SecureEnd, type Sent } from "./secure-end.ts";
import { Violation } from "./violation.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface SecureHabits {
  /** Of a new run: the store is unchanged, is an older copy of itself, or was restored from a backup. */
  readonly copies: readonly ("same" | "old" | "backup")[];
  /** Share of the devices that ask for no connection id. */
  readonly withoutCid: number;
  /** A router gives a device with a connection id another address from time to time. */
  readonly rebindMs?: readonly [number, number] | undefined;
  /** The share of a device's datagrams that take a longer way, and come from the address of a node in between. */
  readonly relayed?: number;
  /** An attacker repeats datagrams that passed, from its own address or from the device's. */
  readonly repeats: boolean;
  /** Planted: stands between the gateway and what it keeps. */
  readonly keeper?: (keeper: SecureKeeper) => SecureKeeper;
  /** Planted: what the gateway reads of it. */
  readonly restored?: (records: readonly Uint8Array[]) => readonly Uint8Array[];
  /** Planted: draws for the gateway. */
  readonly random?: (octets: number) => Uint8Array | undefined;
  /** Planted: a backup that holds contexts. */
  readonly backupHolds?: boolean;
}

/** Newer than this when the gateway died, a number may not be stored: numbers every second, and a disk that takes its time. */
const unsureMs = 2_000;
/** The datagrams that the attacker keeps. */
const caughtMax = 400;
const attacker: PeerId = "air/6.6.6.6:6";
const relay: PeerId = "air/7.7.7.7:7";
const relayMaxMs = 1_500;

export interface GatewayLife {
  readonly process: SimProcess;
  readonly store: Store;
  /** To that store, as long as the process runs. */
  readonly commit: Store["commit"];
  readonly point: CrashPoint;
}

export class SecureNetwork extends Network {
  readonly nonces: NonceJudge;
  onNote: (what: string) => void = () => {};
  /** What is stored of contexts, by name. */
  readonly #stored = new Map<string, Uint8Array>();
  #copy = new Map<string, Uint8Array>();
  readonly #air: Network;
  readonly #time: VirtualTime;
  readonly #rng: Rng;
  readonly #habits: SecureHabits;
  readonly #ends = new Map<PeerId, SecureEnd>();
  readonly #keys = new Map<string, Uint8Array>();
  /** Every datagram that a device made, by its octets: no two are the same. */
  readonly #sent = new Map<string, Sent>();
  readonly #caught: Sent[] = [];
  /** When a record was handed on first; and the newest of each context that this run of the gateway saw. */
  readonly #handedOn = new Map<Sent, number>();
  #newest = new WeakMap<SecureDevice, number>();
  /** From when until when: what was handed on then may be taken again, once, after the gateway died. */
  readonly #unsure: (readonly [number, number])[] = [];
  #join: DtlsJoin | undefined;
  #isQuiet = false;
  /** Records that the attacker sent again; contexts that continued after a restart. */
  repeated = 0;
  restored = 0;

  constructor(time: VirtualTime, rng: Rng, faults: NetworkFaults, seed: number, habits: SecureHabits) {
    super(time, rng, faults);
    this.#time = time;
    this.#rng = rng;
    this.#habits = habits;
    this.nonces = new NonceJudge(seed);
    this.nonces.onTwice = (use) => {
      throw new Violation(`a nonce is used twice under one key: ${use}`);
    };
    this.#air = new Network(time, rng, faults);
    if (habits.repeats) this.#planRepeats();
    this.#planRebinds();
  }

  /** No more of what the world itself does. */
  heal(): void {
    this.#isQuiet = true;
  }

  get handshakes(): number {
    return [...this.#ends.values()].reduce((sum, { handshakes }) => sum + handshakes, 0);
  }

  // ---------------------------------------------------------------- devices

  override addressOf(clientId: string): PeerId {
    return peerOf("sim", clientId);
  }

  /** A device is switched on, or is at another address. */
  override attach(peer: PeerId, hears: Hears): void {
    const end = this.#ends.get(peer) ?? this.#newEnd(peer);
    end.hears = hears;
    this.#settle(end);
  }

  override detach(peer: PeerId): void {
    const end = this.#ends.get(peer);
    if (end) this.#air.detach(end.address);
  }

  losesPower(peer: PeerId): void {
    this.#ends.get(peer)?.forget("it lost power");
  }

  isUnanswered(peer: PeerId): void {
    this.#ends.get(peer)?.forget("nobody answers");
  }

  /** Unknown senders send any datagrams. */
  override fromDevice(peer: PeerId, bytes: Uint8Array): void {
    const end = this.#ends.get(peer);
    if (end) end.send(bytes);
    else this.#air.fromDevice(`air/${peer.slice("sim/".length)}`, bytes);
  }

  // ---------------------------------------------------------------- the gateway

  /** A run begins, with what is stored. */
  begins({ process, store, commit, point }: GatewayLife): void {
    const { keeper: between = (each) => each, restored = (each) => each, random } = this.#habits;
    const crypto = { ...this.nonces.crypto };
    if (random) crypto.random = (octets) => random(octets) ?? this.nonces.crypto.random(octets);
    const options = {
      cidOctets: 8,
      contextsMax: 1_000,
      handshakesMax: 100,
      handshakesPerHostMax: 20,
      hellosPerSecondMax: 2_000,
      storeTopEveryMs: 1_000,
    };
    const all = { ...options, suites: Object.values(suites), idleMs: 30 * 86_400_000 };
    const server = new SecureServer(crypto, all, process.now());
    const keeper = between(secureKeeper("sim", store, commit));
    const timers = {
      now: () => process.now(),
      after: (ms: number, call: () => void) => {
        let isOver = false;
        process.timers.plan(ms, () => {
          if (!isOver && !point.dead) call();
        });
        return () => {
          isOver = true;
        };
      },
    };
    const join = new DtlsJoin(server, timers, {
      transmit: (address, bytes) => {
        if (point.pass()) this.#air.toDevice(address as PeerId, bytes);
      },
      deliver: (identity, bytes) => {
        if (point.pass()) this.#deliver(identity, bytes);
      },
      ask: (identity, done) => done(this.#keys.get(identity)),
      keep: (changes, done) => keeper.keep(changes, done),
      say: (effect) => this.onNote(`dtls ${JSON.stringify(effect)}`),
    });
    const handle = (input: SecureInput) => {
      if (!point.dead) join.handle(input);
    };
    this.#newest = new WeakMap();
    this.#join = join;
    this.#air.gateway = {
      datagram: (from, bytes) => this.#atServer(server, handle, from, bytes),
      peerGone: () => {},
      failed: () => {},
      notice: () => {},
    };
    this.#air.socket = (from, arrive) => process.datagram(this.#ownerOf(from), arrive);
    handle({ kind: "restored", records: restored([...this.#stored.values()]) });
    this.restored += server.size;
  }

  dies(isDurable: boolean): void {
    this.#join = undefined;
    this.#air.gateway = undefined;
    this.#air.socket = undefined;
    this.#unsure.push([this.#time.now() - unsureMs, this.#time.now()]);
    const copy = isDurable ? this.#rng.pick(this.#habits.copies) : "none";
    const before = new Map(this.#stored);
    if (copy === "same") {
      if (this.#rng.chance(0.5)) this.#copy = before;
      return;
    }
    this.onNote(`the store is ${copy === "none" ? "empty" : `another: ${copy}`}`);
    const isBackup = copy === "backup" && !this.#habits.backupHolds;
    this.#stored.clear();
    if (copy !== "none" && !isBackup) for (const [name, record] of this.#copy) this.#stored.set(name, record);
    // With an old copy of the store it is not promised that later records are refused; after a backup the keys are as good as new ones.
    if (copy === "old") this.#unsure.push([0, this.#time.now()]);
    for (const end of this.#ends.values()) {
      const name = `sim/${end.identity}`;
      if (!isSameContext(before.get(name), this.#stored.get(name))) end.excuse ??= `the store is another: ${copy}`;
    }
  }

  onDisk(change: Change): void {
    if (change.of !== "secure") return;
    if (change.record) this.#stored.set(change.clientId, change.record.state);
    else this.#stored.delete(change.clientId);
  }

  override toDevice(peer: PeerId, bytes: Uint8Array): void {
    this.onToDevice(peer, bytes);
    const identity = identityIn(peer);
    if (identity !== undefined) this.#join?.handle({ kind: "send", identity, bytes });
  }

  // ---------------------------------------------------------------- what is judged

  #atServer(server: SecureServer, handle: (input: SecureInput) => void, from: PeerId, bytes: Uint8Array): void {
    const sent = this.#sent.get(keyOf(bytes));
    const { badRecords, replays } = server.counters;
    const answersWentTo = sent && server.addressOf(sent.end.identity);
    this.#arriving = sent;
    handle({ kind: "datagram", address: from, bytes });
    this.#arriving = undefined;
    if (!sent?.isSealed || sent.by !== sent.end.dtls || !sent.end.isOpen || sent.end.excuse !== undefined) return;
    // A device without a connection id is known only by its address.
    const isUnknown = server.counters.badRecords > badRecords && server.counters.replays === replays;
    if (isUnknown && (sent.end.hasCid || from === sent.end.address))
      throw new Violation(`${sent.end.identity} has a context, and the gateway does not know it any more`);
    if (sent.count > (this.#newest.get(sent.by) ?? 0)) this.#newest.set(sent.by, sent.count);
    else if (server.addressOf(sent.end.identity) !== answersWentTo)
      throw new Violation(`an old record of ${sent.end.identity} led answers to ${from}`);
  }
  #arriving: Sent | undefined;

  #deliver(identity: string, bytes: Uint8Array): void {
    const sent = this.#arriving;
    if (!sent || sent.end.identity !== identity) throw new Violation(`${identity} has not said this`);
    const before = this.#handedOn.get(sent);
    if (before !== undefined && !this.#isUnsure(before))
      throw new Violation(`a record of ${identity} is handed on a second time, first at ${Math.round(before)} ms`);
    if (before === undefined) this.#handedOn.set(sent, this.#time.now());
    const peer = peerOf("sim", identity);
    this.onAtGateway(peer, bytes);
    this.gateway?.datagram(peer, Uint8Array.from(bytes));
  }

  #isUnsure(at: number): boolean {
    return this.#unsure.some(([from, to]) => at >= from && at <= to);
  }

  // ---------------------------------------------------------------- the rest

  #newEnd(peer: PeerId): SecureEnd {
    const identity = identityIn(peer) ?? "";
    const key = this.nonces.crypto.random(16);
    this.#keys.set(identity, key);
    const cidOctets = this.#rng.chance(this.#habits.withoutCid) ? undefined : this.#rng.pick([0, 4]);
    const suite = this.#rng.pick(Object.values(suites));
    const end = new SecureEnd(
      {
        identity,
        options: { identity, key, suites: [suite], cidOctets },
        crypto: this.nonces.crypto,
        time: this.#time,
        send: (sent) => this.#send(sent),
        note: (what) => this.onNote(what),
        ended: (why) => {
          throw new Violation(`the context of ${identity} was ended: ${why}`);
        },
      },
      "air/nowhere:0",
    );
    this.#ends.set(peer, end);
    return end;
  }

  #send(sent: Sent): void {
    this.#sent.set(keyOf(sent.bytes), sent);
    if (this.#habits.repeats && sent.isSealed) {
      this.#caught.push(sent);
      if (this.#caught.length > caughtMax) this.#caught.splice(0, caughtMax / 2);
    }
    const isRelayed = this.#rng.chance(this.#habits.relayed ?? 0) && sent.end.hasCid && !this.#isQuiet;
    if (!isRelayed) return this.#air.fromDevice(sent.end.address, sent.bytes);
    this.#time.plan(this.#rng.between(0, relayMaxMs), () => this.#air.fromDevice(relay, sent.bytes));
  }

  #settle(end: SecureEnd): void {
    end.address = this.#freeAddress();
    if (end.isOpen && !end.hasCid) end.excuse ??= "it moved, and has no connection id";
    this.#air.attach(end.address, (bytes) => end.receive(bytes));
    this.onNote(`${end.identity} is at ${end.address}`);
  }

  #planRebinds(): void {
    const { rebindMs } = this.#habits;
    if (!rebindMs) return;
    this.#time.plan(this.#rng.between(...rebindMs), () => {
      this.#planRebinds();
      const end = this.#rng.pick([...this.#ends.values()]);
      if (this.#isQuiet || !end?.hasCid) return;
      this.#air.detach(end.address);
      this.#settle(end);
    });
  }

  /** Few, so that addresses of others are taken up again. */
  #freeAddress(): PeerId {
    for (;;) {
      const address: PeerId = `air/10.0.0.${this.#rng.int(1, this.#ends.size + 6)}:5000`;
      if (![...this.#ends.values()].some((end) => end.address === address)) return address;
    }
  }

  #ownerOf(address: PeerId): PeerId {
    const end = [...this.#ends.values()].find((each) => each.address === address);
    return end ? peerOf("sim", end.identity) : address;
  }

  #planRepeats(): void {
    this.#time.plan(this.#rng.between(1_000, 30_000), () => {
      this.#planRepeats();
      if (this.#isQuiet || this.#caught.length === 0) return;
      for (let i = this.#rng.int(1, 4); i > 0; i--) this.#repeat(this.#rng.pick(this.#caught));
    });
  }

  /**
   * Of what came. One that never came would be new, however late; and what may be taken a second time, by what is
   * promised, would be a second message to the other judges.
   */
  #repeat(sent: Sent): void {
    const at = this.#handedOn.get(sent);
    if (at === undefined || this.#isUnsure(at)) return;
    this.repeated++;
    const from = this.#rng.chance(0.5) ? attacker : sent.end.address;
    this.#air.gateway?.datagram(from, Uint8Array.from(sent.bytes));
  }
}

function keyOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

function isSameContext(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  const [a, b] = [one, other].map((record) => record && stateOf(record));
  if (!a || !b) return false;
  return Buffer.compare(a.keys.clientKey, b.keys.clientKey) === 0;
}
