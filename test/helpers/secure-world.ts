/**
 * DTLS on virtual time: the shipped server, devices of ours, a network that does what a test says to each datagram, a store
 * that may be slow or refuse, and a judge who sees every seal: no number twice under one key.
 */
import { SecureDevice, type SecureDeviceOptions } from "../../src/device/secure.ts";
import type { SecureOptions } from "../../src/secure/common.ts";
import type { Crypto } from "../../src/secure/crypto.ts";
import type { SecureEffect, SecureInput } from "../../src/secure/messages.ts";
import { readRecord } from "../../src/secure/record.ts";
import { SecureServer } from "../../src/secure/server.ts";
import { certificateSuites, suites } from "../../src/secure/suites.ts";
import { nodeCrypto } from "../../src/transports/dtls/node-crypto.ts";

export const testKey = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");

export const testOptions: SecureOptions = {
  suites: [...Object.values(suites), ...Object.values(certificateSuites)],
  cidOctets: 8,
  contextsMax: 1_000,
  handshakesMax: 100,
  handshakesPerHostMax: 20,
  hellosPerSecondMax: 2_000,
  idleMs: 30 * 86_400_000,
  storeTopEveryMs: 1_000,
};

/** Cryptography whose dice fall the same way for the same seed. */
function seeded(seed: number): Crypto {
  let drawn = 0;
  const random = (octets: number) => {
    const parts: Uint8Array[] = [];
    for (let made = 0; made < octets; made += 32) parts.push(nodeCrypto.hash(Buffer.from(`${seed} ${drawn++}`)));
    return new Uint8Array(Buffer.concat(parts)).subarray(0, octets);
  };
  return { ...nodeCrypto, random };
}

/** Says of every nonce whether it was used before under that key. */
export class NonceJudge {
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
    this.crypto = this.#watched();
  }

  readonly #used = new Set<string>();
  readonly twice: string[] = [];
  seals = 0;
  /** Called with each one at once. */
  onTwice: (use: string) => void = () => {};

  readonly crypto: { -readonly [Door in keyof Crypto]: Crypto[Door] };

  #watched(): Crypto {
    const crypto = seeded(this.#seed);
    return {
      ...crypto,
      aead: (name, key) => {
        const aead = crypto.aead(name, key);
        const keyName = Buffer.from(key).toString("base64");
        return {
          open: aead.open,
          seal: (nonce, about, text) => {
            const use = `${keyName} ${Buffer.from(nonce).toString("hex")}`;
            if (this.#used.has(use)) {
              this.twice.push(use);
              this.onTwice(use);
            }
            this.#used.add(use);
            this.seals++;
            return aead.seal(nonce, about, text);
          },
        };
      },
    };
  }
}

export type Way = "up" | "down";
/** Milliseconds until it arrives, once for each copy; none: it is lost. */
export type Fate = (way: Way, count: number, bytes: Uint8Array, address: string) => readonly number[];

interface Arrival {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class WorldDevice {
  address: string;
  dtls: SecureDevice;
  readonly got: string[] = [];
  readonly said: string[] = [];

  constructor(address: string, dtls: SecureDevice) {
    this.address = address;
    this.dtls = dtls;
  }
}

export class SecureWorld {
  readonly judge: NonceJudge;
  readonly keys = new Map<string, Uint8Array>([["dev1", testKey]]);
  readonly devices: WorldDevice[] = [];
  /** What is stored for certain. */
  store = new Map<string, Uint8Array>();
  readonly delivered: string[] = [];
  readonly effects: SecureEffect[] = [];
  now = 0;
  server: SecureServer;
  readonly options: SecureOptions;
  fate: Fate = () => [5];
  /** Each record is a separate datagram, as from senders that do not combine them. */
  isSplit = false;
  /** Milliseconds; undefined: it answers nothing. */
  storeMs: number | undefined = 5;
  storeOk = true;
  datagrams: Record<Way, number> = { up: 0, down: 0 };
  octets: Record<Way, number> = { up: 0, down: 0 };
  #queue: Arrival[] = [];
  #order = 0;
  /** For the server: answers to an earlier run are dropped. */
  #run = 0;

  constructor(options: Partial<SecureOptions> = {}, seed = 1) {
    this.judge = new NonceJudge(seed);
    this.options = { ...testOptions, ...options };
    this.server = new SecureServer(this.judge.crypto, this.options, 0);
  }

  device(options: Partial<SecureDeviceOptions> = {}, address = `10.0.0.${this.devices.length + 1}:5000`): WorldDevice {
    const all = { identity: "dev1", key: testKey, suites: [suites.ccm8], cidOctets: 0, ...options };
    const device = new WorldDevice(address, new SecureDevice(this.judge.crypto, all));
    this.devices.push(device);
    return device;
  }

  start(device: WorldDevice): WorldDevice {
    device.dtls.start(this.now);
    this.#flush(device);
    return device;
  }

  send(device: WorldDevice, text: string): void {
    device.dtls.send(Buffer.from(text));
    this.#flush(device);
  }

  /** The device repeats its last flight before its time, as some devices do for every repetition that they receive. */
  repeat(device: WorldDevice): void {
    const at = device.dtls.nextDeadline();
    if (at !== undefined) device.dtls.timeout(at);
    this.#flush(device);
  }

  close(device: WorldDevice): void {
    device.dtls.close();
    this.#flush(device);
  }

  /** From the gateway to a device. */
  answer(identity: string, text: string): void {
    this.input({ kind: "send", identity, bytes: Buffer.from(text) });
  }

  input(input: SecureInput): void {
    this.#perform(this.server.handle(input, this.now));
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (let steps = 0; ; steps++) {
      if (steps > 200_000) throw new Error("it does not come to rest");
      const arrival = this.#queue[0];
      const deadlines = [this.server.nextDeadline(), ...this.devices.map(({ dtls }) => dtls.nextDeadline())];
      const at = Math.min(arrival?.at ?? Number.POSITIVE_INFINITY, ...deadlines.map((each) => each ?? Infinity));
      if (at > end) break;
      this.now = Math.max(this.now, at);
      if (arrival && arrival.at <= this.now) {
        this.#queue.shift();
        arrival.run();
        continue;
      }
      this.input({ kind: "timeout" });
      for (const device of this.devices) {
        device.dtls.timeout(this.now);
        this.#flush(device);
      }
    }
    this.now = end;
  }

  /** The gateway ends, and a new one begins with this store: unchanged, unless the test says otherwise. */
  restart(store: ReadonlyMap<string, Uint8Array> = this.store): void {
    this.#run++;
    this.store = new Map(store);
    this.server = new SecureServer(this.judge.crypto, this.options, this.now);
    this.input({ kind: "restored", records: [...this.store.values()] });
  }

  #flush(device: WorldDevice): void {
    for (const output of device.dtls.take()) {
      if (output.kind === "send") this.#carry("up", output.bytes, device.address);
      else if (output.kind === "message") device.got.push(Buffer.from(output.bytes).toString());
      else device.said.push(output.kind === "opened" ? "opened" : `closed: ${output.why}`);
    }
  }

  #perform(effects: readonly SecureEffect[]): void {
    this.effects.push(...effects);
    for (const effect of effects) {
      switch (effect.kind) {
        case "transmit":
          this.#carry("down", effect.bytes, effect.address);
          break;
        case "deliver":
          this.delivered.push(`${effect.identity}: ${Buffer.from(effect.bytes).toString()}`);
          break;
        case "askKey":
          this.input({ kind: "key", token: effect.token, key: this.keys.get(effect.identity) });
          break;
        case "persist":
          this.#persist(effect);
          break;
        default:
          break;
      }
    }
  }

  #persist({ changes, token }: Extract<SecureEffect, { kind: "persist" }>): void {
    if (this.storeMs === undefined) return;
    const run = this.#run;
    this.#at(this.storeMs, () => {
      if (run !== this.#run) return;
      const ok = this.storeOk;
      for (const { identity, record } of ok ? changes : [])
        if (record) this.store.set(identity, record);
        else this.store.delete(identity);
      this.input({ kind: "persisted", token, ok });
    });
  }

  #carry(way: Way, bytes: Uint8Array, address: string): void {
    if (!this.isSplit) return this.#carryOne(way, bytes, address);
    for (let at = 0; at < bytes.length; ) {
      const end = readRecord(bytes, at, bytes[at] === 25 ? cidOctetsOf(bytes, at) : 0)?.end ?? bytes.length;
      this.#carryOne(way, bytes.subarray(at, end), address);
      at = end;
    }
  }

  #carryOne(way: Way, bytes: Uint8Array, address: string): void {
    const count = this.datagrams[way]++;
    this.octets[way] += bytes.length;
    const copy = Uint8Array.from(bytes);
    for (const ms of this.fate(way, count, copy, address)) {
      this.#at(ms, () => {
        if (way === "up") return this.input({ kind: "datagram", address, bytes: copy });
        const device = this.devices.find((each) => each.address === address);
        if (!device) return;
        device.dtls.receive(copy, this.now);
        this.#flush(device);
      });
    }
  }

  #at(ms: number, run: () => void): void {
    const arrival = { at: this.now + ms, order: this.#order++, run };
    const place = this.#queue.findIndex((each) => each.at > arrival.at);
    if (place < 0) this.#queue.push(arrival);
    else this.#queue.splice(place, 0, arrival);
  }
}

/** Of a sealed record, which is the last of its datagram: with which length of ids it reaches to the end. */
function cidOctetsOf(bytes: Uint8Array, at: number): number {
  for (let octets = 0; octets <= 20; octets++) if (readRecord(bytes, at, octets)?.end === bytes.length) return octets;
  return 0;
}
