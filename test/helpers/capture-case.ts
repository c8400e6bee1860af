/**
 * A capture as a test case: what devices said in it is said to the shipped core and driver, under virtual time and with a
 * broker that keeps its promises, and the answers are compared with those in the capture.
 */
import { datagramIn, type ReadDatagram } from "../../src/capture/capture-file.ts";
import { PcapngReader } from "../../src/capture/pcapng.ts";
import { ReplayedDevice } from "../../src/cli/replayed-device.ts";
import type { CoreOptions } from "../../src/core/options.ts";
import type { PeerId } from "../../src/core/types.ts";
import { upstreamInputs } from "../../src/gateway-brokers.ts";
import { Driver } from "../../src/runtime/driver.ts";
import { MemoryStore } from "../../src/storage/memory.ts";
import type { Transport } from "../../src/transports/transport.ts";
import { SimBroker } from "../simulation/broker.ts";
import { testOptions } from "../simulation/options.ts";
import { Rng } from "../simulation/rng.ts";
import { SimUpstream } from "../simulation/sim-upstream.ts";
import { VirtualClock, VirtualTime } from "../simulation/virtual-time.ts";
import { CheckedCore } from "./checked-core.ts";

/** The broker's own connection stands before the first device speaks. */
const startMs = 1_000;
/** Answers of the broker that a device waits for take less than they did in any capture. */
const brokerLatencyMs = 1;

export function readDatagrams(file: Uint8Array): readonly ReadDatagram[] {
  const reader = new PcapngReader();
  const datagrams = reader.push(file).flatMap((packet) => datagramIn(packet) ?? []);
  reader.end();
  if (reader.fault !== undefined) throw new Error(reader.fault);
  return datagrams;
}

/** By device: in which way the core answers otherwise than the capture has it. */
export function played(datagrams: readonly ReadDatagram[], options: Partial<CoreOptions> = {}) {
  const time = new VirtualTime();
  const rng = new Rng(1);
  const nothing = () => {};
  const log = { accepted: nothing, routed: nothing, acknowledged: nothing, willFired: nothing, forgot: nothing };
  const broker = new SimBroker(time, rng, { cut: 0, away: false, forgets: 0 }, log);
  broker.latencyMs = brokerLatencyMs;
  const upstream = new SimUpstream(broker, time, rng, undefined);
  const devices = new Map<PeerId, ReplayedDevice>();
  const udp: Pick<Transport, "send" | "broadcast"> = {
    send: (to, bytes) => devices.get(to)?.hear(bytes),
    broadcast: nothing,
  };
  const core = new CheckedCore(
    { ...testOptions, ...options },
    {
      maxMessageBytes: () => 65_535,
      hostOf: (peer) => peer,
      identityOf: (peer) => ({ name: peer, by: "address", verified: false }),
      wallClock: () => undefined,
      random: () => 0,
    },
  );
  const edges = {
    transports: new Map([["udp", udp as Transport]]),
    upstream,
    store: new MemoryStore(),
    report: nothing,
  };
  const driver = new Driver(core, edges, new VirtualClock(time));
  const handle: Driver["handle"] = (input) => driver.handle(input);
  upstream.startNow(upstreamInputs(handle, nothing));
  driver.start();
  const begins = datagrams[0]?.atUs ?? 0;
  for (const { atUs, direction, device: name, payload } of datagrams) {
    const peer: PeerId = `udp/${name}`;
    time.plan(startMs + (atUs - begins) / 1_000, () => {
      const device = devices.get(peer);
      if (direction === "out") return device?.expect(payload);
      const speaks = device ?? new ReplayedDevice();
      devices.set(peer, speaks);
      return handle({ kind: "datagram", from: peer, bytes: speaks.say(payload) });
    });
  }
  const last = datagrams.at(-1)?.atUs ?? begins;
  time.runUntil(startMs + (last - begins) / 1_000 + startMs);
  return [...devices].map(([peer, device]) => ({ peer, answers: device.answers, difference: device.difference() }));
}
