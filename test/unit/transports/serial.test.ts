/** What a serial line may do to the gateway, and what it makes of it. */
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { adviceFor, SerialTransport } from "../../../src/transports/serial.ts";
import { serialOptions } from "../../../src/transports/serial-options.ts";
import { ScriptedTimers } from "../../helpers/scripted-central.ts";
import { ScriptedPorts } from "../../helpers/scripted-line.ts";

const path = "/dev/ttyUSB0";
const ping = Uint8Array.of(2, 0x16);

async function bench(options: Record<string, unknown> = {}, plugged = true) {
  const ports = new ScriptedPorts();
  const timers = new ScriptedTimers();
  const transport = new SerialTransport(
    serialOptions.parse({ type: "serial", ports: [path], ...options }),
    timers,
    ports.open,
  );
  const device = plugged ? ports.plug(path) : undefined;
  const messages: string[] = [];
  const said: string[] = [];
  const gone: string[] = [];
  await transport.start({
    datagram: (from, bytes) => messages.push(`${from} ${Buffer.from(bytes).toString("hex")}`),
    peerGone: (peer, reason) => gone.push(`${peer} ${reason}`),
    failed: (error) => said.push(`${error.code} ${error.message}`),
    notice: (_level, say) => said.push(say),
  });
  await turn();
  const pass = async (ms: number) => {
    timers.pass(ms);
    await turn();
  };
  return { ports, timers, transport, device, messages, said, gone, pass };
}

test("a device that is not there is said once, tried after 1, 2, 4 … 30 s, and serves as soon as it is plugged in", async () => {
  const { ports, transport, messages, said, pass } = await bench({}, false);
  expect(said).toEqual([
    `ERR_TRANSPORT_FAILED serial: ${path}: there is no such device; is it plugged in? ls /dev/serial/by-id. The gateway tries again`,
  ]);
  const pauses = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
  for (const [i, pause] of pauses.entries()) {
    await pass(pause - 1);
    expect(ports.attempts.length).toBe(i + 1);
    await pass(1);
    expect(ports.attempts.length).toBe(i + 2);
  }
  expect(said.length).toBe(1);
  expect(transport.links()).toMatchObject({ up: false, devices: [{ linked: false, failures: 8 }] });
  const device = ports.plug(path);
  await pass(30_000);
  expect(said.at(-1)).toBe(`serial: ${path} works again`);
  device.send(ping);
  expect(messages).toEqual([`serial/${path} 0216`]);
  expect(transport.links()).toMatchObject({ up: true, devices: [{ linked: true, failures: 0 }] });
});

test("unplugged in the middle of a message and plugged in again: the peer is gone, the part too, the next message is whole", async () => {
  const { ports, device, transport, messages, said, gone, pass } = await bench();
  device?.send(Uint8Array.of(9, 0x0c, 0));
  ports.unplug(path);
  expect(gone).toEqual([`serial/${path} it was unplugged`]);
  transport.send(`serial/${path}`, ping);
  expect(transport.stats()).toMatchObject({ datagramsOut: 0, sendErrors: 1 });
  const again = ports.plug(path);
  await pass(1_000);
  again.send(ping);
  expect(messages).toEqual([`serial/${path} 0216`]);
  expect(said).toEqual([
    `ERR_TRANSPORT_FAILED serial: ${path}: it was unplugged. The gateway tries again`,
    `serial: ${path} works again`,
  ]);
  expect(transport.links().counters).toMatchObject({ opened: 2, lost: 1, noiseBytes: 3 });
});

test("one line's trouble is none of the other's business", async () => {
  const { ports, messages, pass } = await bench({ ports: [path, "/dev/ttyUSB1"] });
  const other = ports.plug("/dev/ttyUSB1");
  await pass(1_000);
  ports.unplug(path);
  other.send(ping);
  expect(messages).toEqual(["serial//dev/ttyUSB1 0216"]);
});

test("noise is counted; after a silence the next message is taken", async () => {
  const { device, transport, messages, pass } = await bench();
  device?.send(Uint8Array.of(0x80, 0x55, 0xaa)); // "a message of 128 octets", which never comes
  await pass(500);
  device?.send(ping);
  expect(messages).toEqual([`serial/${path} 0216`]);
  expect(transport.links().counters["noiseBytes"]).toBe(3);
});

test("a gateway that stood still for a second goes on in the middle of a message; silence goes on counting from then", async () => {
  const { device, timers, transport, messages, pass } = await bench();
  const publish = Uint8Array.of(8, 0x0c, 0x62, 0x61, 0x62, 0, 0, 0x68);
  device?.send(publish.slice(0, 3));
  await pass(100);
  timers.stall(1_000);
  device?.send(publish.slice(3));
  device?.send(publish.slice(0, 3));
  await pass(100);
  timers.stall(1_000);
  await pass(300); // its timers ran before it read
  device?.send(publish.slice(3));
  expect(messages).toEqual(Array(2).fill(`serial/${path} 080c626162000068`));
  device?.send(publish.slice(0, 3));
  await pass(500); // the line's own silence
  device?.send(ping);
  expect(messages.at(-1)).toBe(`serial/${path} 0216`);
  await transport.close();
  expect(timers.size).toBe(0);
});

test("a node's message in its encapsulation is one message, also when cut [§5.5]", async () => {
  const { device, messages } = await bench();
  device?.send(Uint8Array.of(5, 0xfe, 0, 0xab, 0xcd, 9, 0x0c, 0x62, 0x61, 0x62, 0, 0, 0x68, 0x69));
  expect(messages).toEqual([`serial/${path} 05fe00abcd090c62616200006869`]);
});

test("a line that does not drain takes no more than its buffer; the rest is lost and counted", async () => {
  const { device, transport } = await bench({ sendBufferBytesMax: 100 });
  if (device) device.waitingBytes = 98;
  transport.send(`serial/${path}`, ping);
  if (device) device.waitingBytes = 99;
  transport.send(`serial/${path}`, ping);
  expect(device?.received.length).toBe(1);
  expect(transport.stats()).toMatchObject({ datagramsOut: 1, sendErrors: 1 });
});

test("a broadcast goes to every open line", async () => {
  const { ports, device, transport, pass } = await bench({ ports: [path, "/dev/ttyUSB1"] });
  const other = ports.plug("/dev/ttyUSB1");
  await pass(1_000);
  transport.broadcast(Uint8Array.of(5, 0, 1, 3, 0x84), 0);
  expect([device?.received.length, other.received.length]).toEqual([1, 1]);
});

test("closed while it waits: it is not tried again; closed while it opens: it is closed again", async () => {
  const { ports, transport, timers } = await bench({}, false);
  await transport.close();
  expect(timers.size).toBe(0);
  const device = ports.plug(path);
  const late = new SerialTransport(serialOptions.parse({ type: "serial", ports: [path] }), timers, ports.open);
  await late.start({ datagram: () => {}, peerGone: () => {}, failed: () => {}, notice: () => {} });
  await late.close();
  expect(device.isOpen).toBe(false);
});

test.each([
  [Object.assign(new Error("Cannot find module 'serialport'"), { code: "MODULE_NOT_FOUND" }), /npm install serialport/],
  [new Error("Error: Permission denied, cannot open /dev/ttyUSB0"), /usermod -a -G dialout/],
  [new Error("Error: No such file or directory, cannot open /dev/ttyUSB0"), /plugged in/],
  [new Error("Error Resource temporarily unavailable Cannot lock port"), /another program has it/],
  [new Error("No native build was found for platform=linux"), /npm rebuild serialport/],
  [new Error("Unknown error code 5"), /^Unknown error code 5$/],
])("what is missing is said with what to type: %s", (error, advice) => {
  expect(adviceFor(error, path)).toMatch(advice);
});

test("ports are named once each, without blanks", () => {
  expect(serialOptions.safeParse({ type: "serial", ports: [] }).success).toBe(false);
  expect(serialOptions.safeParse({ type: "serial", ports: [path, path] }).success).toBe(false);
  expect(serialOptions.safeParse({ type: "serial", ports: ["/dev/tty#1"] }).success).toBe(false);
});
