/**
 * Between devices that send unencrypted and a gateway that demands DTLS: each source address becomes a device with its own key, makes a
 * handshake, and keeps its context. So a suite without DTLS can test a gateway over it.
 */
import { createSocket } from "node:dgram";
import { performance } from "node:perf_hooks";
import { SecureDevice } from "../../dist/device/secure.js";
import { suites } from "../../dist/secure/suites.js";
import { nodeCrypto } from "../../dist/transports/dtls/node-crypto.js";

const key = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const devicesMax = 2_000;
/** Datagrams that wait for a handshake. */
const waitingMax = 100;
const nameOf = (number) => `device${number}`;

/** What the gateway's listener is to know: `{ identity: key }`. */
export function proxyKeys() {
  return Object.fromEntries(Array.from({ length: devicesMax }, (_, i) => [nameOf(i), key.toString("hex")]));
}

/** Listens at `port`, in clear; the gateway is at `gatewayPort`. Both on loopback. */
export async function startDtlsProxy({ port, gatewayPort }) {
  const front = createSocket("udp4");
  const devices = new Map();
  front.on("error", () => {});
  front.on("message", (bytes, from) => {
    const name = `${from.address}:${from.port}`;
    let device = devices.get(name);
    if (!device || device.isClosed) {
      device = new ProxiedDevice(nameOf(devices.size % devicesMax), gatewayPort, (heard) =>
        front.send(heard, from.port, from.address),
      );
      devices.set(name, device);
    }
    device.send(bytes);
  });
  await new Promise((done) => front.bind(port, "127.0.0.1", done));
  return {
    /** Devices that are there. */
    get size() {
      return devices.size;
    },
    close() {
      front.close();
      for (const device of devices.values()) device.close();
    },
  };
}

class ProxiedDevice {
  isClosed = false;
  #dtls;
  #back = createSocket("udp4");
  #waiting = [];
  #heard;
  #gatewayPort;
  #timer;

  constructor(identity, gatewayPort, heard) {
    this.#dtls = new SecureDevice(nodeCrypto, { identity, key, suites: [suites.ccm8], cidOctets: 0 });
    this.#heard = heard;
    this.#gatewayPort = gatewayPort;
    this.#back.on("error", () => {});
    this.#back.on("message", (bytes) => {
      this.#dtls.receive(bytes, performance.now());
      this.#flush();
    });
    this.#dtls.start(performance.now());
    this.#flush();
  }

  send(bytes) {
    if (!this.#dtls.isOpen) {
      if (this.#waiting.length < waitingMax) this.#waiting.push(bytes);
      return;
    }
    this.#dtls.send(bytes);
    this.#flush();
  }

  close() {
    clearTimeout(this.#timer);
    if (!this.isClosed) this.#back.close();
    this.isClosed = true;
  }

  #flush() {
    for (const item of this.#dtls.take()) {
      if (item.kind === "send") this.#back.send(item.bytes, this.#gatewayPort, "127.0.0.1");
      else if (item.kind === "message") this.#heard(item.bytes);
      else if (item.kind === "opened") for (const bytes of this.#waiting.splice(0)) this.send(bytes);
      else return this.close();
    }
    clearTimeout(this.#timer);
    const at = this.#dtls.nextDeadline();
    if (at === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#dtls.timeout(performance.now());
        this.#flush();
      },
      Math.max(1, at - performance.now()),
    );
  }
}
