/**
 * `node --require hci-userland.cjs …`: noble's native socket is replaced, in this process, by a connection to a virtual
 * controller (`btvirt -s`), so that noble's own code runs without a kernel that has Bluetooth, and without rights.
 * BLE_LAB_HCI names btvirt's socket. Each connection is a new controller; when it closes, that controller is unplugged.
 */
"use strict";
const { EventEmitter } = require("node:events");
const Module = require("node:module");
const net = require("node:net");

class VirtualHciSocket extends EventEmitter {
  #socket;
  #isUp = false;
  #isStarted = false;
  #bytes = Buffer.alloc(0);

  #open(deviceId) {
    this.#isUp = true; // what is written before the connection stands waits in it
    this.#socket = net.connect(process.env.BLE_LAB_HCI);
    this.#socket.on("data", (bytes) => {
      this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
      this.#deliver();
    });
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => {
      this.#isUp = false;
      this.emit("state", false);
    });
    return deviceId ?? 0;
  }

  bindRaw(deviceId) {
    return this.#open(deviceId);
  }
  bindUser(deviceId) {
    return this.#open(deviceId);
  }
  isDevUp() {
    return this.#isUp;
  }
  getDeviceList() {
    return [{ devId: 0, devUp: this.#isUp, idVendor: null, idProduct: null }];
  }
  bindControl() {
    return 0;
  }
  setFilter() {}
  setAuth() {}
  setEncrypt() {}
  cleanup() {}
  start() {
    this.#isStarted = true;
    setImmediate(() => this.#deliver());
  }
  stop() {
    this.#isStarted = false;
    this.#socket?.end();
  }
  reset() {
    this.write(Buffer.from([0x01, 0x03, 0x0c, 0x00]));
  }
  write(bytes) {
    if (this.#isUp) this.#socket.write(bytes);
    return bytes.length;
  }

  /** H4: events (4) have their length in the third octet, data (2) in the fourth and fifth. */
  #deliver() {
    while (this.#isStarted && this.#bytes.length >= 3) {
      const isEvent = this.#bytes[0] === 4;
      if (!isEvent && this.#bytes.length < 5) return;
      const length = isEvent ? 3 + this.#bytes[2] : 5 + this.#bytes.readUInt16LE(3);
      if (this.#bytes.length < length) return;
      const packet = Buffer.from(this.#bytes.subarray(0, length));
      this.#bytes = this.#bytes.subarray(length);
      this.emit("data", packet);
    }
  }
}
VirtualHciSocket.loadDriver = () => VirtualHciSocket;
VirtualHciSocket.default = VirtualHciSocket;

const load = Module._load;
Module._load = function (request, ...rest) {
  if (/^@(abandonware|stoprocent)\/bluetooth-hci-socket$/.test(request)) return VirtualHciSocket;
  return load.call(this, request, ...rest);
};
