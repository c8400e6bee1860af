import { createSocket } from "node:dgram";
import { networkInterfaces } from "node:os";
import { expect, test } from "vitest";
import { GatewayError } from "../../src/errors.ts";
import { BleTransport } from "../../src/transports/ble/ble.ts";
import { bleOptions } from "../../src/transports/ble/options.ts";
import { dropsIn } from "../../src/transports/proc-net-udp.ts";
import { SerialTransport } from "../../src/transports/serial.ts";
import { serialOptions } from "../../src/transports/serial-options.ts";
import { systemTimers } from "../../src/transports/timers.ts";
import { thisMachine, UdpTransport } from "../../src/transports/udp.ts";
import { loadNativeBatch, type NativeBatch } from "../../src/transports/udp-native.ts";
import { udpOptions } from "../../src/transports/udp-options.ts";
import { fastTimers, ScriptedCentral } from "../helpers/scripted-central.ts";
import { ScriptedPorts } from "../helpers/scripted-line.ts";
import { until } from "../helpers/test-gateway.ts";
import { type Node, transportSuite } from "./transport-suite.ts";

const hasV6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === "::1"),
);

function udp(host: string, native: NativeBatch | undefined, bound = host) {
  return (instance: number) => {
    const options = udpOptions.parse({ type: "udp", name: `udp${instance}`, host: bound, port: 0 });
    const transport = new UdpTransport(options, { ...thisMachine(), native });
    return { transport, node: () => udpNode(host, () => Number(transport.place.split(":").at(-1))) };
  };
}

async function udpNode(host: string, port: () => number): Promise<Node> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  const received: Uint8Array[] = [];
  socket.on("message", (bytes) => received.push(bytes));
  await new Promise<void>((done) => socket.bind(0, host, done));
  return {
    received,
    send: (bytes) => socket.send(bytes, port(), host),
    close: () => new Promise((done) => socket.close(() => done())),
  };
}

const native = loadNativeBatch();
if (!native && process.env["CI"]) throw new Error("native/udp-batch.c is not compiled: node scripts/build-native.mjs");
for (const [how, batch] of [
  ["node:dgram alone", undefined],
  ["many datagrams per system call", native],
] as const) {
  if (how !== "node:dgram alone" && !batch) {
    test.skip(`transport udp, ${how}: native/udp-batch.c is not compiled`, () => {});
    continue;
  }
  transportSuite(`udp over IPv4, ${how}`, udp("127.0.0.1", batch));
  transportSuite(`udp on all IPv4 addresses, ${how}`, udp("127.0.0.1", batch, "0.0.0.0"));
  if (hasV6) {
    transportSuite(`udp over IPv6, ${how}`, udp("::1", batch));
    transportSuite(`udp on all IPv6 addresses, ${how}`, udp("::1", batch, "::"));
  } else test.skip(`transport udp over IPv6, ${how}: this host has no ::1`, () => {});
}

transportSuite("ble, with a scripted adapter", (instance) => {
  const central = new ScriptedCentral();
  const transport = new BleTransport(bleOptions.parse({ type: "ble", name: `ble${instance}` }), fastTimers, central);
  let nodes = 0;
  return { transport, node: async () => central.add(`c0:00:00:00:00:0${++nodes}`) };
});

test("Bluetooth knows how loud a device was heard, under the name of its readings, too", async () => {
  const central = new ScriptedCentral();
  const transport = new BleTransport(bleOptions.parse({ type: "ble", name: "radio" }), fastTimers, central);
  await transport.start(silent);
  central.add("c0:00:00:00:00:01");
  await until("it is heard", () => transport.rssiOf("radio/c0:00:00:00:00:01") !== undefined);
  expect(transport.rssiOf("radio/c0:00:00:00:00:01")).toBe(-60);
  expect(transport.rssiOf("radio/bthome:c0:00:00:00:00:01")).toBe(-60);
  expect(transport.rssiOf("radio/c0:00:00:00:00:02")).toBeUndefined();
  await transport.close();
});

transportSuite("serial, with scripted ports", (instance) => {
  const ports = new ScriptedPorts();
  const names = ["/dev/ttyUSB1", "/dev/ttyUSB2"];
  const devices = names.map((name) => ports.plug(name));
  const options = serialOptions.parse({ type: "serial", name: `serial${instance}`, ports: names });
  return {
    transport: new SerialTransport(options, systemTimers, ports.open),
    node: async () => (devices.shift() ?? ports.plug("none")).opened(),
  };
});

const silent = { datagram: () => {}, peerGone: () => {}, failed: () => {}, notice: () => {} };

test("a port that is taken: what to change is said", async () => {
  const first = new UdpTransport(udpOptions.parse({ type: "udp", host: "127.0.0.1", port: 0 }));
  await first.start(silent);
  const port = Number(first.place.split(":").at(-1));
  const second = new UdpTransport(udpOptions.parse({ type: "udp", host: "127.0.0.1", port }));
  const error = await second.start(silent).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(GatewayError);
  expect(error).toMatchObject({ code: "ERR_TRANSPORT_OPEN", details: { code: "EADDRINUSE", port } });
  expect(String(error)).toMatch(/another program has this port; choose another one under transports/);
  await second.close();
  await first.close();
});

test("an address that is not ours is named", async () => {
  const error = await new UdpTransport(udpOptions.parse({ type: "udp", host: "192.0.2.1", port: 0 }))
    .start(silent)
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ details: { code: "EADDRNOTAVAIL" } });
});

test("broadcasts go to the group's port, here an address of this host", async () => {
  const listener = await udpNode("127.0.0.1", () => 0);
  const socket = createSocket("udp4");
  const heard: Uint8Array[] = [];
  socket.on("message", (bytes) => heard.push(bytes));
  await new Promise<void>((done) => socket.bind(0, "127.0.0.1", done));
  const transport = new UdpTransport(
    udpOptions.parse({
      type: "udp",
      host: "127.0.0.1",
      port: 0,
      multicast: { group: "127.0.0.1", port: socket.address().port },
    }),
  );
  await transport.start(silent);
  transport.broadcast(Uint8Array.of(5, 0, 1, 3, 0x84), 0);
  await until("the broadcast", () => heard.length === 1);
  await transport.close();
  await listener.close();
  socket.close();
});

test("multicast on the loopback interface: broadcasts reach the group, and what is sent to the group reaches us", async () => {
  const group = "239.1.2.3";
  const member = createSocket({ type: "udp4", reuseAddr: true });
  const heard: Uint8Array[] = [];
  member.on("message", (bytes) => heard.push(bytes));
  await new Promise<void>((done) => member.bind(0, done));
  member.addMembership(group, "127.0.0.1");
  member.setMulticastInterface("127.0.0.1");
  const { port } = member.address();
  const multicast = { group, port, interfaces: ["127.0.0.1"] };
  const transport = new UdpTransport(udpOptions.parse({ type: "udp", host: "127.0.0.1", port: 0, multicast }));
  const seen: string[] = [];
  await transport.start({ ...silent, datagram: (_from, bytes) => seen.push(Buffer.from(bytes).toString("hex")) });
  transport.broadcast(Uint8Array.of(5, 0, 1, 3, 0x84), 0);
  await until("the broadcast in the group", () => heard.length === 1);
  member.send(Uint8Array.of(3, 1, 0), port, group);
  await until("SEARCHGW from the group", () => seen.includes("030100"));
  await transport.close();
  member.close();
});

test("drops are read from the kernel's table by address and port", () => {
  const table = [
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops",
    "  520: 0100007F:075B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12345 2 0000000000000000 17",
    "  521: 00000000:075B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12346 2 0000000000000000 4",
  ].join("\n");
  expect(dropsIn(table, { v6: false, hosts: ["127.0.0.1"], port: 1883 })).toBe(17);
  expect(dropsIn(table, { v6: false, hosts: ["0.0.0.0"], port: 1883 })).toBe(4);
  expect(dropsIn(table, { v6: false, hosts: ["0.0.0.0", "127.0.0.1"], port: 1883 })).toBe(21);
  expect(dropsIn(table, { v6: false, hosts: ["127.0.0.1"], port: 1884 })).toBeUndefined();
});

test("less receive buffer than asked for is said, with the command", async () => {
  const transport = new UdpTransport(
    udpOptions.parse({ type: "udp", host: "127.0.0.1", port: 0, receiveBufferBytes: 2 ** 30 }),
  );
  await transport.start(silent);
  expect(transport.warnings.join()).toMatch(/sysctl -w net\.core\.rmem_max=1073741824/);
  await transport.close();
});
