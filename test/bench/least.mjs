/**
 * The least that any gateway in Node has to do: a datagram in, a PUBLISH out by TCP, one write for each connection and turn
 * of the event loop; at QoS 1 the broker's PUBACK in, the device's out. No sessions, no timers, no checks: the floor
 * beside which the gateway is measured. One connection for all devices, QoS 0 only, or one for each; datagrams by
 * node:dgram, or by the gateway's compiled part:
 * node least.mjs UDP_PORT BROKER_PORT [shared|transparent] [compiled]
 *
 * As a peer of the bench: npm run bench -- --lines up0 --peer 'least=node test/bench/least.mjs {udp} {broker}'
 */
import { createSocket } from "node:dgram";
import { createRequire } from "node:module";
import { connect } from "node:net";

const [udpPort, brokerPort] = process.argv.slice(2).map(Number);
const isTransparent = process.argv[4] === "transparent";
const isCompiled = process.argv[5] === "compiled";
/** Between the octets of one wake-up and the next: all that is to be written leaves then. */
let holding = false;
const held = [];

/** One connection to the broker, and the topic names of who speaks by it. */
class Link {
  names = [];
  #broker = connect({ host: "127.0.0.1", port: brokerPort, noDelay: true });
  #waiting = [];

  constructor(clientId, onPacket) {
    const head = Buffer.from("100000044d51545404020e100000", "hex"); // CONNECT, 3.1.1, clean, keep-alive an hour
    head[1] = 12 + clientId.length;
    head[13] = clientId.length;
    this.#broker.write(Buffer.concat([head, Buffer.from(clientId)]));
    this.#broker.on("data", (octets) => {
      // CONNACK and PUBACK: four octets each.
      for (let at = 0; at + 4 <= octets.length; at += 4) onPacket(octets[at], octets.readUInt16BE(at + 2));
    });
    this.#broker.on("error", () => {});
  }

  write(packet) {
    if (this.#waiting.push(packet) > 1) return;
    if (holding) held.push(this.#writeOut);
    else setImmediate(this.#writeOut);
  }

  end() {
    this.#broker.end(Buffer.from("e000", "hex"));
  }

  #writeOut = () => {
    const waiting = this.#waiting;
    this.#broker.write(waiting.length === 1 ? waiting[0] : Buffer.concat(waiting));
    this.#waiting = [];
  };
}

/** PUBLISH; below 128 octets: 20 of payload and a short name. */
function publishPacket(name, octets) {
  const qos = (octets[2] >> 5) & 1;
  const start = 4 + name.length;
  const packet = Buffer.allocUnsafe(start + 2 * qos + octets.length - 7);
  packet[0] = 0x30 | (qos << 1);
  packet[1] = packet.length - 2;
  packet.writeUInt16BE(name.length, 2);
  packet.set(name, 4);
  if (qos > 0) packet.set(octets.subarray(5, 7), start);
  packet.set(octets.subarray(7), start + 2 * qos);
  return packet;
}

const links = new Map();
const shared = isTransparent ? undefined : new Link(`least-${udpPort}`, () => {});

/** `peer`: a key for the address; `send` takes octets back to it. */
function onDatagram(octets, peer, send) {
  const answer = (...bytes) => send(Buffer.from(bytes));
  const link = shared ?? links.get(peer);
  switch (octets[1]) {
    case 0x04: {
      // CONNECT
      if (shared) return answer(3, 0x05, 0);
      link?.end();
      const on = (type, id) => {
        if (type === 0x20) answer(3, 0x05, 0);
        else answer(7, 0x0d, 0, 1, id >> 8, id & 255, 0);
      };
      links.set(peer, new Link(octets.toString("latin1", 6), on));
      return;
    }
    case 0x0a: {
      // REGISTER
      const id = link?.names.push(octets.subarray(6));
      if (id !== undefined) answer(7, 0x0b, id >> 8, id & 255, octets[4], octets[5], 0);
      return;
    }
    case 0x0c: {
      const name = link?.names[octets.readUInt16BE(3) - 1];
      if (name !== undefined) link.write(publishPacket(name, octets));
      return;
    }
    case 0x18: // DISCONNECT
      return answer(2, 0x18);
  }
}

if (isCompiled) receiveCompiled();
else {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  socket.on("message", (octets, { address, port }) =>
    onDatagram(octets, `${address}:${port}`, (answer) => socket.send(answer, port, address)),
  );
  socket.bind(udpPort, "127.0.0.1");
}

/** One system call for what a wake-up brought, one for the answers to it. */
function receiveCompiled() {
  const native = createRequire(import.meta.url)("../../native/build/udp-batch.node");
  const fd = native.open("127.0.0.1", udpPort);
  const setUp = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  setUp.bind({ fd: native.duplicate(fd) }, () => setUp.close());
  const arena = Buffer.alloc(64 * 2_048);
  const words = new Uint32Array(64 * 8);
  const outArena = Buffer.alloc(64 * 2_048);
  const outWords = new Uint32Array(64 * 8);
  let out = 0;
  const flush = () => {
    if (out > 0) native.send(fd, outArena, outWords, out);
    out = 0;
  };
  const sendTo = (address) => (answer) => {
    if (out === 64) flush();
    if (out === 0 && !holding) setImmediate(flush);
    outWords.set(address, out * 8 + 2);
    outWords[out * 8] = out * 2_048;
    outWords[out * 8 + 1] = answer.length;
    outArena.set(answer, out * 2_048);
    out++;
  };
  native.watch(
    fd,
    () => {
      holding = true;
      const count = native.receive(fd, arena, words, 0);
      for (let at = 0; at < count * 8; at += 8) {
        const octets = arena.subarray(words[at], words[at] + words[at + 1]);
        const publishes = octets[1] === 0x0c;
        const address = publishes && shared ? undefined : words.slice(at + 2, at + 8);
        onDatagram(
          publishes && shared ? octets : Buffer.from(octets),
          words[at + 7] * 65_536 + words[at + 2],
          sendTo(address),
        );
      }
      holding = false;
      for (const write of held.splice(0)) write();
      flush();
      return count;
    },
    0,
  );
}
