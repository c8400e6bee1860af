/**
 * Handshakes that go from one gateway to another, on virtual time: the shipped door, the DTLS server of the gateway that
 * owns the device's shard, devices of ours, and a network that does what a test says to each datagram.
 */
import type { PeerId } from "../../src/core/types.ts";
import { SecureDevice, type SecureDeviceOptions } from "../../src/device/secure.ts";
import type { SecureOptions } from "../../src/secure/common.ts";
import type { Begun, SecureEffect } from "../../src/secure/messages.ts";
import { readRecord } from "../../src/secure/record.ts";
import { SecureServer } from "../../src/secure/server.ts";
import { suites } from "../../src/secure/suites.ts";
import type { CertificateRing } from "../../src/transports/dtls/certificates.ts";
import { DtlsDoor } from "../../src/transports/dtls/door.ts";
import { secureOptions } from "../../src/transports/dtls/dtls.ts";
import { HandOverSeal, isHandOver } from "../../src/transports/dtls/hand-over.ts";
import { DtlsJoin } from "../../src/transports/dtls/join.ts";
import { type DtlsOptions, dtlsOptions } from "../../src/transports/dtls/options.ts";
import { ScriptedTimers } from "./scripted-central.ts";
import { NonceJudge, testKey, WorldDevice } from "./secure-world.ts";

/** From a device, from the door to the owner, and to a device. */
export type Way = "up" | "over" | "down";
/** Milliseconds until it arrives, once for each copy; none: it is lost. */
export type Fate = (way: Way, count: number, bytes: Uint8Array) => readonly number[];

export interface Passed {
  readonly from: PeerId;
  readonly bytes: Uint8Array;
}

export interface HandedWorldOptions {
  readonly options?: Partial<Omit<DtlsOptions, "type">>;
  /** Of the owner, where it differs from the door. */
  readonly owner?: Partial<SecureOptions>;
  readonly certificates?: CertificateRing;
  /** Of the socket. */
  readonly thinHellos?: (first: number, second: number) => boolean;
  readonly seed?: number;
}

const fleetSecret = Buffer.from("the secret of a fleet");

export class HandedWorld {
  readonly timers = new ScriptedTimers();
  readonly judge: NonceJudge;
  readonly seal = new HandOverSeal(fleetSecret);
  readonly options: DtlsOptions;
  readonly keys = new Map<string, Uint8Array>([["dev1", testKey]]);
  readonly door: DtlsDoor;
  owner: SecureServer;
  /** What the owners reported. */
  readonly said: Extract<SecureEffect, { kind: "opened" | "closed" | "badKey" | "badCertificate" }>[] = [];
  readonly delivered: string[] = [];
  /** The datagrams of devices, and what the door passed on. */
  readonly sent: Passed[] = [];
  readonly passed: Passed[] = [];
  /** The numbers of all encrypted records without a connection id that owners sent. */
  readonly numbers: number[] = [];
  readonly toDevices: { readonly by: "door" | "owner"; readonly to: string; readonly bytes: Uint8Array }[] = [];
  readonly told: string[] = [];
  fate: Fate = () => [5];
  storeMs = 5;
  readonly store = new Map<string, Uint8Array>();
  readonly #devices: WorldDevice[] = [];
  readonly #watched = new Map<WorldDevice, () => void>();
  readonly #counts: Record<Way, number> = { up: 0, over: 0, down: 0 };
  readonly #certificates: CertificateRing | undefined;
  #join: DtlsJoin;

  constructor({ options, owner, certificates, thinHellos, seed = 1 }: HandedWorldOptions = {}) {
    this.judge = new NonceJudge(seed);
    this.options = dtlsOptions.parse({ type: "dtls", ...options });
    this.#certificates = certificates;
    const { timers, seal } = this;
    this.door = new DtlsDoor(this.options, {
      ...{ devices: { certificates }, seal, carrier: { ...(thinHellos && { thinHellos }) }, timers },
      crypto: this.judge.crypto,
    });
    this.door.start({
      send: (to, bytes) => this.#down("door", to, bytes),
      pass: (from, bytes) => {
        this.passed.push({ from, bytes: bytes.slice() });
        this.#carry("over", bytes, (copy) => this.heardByOwner(from, copy));
      },
      told: (_level, say) => void this.told.push(say),
    });
    [this.owner, this.#join] = this.#newOwner(owner);
    // A handshake that began just before is refused.
    this.run(300);
  }

  device(options: Partial<SecureDeviceOptions> = {}, place = `10.0.0.${this.#devices.length + 1}:5000`): WorldDevice {
    const all = { identity: "dev1", key: testKey, suites: [suites.ccm8], cidOctets: 0, ...options };
    const device = new WorldDevice(`dtls/${place}`, new SecureDevice(this.judge.crypto, all));
    this.#devices.push(device);
    return device;
  }

  start(device: WorldDevice): WorldDevice {
    device.dtls.start(this.timers.now());
    this.#flush(device);
    return device;
  }

  /** The device repeats its last flight now. */
  repeat(device: WorldDevice): void {
    const at = device.dtls.nextDeadline();
    if (at !== undefined) device.dtls.timeout(at);
    this.#flush(device);
  }

  send(device: WorldDevice, text: string): void {
    device.dtls.send(Buffer.from(text));
    this.#flush(device);
  }

  answer(identity: string, text: string): void {
    this.#join.handle({ kind: "send", identity, bytes: Buffer.from(text) });
  }

  run(ms: number): void {
    this.timers.pass(ms);
  }

  /** A datagram arrives at the door. The socket uses its memory again. */
  heard(from: string, bytes: Uint8Array): void {
    const memory = bytes.slice();
    this.door.heard(from as PeerId, memory);
    memory.fill(0xee);
  }

  /** As the transport of a shard does it. */
  heardByOwner(address: string, bytes: Uint8Array): void {
    const handed = this.seal.opened(bytes);
    if (!handed) return this.#join.handle({ kind: "datagram", address, bytes });
    this.#join.handle({ kind: "adopt", identity: handed.identity, begun: handed.begun });
    for (const each of handed.datagrams) this.#join.handle({ kind: "datagram", address, bytes: each });
  }

  adopt(identity: string, begun: Begun): void {
    this.#join.handle({ kind: "adopt", identity, begun });
  }

  /** The handshakes that the door has handed over. */
  get handOvers(): readonly Passed[] {
    return this.passed.filter(({ bytes }) => isHandOver(bytes));
  }

  /** Another gateway owns the shard from now on, and reads what is stored. */
  nextOwner(options: Partial<SecureOptions> = {}): void {
    [this.owner, this.#join] = this.#newOwner(options);
    this.#join.handle({ kind: "restored", records: [...this.store.values()] });
  }

  #newOwner(options: Partial<SecureOptions> = {}): [SecureServer, DtlsJoin] {
    const all = { ...secureOptions(this.options, () => this.#certificates?.credentials), beginsNone: true, ...options };
    const server = new SecureServer(this.judge.crypto, all, this.timers.now());
    const isOwner = () => this.owner === server;
    const join = new DtlsJoin(server, this.timers, {
      transmit: (to, bytes) => isOwner() && this.#down("owner", to, bytes),
      deliver: (identity, bytes) => void this.delivered.push(`${identity}: ${Buffer.from(bytes).toString()}`),
      ask: (identity, done) => done(this.keys.get(identity)),
      keep: (changes, done) => {
        this.timers.after(this.storeMs, () => {
          if (!isOwner()) return;
          for (const { identity, record } of changes)
            if (record) this.store.set(identity, record);
            else this.store.delete(identity);
          done(true);
        });
      },
      say: (effect) => void this.said.push(effect),
    });
    return [server, join];
  }

  #flush(device: WorldDevice): void {
    for (const output of device.dtls.take()) {
      if (output.kind === "send") this.#up(device.address as PeerId, output.bytes);
      else if (output.kind === "message") device.got.push(Buffer.from(output.bytes).toString());
      else device.said.push(output.kind === "opened" ? "opened" : `closed: ${output.why}`);
    }
    this.#watched.get(device)?.();
    const at = device.dtls.nextDeadline();
    if (at === undefined) return;
    const cancel = this.timers.after(at - this.timers.now(), () => {
      device.dtls.timeout(this.timers.now());
      this.#flush(device);
    });
    this.#watched.set(device, cancel);
  }

  #up(from: PeerId, bytes: Uint8Array): void {
    this.sent.push({ from, bytes: bytes.slice() });
    this.#carry("up", bytes, (copy) => this.heard(from, copy));
  }

  #down(by: "door" | "owner", to: string, bytes: Uint8Array): void {
    this.toDevices.push({ by, to, bytes: bytes.slice() });
    for (let at = 0; by === "owner" && at < bytes.length; ) {
      const record = readRecord(bytes, at, 0);
      if (!record) break;
      if (record.epoch === 1) this.numbers.push(record.seq);
      at = record.end;
    }
    this.#carry("down", bytes, (copy) => {
      const device = this.#devices.findLast(({ address }) => address === to);
      if (!device) return;
      device.dtls.receive(copy, this.timers.now());
      this.#flush(device);
    });
  }

  #carry(way: Way, bytes: Uint8Array, arrived: (bytes: Uint8Array) => void): void {
    const count = this.#counts[way]++;
    const copy = bytes.slice();
    for (const ms of this.fate(way, count, copy)) this.timers.after(ms, () => arrived(copy));
  }
}
