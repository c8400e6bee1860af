/** The DTLS transport of a shard's gateway: what it believes of handshakes that are handed over, and what it proves. */
import { expect, test } from "vitest";
import type { PeerId } from "../../../src/core/types.ts";
import { type Carrier, DtlsTransport } from "../../../src/transports/dtls/dtls.ts";
import { HandOverSeal } from "../../../src/transports/dtls/hand-over.ts";
import { KnownDevices } from "../../../src/transports/dtls/known-devices.ts";
import type { TransportEvents } from "../../../src/transports/transport.ts";
import { HandedWorld } from "../../helpers/handed-world.ts";
import { testKey } from "../../helpers/secure-world.ts";

const nothing = new Uint8Array(0);

/** The port of a front, in whose place a test hears and sends. */
class FakePort implements Carrier {
  readonly name = "dtls";
  readonly place = "here";
  readonly warnings: readonly string[] = ["that of the socket, which the front reports"];
  readonly sent: string[] = [];
  proofs = 0;
  #events: TransportEvents | undefined;

  async start(events: TransportEvents): Promise<void> {
    this.#events = events;
  }

  send(to: PeerId, bytes: Uint8Array): void {
    this.sent.push(`${to} ${Buffer.from(bytes).toString("hex")}`);
  }

  hear(from: string, bytes: Uint8Array): void {
    this.#events?.datagram(from as PeerId, bytes);
  }

  proved(): void {
    this.proofs++;
  }

  maxMessageBytes = () => 1_024;
  hostOf = (peer: PeerId) => peer;
  identityOf = (peer: PeerId) => ({ name: peer, by: "address" as const, verified: false });
  broadcast(): void {}
  stats = () => ({ datagramsIn: 0, datagramsOut: 0, bytesIn: 0, bytesOut: 0, sendErrors: 0 });
  async close(): Promise<void> {}
}

/** A shard's transport beside a door; the way between them is the test's. */
async function shard() {
  const world = new HandedWorld();
  const port = new FakePort();
  const devices = new KnownDevices({});
  devices.takeMade(() => world.keys);
  devices.read();
  const handedOver = (bytes: Uint8Array) => world.seal.opened(bytes);
  const transport = new DtlsTransport(world.options, world.timers, world.judge.crypto, port, { devices, handedOver });
  const heard: string[] = [];
  await transport.start({
    datagram: (peer, bytes) => void heard.push(`${peer} ${Buffer.from(bytes).toString()}`),
    peerGone: () => {},
    failed: () => {},
    notice: () => {},
  });
  world.run(300);
  return { world, port, transport, heard };
}

async function withDevice() {
  const all = await shard();
  const { world } = all;
  world.fate = (way) => (way === "over" ? [] : [5]);
  const device = world.start(world.device());
  world.run(100);
  return { ...all, device, over: world.handOvers[0]?.bytes ?? nothing };
}

test("a handshake that is handed over is finished, and the answer goes to the device's address", async () => {
  const { world, port, transport, device, over } = await withDevice();
  port.hear(device.address, over);
  world.run(50);
  expect(transport.secureReport()).toMatchObject({ contexts: 1, handshakes: 0, counters: { handshakesDone: 1 } });
  expect(port.sent).toEqual([expect.stringContaining(`${device.address} 14fefd`)]);
  expect(transport.identityOf("dtls/dev1")).toMatchObject({ name: "dev1", by: "psk", verified: true });
  expect(transport.warnings).toEqual([]);
});

test("nothing comes of it from another address, or with another fleet's key", async () => {
  const { world, port, transport, device, over } = await withDevice();
  const read = world.seal.opened(over);
  if (!read) throw new Error("it was handed over");
  port.hear("dtls/10.0.0.9:1", over);
  port.hear(device.address, new HandOverSeal(Buffer.from("another fleet")).sealed(read));
  world.run(50);
  expect(transport.secureReport()).toMatchObject({ contexts: 0, handshakes: 0 });
  expect(port.sent).toEqual([]);
  expect(transport.secureReport().counters.badRecords).toBe(1);
  port.hear(device.address, over);
  world.run(50);
  expect(transport.secureReport().contexts).toBe(1);
});

test("only the newest record of a device proves where it is", async () => {
  const { world, port, heard, transport, device, over } = await withDevice();
  port.hear(device.address, over);
  world.run(50);
  expect(port.proofs, "Finished may be a repetition").toBe(0);
  const [answer] = port.sent;
  device.dtls.receive(Buffer.from(answer?.split(" ")[1] ?? "", "hex"), world.timers.now());
  expect(device.dtls.isOpen).toBe(true);
  const records = ["one", "two"].map((text) => {
    device.dtls.send(Buffer.from(text));
    return device.dtls.take().flatMap((each) => (each.kind === "send" ? [each.bytes] : []))[0] ?? nothing;
  });
  const [one = nothing, two = nothing] = records;
  port.hear("dtls/10.0.0.9:1", two);
  expect([port.proofs, transport.secureReport().counters.moved]).toEqual([1, 1]);
  port.hear(device.address, two);
  port.hear(device.address, one);
  expect(heard).toEqual(["dtls/dev1 two", "dtls/dev1 one"]);
  expect(port.proofs).toBe(1);
  const forged = one.slice();
  forged[10] = 99;
  port.hear(device.address, forged);
  expect(port.proofs).toBe(1);
  transport.send("dtls/dev1", Buffer.from("down"));
  expect(port.sent.at(-1)).toMatch(/^dtls\/10\.0\.0\.9:1 /);
  expect(transport.secureReport().counters.moved).toBe(1);
});

test("no handshake begins here: a ClientHello beside a record with a connection id reaches a shard, and has no effect", async () => {
  const { world, port, transport, device, over } = await withDevice();
  port.hear(device.address, over);
  world.run(50);
  const before = port.sent.length;
  const other = world.device({ identity: "dev2", key: testKey }, "10.0.0.8:1");
  world.keys.set("dev2", testKey);
  /** As an attacker's datagram is passed on: with a connection id of this shard at its end. */
  const cid = world.seal.opened(over)?.begun.cid ?? nothing;
  const tail = Uint8Array.of(25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 99, ...cid, 0, 0);
  other.dtls.start(world.timers.now());
  for (const output of other.dtls.take())
    if (output.kind === "send") port.hear(other.address, Uint8Array.of(...output.bytes, ...tail));
  world.run(50);
  expect(port.sent.slice(before)).toEqual([]);
  expect(transport.secureReport()).toMatchObject({ contexts: 1, handshakes: 0 });
});
