/**
 * The least that any gateway in Node has to do: a datagram in by node:dgram, a PUBLISH out by TCP, one write for each
 * connection and turn of the event loop; at QoS 1 the broker's PUBACK in, the device's out. No sessions, no timers, no
 * checks: the floor beside which the gateway is measured. One connection for all devices, QoS 0 only, or one for each:
 * node least.mjs UDP_PORT BROKER_PORT [transparent]
 *
 * As a peer of the bench: npm run bench -- --lines up0 --peer 'least=node test/bench/least.mjs {udp} {broker}'
 */
import { createSocket } from "node:dgram";
import { connect } from "node:net";

const [udpPort, brokerPort] = process.argv.slice(2).map(Number);
const isTransparent = process.argv[4] === "transparent";
const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });

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
    if (this.#waiting.push(packet) === 1) setImmediate(this.#writeOut);
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
const shared = isTransparent ? undefined : new Link("least", () => {});

socket.on("message", (octets, { address, port }) => {
  const answer = (...bytes) => socket.send(Buffer.from(bytes), port, address);
  const peer = `${address}:${port}`;
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
});
socket.bind(udpPort, "127.0.0.1");
