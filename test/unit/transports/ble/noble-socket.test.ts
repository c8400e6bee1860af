/** What the gateway changes in noble's way of using the controller. */
import { EventEmitter } from "node:events";
import { expect, test, vi } from "vitest";
import { connectionOptions } from "../../../../src/transports/ble/connection-options.ts";
import { controlLinks } from "../../../../src/transports/ble/noble-socket.ts";
import { pairingCrypto } from "../../../../src/transports/ble/pairing-crypto.ts";

const options = {
  connection: connectionOptions.parse({}),
  supervisionMs: 4_000,
  isAlone: false,
  extended: false,
  own: () => ({ address: "00:aa:01:00:00:01", type: "public" as const }),
  crypto: pairingCrypto,
};

/** noble with its socket, as both editions have it. */
function newNoble() {
  const written: string[] = [];
  const heard = vi.fn();
  const connect = vi.fn();
  const socket = Object.assign(new EventEmitter(), { write: (packet: Buffer) => written.push(packet.toString("hex")) });
  socket.on("data", (packet: Buffer) => heard(packet.toString("hex")));
  const hci = {
    _socket: socket,
    writeAclDataPkt: () => undefined,
    createLeConn: (...words: unknown[]) => connect(...words),
  };
  return { noble: { _bindings: { _hci: hci } }, socket, hci, written, heard, connect };
}

/** A link to c0:00:00:00:00:01, handle 0x42, 420 ms. */
const linked = "043e13010042000001" + "0100000000c0" + "180000002a0000";

test("packets pass through the link control, also from a native part that keeps the function `emit` it found at its start", () => {
  const { noble, socket, written, heard } = newNoble();
  const kept = socket.emit;
  expect(controlLinks(noble, options, () => {})).toBeDefined();
  const packets = [linked, "040e0401011000"];
  for (const hex of packets) kept.call(socket, "data", Buffer.from(hex, "hex"));
  expect(written).toEqual(["0113200e4200180028000000900100000000"]); // 30 to 50 ms, 4 s
  expect(heard.mock.calls.map(([hex]) => hex)).toEqual(packets);
});

test("no attempt to connect resets the controller, which others may use", () => {
  const { noble, hci, connect } = newNoble();
  expect(controlLinks(noble, options, () => {})).toBeDefined();
  const attempt = {};
  hci.createLeConn("00:00:00:00:00:02", "random", { latency: 0 }, true, attempt);
  expect(connect).toHaveBeenCalledExactlyOnceWith("00:00:00:00:00:02", "random", { latency: 0 }, false, attempt);
});
