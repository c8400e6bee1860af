/**
 * A fleet with DTLS in one process, on virtual time and without sockets: the shipped fronts, doors and transports of
 * shards, devices that write to any gateway, and a network that loses and doubles datagrams. A device makes one handshake.
 */
import { expect, test } from "vitest";
import { SecureDevice } from "../../../src/device/secure.ts";
import { suites } from "../../../src/secure/suites.ts";
import { DtlsDoor } from "../../../src/transports/dtls/door.ts";
import { DtlsTransport } from "../../../src/transports/dtls/dtls.ts";
import { HandOverSeal } from "../../../src/transports/dtls/hand-over.ts";
import { KnownDevices } from "../../../src/transports/dtls/known-devices.ts";
import { dtlsOptions } from "../../../src/transports/dtls/options.ts";
import type { Timers } from "../../../src/transports/timers.ts";
import { clientOf, FakeTransport, type FrontHere, FrontWorld } from "../../helpers/front-world.ts";
import { NonceJudge, testKey } from "../../helpers/secure-world.ts";

const options = dtlsOptions.parse({ type: "dtls" });
const owned = { barn: [0, 2, 4, 6], silo: [1, 3, 5, 7] };
const fleetKey = Buffer.from("the secret of this fleet");
const stepMs = 10;

interface Shard {
  readonly store: Map<string, Uint8Array>;
  transport: DtlsTransport | undefined;
}

class Device {
  readonly identity: string;
  readonly shard: number;
  readonly hasCid: boolean;
  readonly dtls: SecureDevice;
  address: string;
  /** The gateway that it writes to. */
  front: FrontHere;
  readonly got: string[] = [];
  handshakes = 0;
  closed = "";

  constructor(judge: NonceJudge, n: number, front: FrontHere) {
    this.shard = n % 8;
    this.identity = clientOf(this.shard, `${n}-`);
    this.hasCid = n % 3 !== 0;
    this.address = `192.0.2.${n + 1}:4000`;
    this.front = front;
    const cidOctets = this.hasCid ? n % 2 : undefined;
    this.dtls = new SecureDevice(judge.crypto, {
      ...{ identity: this.identity, key: testKey, suites: [suites.ccm8], cidOctets },
    });
  }
}

class Fleet {
  readonly judge: NonceJudge;
  readonly world: FrontWorld;
  readonly shards = new Map<number, Shard>();
  readonly devices: Device[] = [];
  readonly delivered: string[] = [];
  loss = 0;
  readonly #known: KnownDevices;
  readonly #seal = new HandOverSeal(fleetKey);
  #state: number;
  readonly #taken = new Map<FrontHere, number>();

  constructor(seed: number) {
    this.#state = seed;
    this.judge = new NonceJudge(seed);
    this.#known = new KnownDevices({});
    this.#known.takeMade(() => new Map(this.devices.map(({ identity }) => [identity, testKey])));
    this.#known.read();
    this.world = new FrontWorld({
      key: () => fleetKey,
      transports: () => [new FakeTransport("dtls")],
      doors: () => {
        const parts = { devices: this.#known, seal: this.#seal, carrier: {}, timers: this.#timers };
        return new Map([["dtls", new DtlsDoor(options, { ...parts, crypto: this.judge.crypto })]]);
      },
    });
    this.world.net.weather = (frame) => this.#fate(frame);
  }

  async start(): Promise<readonly [barn: FrontHere, silo: FrontHere]> {
    const [barn, silo] = [await this.world.member("barn", []), await this.world.member("silo", [])];
    for (const front of [barn, silo])
      for (const shard of owned[front.name as "barn" | "silo"]) await this.own(front, shard);
    await this.run(500);
    return [barn, silo];
  }

  /** The shard moves to this gateway. */
  async own(front: FrontHere, shard: number): Promise<void> {
    const own = this.shards.get(shard) ?? { store: new Map(), transport: undefined };
    this.shards.set(shard, own);
    await own.transport?.close();
    this.world.owners.set(shard, front.name);
    const [port] = front.front.transportsOf(shard);
    const handedOver = (bytes: Uint8Array) => this.#seal.opened(bytes);
    const transport = new DtlsTransport(options, this.#timers, this.judge.crypto, port, {
      devices: this.#known,
      handedOver,
    });
    transport.keepBy({
      kept: async () => [...own.store.values()],
      keep: (changes, done) => {
        this.world.time.after(3, () => {
          for (const { identity, record } of changes)
            if (record) own.store.set(identity, record);
            else own.store.delete(identity);
          done(true);
        });
      },
    });
    await transport.start({
      datagram: (peer, bytes) => {
        const text = Buffer.from(bytes).toString();
        this.delivered.push(`${shard} ${peer.slice("dtls/".length)} ${text}`);
        transport.send(peer, Buffer.from(`${text}, heard`));
      },
      batch: (work) => work(),
      peerGone: () => {},
      failed: () => {},
      notice: () => {},
    });
    own.transport = transport;
  }

  device(front: FrontHere): Device {
    const device = new Device(this.judge, this.devices.length, front);
    this.devices.push(device);
    device.dtls.start(this.world.time.now);
    return device;
  }

  async run(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      for (const device of this.devices) this.#flush(device);
      await this.world.time.pass(stepMs);
      await this.world.step();
      for (const front of this.world.fronts.values()) this.#arrive(front);
      for (const { dtls } of this.devices) dtls.timeout(this.world.time.now);
    }
  }

  /** Each device sends a text until its gateway has heard it and answered it, as MQTT-SN does. */
  async talk(text: string): Promise<void> {
    const silent = () => this.devices.filter(({ got }) => !got.includes(`${text}, heard`));
    for (let i = 0; i < 40 && silent().length > 0; i++) {
      for (const { dtls } of silent()) dtls.send(Buffer.from(text));
      await this.run(200);
    }
    expect(silent().map(({ identity }) => identity)).toEqual([]);
    const wrong = this.devices.filter((each) => !this.delivered.includes(`${each.shard} ${each.identity} ${text}`));
    expect(wrong).toEqual([]);
  }

  /** The gateways of the shards speak first, and repeat it. */
  async speak(text: string): Promise<void> {
    const deaf = () => this.devices.filter(({ got }) => !got.includes(text));
    for (let i = 0; i < 40 && deaf().length > 0; i++) {
      for (const { shard, identity } of deaf())
        this.shards.get(shard)?.transport?.send(`dtls/${identity}`, Buffer.from(text));
      await this.run(200);
    }
    expect(deaf().map(({ identity }) => identity)).toEqual([]);
  }

  get handshakesDone(): number {
    const reports = [...this.shards.values()].flatMap(({ transport }) => transport?.secureReport() ?? []);
    return reports.reduce((sum, { counters }) => sum + counters.handshakesDone, 0);
  }

  readonly #timers: Timers = {
    now: () => this.world.time.now,
    after: (ms, call) => this.world.time.after(ms, call),
    every: (ms, call) => {
      let cancel = () => {};
      const again = () => {
        cancel = this.world.time.after(ms, () => {
          again();
          call();
        });
      };
      again();
      return () => cancel();
    },
  };

  #flush(device: Device): void {
    for (const output of device.dtls.take()) {
      if (output.kind === "send")
        for (const bytes of this.#fate(output.bytes)) device.front.udp.hear([device.address, bytes.slice()]);
      else if (output.kind === "message") device.got.push(Buffer.from(output.bytes).toString());
      else if (output.kind === "opened") device.handshakes++;
      else device.closed = output.why;
    }
  }

  /** A device receives only from the gateway that it writes to, as behind a firewall. */
  #arrive(front: FrontHere): void {
    const { sent } = front.udp;
    for (const { to, bytes } of sent.slice(this.#taken.get(front))) {
      const device = this.devices.find((each) => `dtls/${each.address}` === to && each.front === front);
      for (const each of this.#fate(bytes)) device?.dtls.receive(each.slice(), this.world.time.now);
    }
    this.#taken.set(front, sent.length);
  }

  #fate(bytes: Uint8Array): readonly Uint8Array[] {
    this.#state = (this.#state * 48_271) % 2_147_483_647;
    const dice = this.#state / 2_147_483_647;
    return dice < this.loss ? [] : dice < 1.5 * this.loss ? [bytes, bytes] : [bytes];
  }
}

test.each([1, 2, 3, 4, 5, 6])(
  "one handshake is enough: by each gateway, from any address, and when shards move (seed %s)",
  async (seed) => {
    const fleet = new Fleet(seed);
    const [barn, silo] = await fleet.start();
    fleet.loss = seed === 1 ? 0 : 0.15;
    for (let n = 0; n < 12; n++) fleet.device(n % 5 < 2 ? barn : silo);
    for (let i = 0; i < 120 && fleet.devices.some(({ handshakes }) => handshakes === 0); i++) await fleet.run(1_000);
    await fleet.talk("first");
    for (const device of fleet.devices) device.front = device.front === barn ? silo : barn;
    await fleet.talk("by the other gateway");
    for (const device of fleet.devices) if (device.hasCid) device.address = device.address.replace(":4000", ":4001");
    await fleet.talk("from another address");
    // The book learns the gateway of a device at most once a minute.
    await fleet.run(61_000);
    await fleet.talk("after a minute");
    for (const [shard, to] of [
      [1, barn],
      [3, barn],
      [0, silo],
      [2, silo],
    ] as const)
      await fleet.own(to, shard);
    await fleet.speak("a gateway that has never heard the device speaks first");
    await fleet.talk("after shards have moved");
    for (const device of fleet.devices) device.front = device.front === barn ? silo : barn;
    await fleet.talk("and back");
    expect(fleet.devices.map(({ handshakes, closed }) => `${handshakes}${closed}`)).toEqual(Array(12).fill("1"));
    expect(fleet.judge.twice).toEqual([]);
    expect(fleet.judge.seals).toBeGreaterThan(100);
    // The gateways of the moved shards are new: their counts have begun again.
    expect(fleet.handshakesDone).toBe(fleet.devices.filter(({ shard }) => shard >= 4).length);
  },
);
