/**
 * Devices over DTLS for scripts/fuzz.mjs. They make handshakes with keys and with certificates, and encrypt what they are given. Besides
 * each of their datagrams they send changed copies of it, parts of two of them, and random octets.
 */
import { createPrivateKey, createSign, X509Certificate } from "node:crypto";
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { SecureDevice } from "../dist/device/secure.js";
import { certificateSuites, suites } from "../dist/secure/suites.js";
import { nodeCrypto } from "../dist/transports/dtls/node-crypto.js";

const fixture = (name) => new URL(`../test/helpers/fixtures/${name}`, import.meta.url).pathname;

/** Of the gateway's listener; `keys`: the file in which `psk` stands. */
export const certificates = { cert: fixture("server.pem"), key: fixture("server-key.pem"), ca: fixture("ca.pem") };
export const psk = "000102030405060708090a0b0c0d0e0f";

const own = createPrivateKey(readFileSync(fixture("client-key.pem")));
const certificate = {
  chain: [new X509Certificate(readFileSync(fixture("client.pem"))).raw],
  sign: (bytes) => createSign("sha256").update(bytes).sign(own),
  trusts: () => () => true, // the gateway is not what is tried here
};

function optionsOf(int) {
  const name = ["ccm8", "ccm", "gcm"][int(3)];
  const cidOctets = [undefined, 0, 4][int(3)];
  const key = Buffer.from(int(8) === 0 ? "ff".repeat(16) : psk, "hex");
  if (int(4) === 0) return { identity: "", key, suites: [certificateSuites[name]], cidOctets, certificate };
  return { identity: int(10) === 0 ? "nobody" : `dev${int(5)}`, key, suites: [suites[name]], cidOctets };
}

export function openDtls({ port, random }) {
  const int = (max) => Math.floor(random() * max);
  const seen = [];
  const counts = { sent: 0, opened: 0 };

  function changed(bytes) {
    let out = Uint8Array.from(bytes);
    const other = seen[int(seen.length)] ?? bytes;
    for (let i = int(3); i >= 0; i--) {
      const at = int(Math.max(1, out.length));
      switch (int(7)) {
        case 0:
          out[at] = (out[at] ?? 0) ^ (1 << int(8));
          break;
        case 1:
          out[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][int(6)];
          break;
        case 2:
          out = out.slice(0, at);
          break;
        case 3:
          out = Uint8Array.from([...out.slice(0, at), ...other.slice(int(other.length))]);
          break;
        case 4:
          out = Uint8Array.from([...out, ...other]);
          break;
        case 5:
          out = Uint8Array.from({ length: int(80) }, () => int(256));
          break;
        default:
          // Epoch, number or length of a record, which a random octet seldom is.
          out[3 + int(10)] = int(256);
      }
    }
    return out;
  }

  class End {
    constructor() {
      this.socket = createSocket("udp4");
      this.socket.on("error", () => {});
      this.socket.on("message", (bytes) => {
        this.device?.receive(bytes, performance.now());
        this.flush();
      });
    }
    begin() {
      this.device = new SecureDevice(nodeCrypto, optionsOf(int));
      this.left = 40 + int(400);
      this.device.start(performance.now());
      this.flush();
    }
    flush() {
      for (const item of this.device?.take() ?? []) {
        if (item.kind === "opened") counts.opened++;
        if (item.kind === "closed") this.device = undefined;
        if (item.kind !== "send") continue;
        seen[seen.length < 500 ? seen.length : int(500)] = item.bytes;
        // Few are lost, and few of the copies come before it.
        if (int(20) === 0) continue;
        if (int(4) === 0) this.disturb(changed(item.bytes));
        this.send(item.bytes);
      }
    }
    send(bytes, socket = this.socket) {
      counts.sent++;
      socket.send(bytes, port, "127.0.0.1", () => {});
    }
    /** From elsewhere mostly: what comes from its own address disturbs a device's handshakes, as it must. */
    disturb(bytes) {
      this.send(bytes, int(20) === 0 ? this.socket : stranger.socket);
    }
    /** Something goes: sealed, if there are keys, or a changed copy of something. */
    step(message) {
      if (this.device === undefined || this.left-- <= 0) return this.begin();
      if (this.device.isOpen && int(3) === 0) {
        this.device.send(message);
        return this.flush();
      }
      this.disturb(changed(seen[int(seen.length)] ?? message));
      if (int(100) === 0) {
        this.device.timeout(this.device.nextDeadline() ?? 0);
        this.flush();
      }
    }
  }

  const stranger = new End();
  const ends = Array.from({ length: 20 }, () => new End());
  return {
    counts,
    step: (message) => ends[int(ends.length)].step(message),
    close: () => {
      for (const { socket } of [stranger, ...ends]) socket.close();
    },
    /** What a device with the key sends with `send`, and receives by `heard`; resolves when it may. */
    open: (heard) =>
      new Promise((done, fail) => {
        const socket = createSocket("udp4");
        const device = new SecureDevice(nodeCrypto, {
          identity: "dev0",
          key: Buffer.from(psk, "hex"),
          suites: [suites.gcm],
          cidOctets: 0,
        });
        const send = (bytes) => {
          device.send(bytes);
          flush();
        };
        const flush = () => {
          for (const item of device.take()) {
            if (item.kind === "send") socket.send(item.bytes, port, "127.0.0.1");
            else if (item.kind === "message") heard(item.bytes);
            else if (item.kind === "opened") done(send);
            else fail(new Error(item.why));
          }
        };
        const timer = setInterval(() => {
          device.timeout(performance.now());
          flush();
        }, 100);
        timer.unref();
        socket.on("message", (bytes) => {
          device.receive(bytes, performance.now());
          flush();
        });
        socket.bind(0, "127.0.0.1", () => {
          device.start(performance.now());
          flush();
        });
      }),
  };
}
