/**
 * The least that any gateway in Node has to do with a reading at QoS 0: a datagram in by node:dgram, a PUBLISH out by one
 * TCP connection, one write for each turn of the event loop. No sessions, no timers, no checks: the floor beside which
 * the gateway is measured where nothing comes in batches. node least.mjs UDP_PORT BROKER_PORT
 *
 * As a peer of the bench: npm run bench -- --lines up0 --peer 'least=node test/bench/least.mjs {udp} {broker}'
 */
import { createSocket } from "node:dgram";
import { connect } from "node:net";

const [udpPort, brokerPort] = process.argv.slice(2).map(Number);
const broker = connect({ host: "127.0.0.1", port: brokerPort, noDelay: true });
broker.write(Buffer.from("100f00044d51545404020e1000036c7374", "hex")); // CONNECT, 3.1.1, clean, keep-alive an hour
broker.resume();

const names = [];
const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
let waiting = [];
function writeOut() {
  broker.write(waiting.length === 1 ? waiting[0] : Buffer.concat(waiting));
  waiting = [];
}
socket.on("message", (octets, { address, port }) => {
  const answer = (...bytes) => socket.send(Buffer.from(bytes), port, address);
  switch (octets[1]) {
    case 0x04: // CONNECT
      return answer(3, 0x05, 0);
    case 0x0a: {
      const id = names.push(octets.subarray(6));
      return answer(7, 0x0b, id >> 8, id & 255, octets[4], octets[5], 0);
    }
    case 0x0c: {
      const name = names[octets.readUInt16BE(3) - 1];
      if (name === undefined) return;
      const packet = Buffer.allocUnsafe(4 + name.length + octets.length - 7);
      packet[0] = 0x30;
      packet[1] = packet.length - 2; // below 128: 20 octets of payload and a short name
      packet.writeUInt16BE(name.length, 2);
      packet.set(name, 4);
      packet.set(octets.subarray(7), 4 + name.length);
      if (waiting.push(packet) === 1) setImmediate(writeOut);
      return;
    }
    case 0x18: // DISCONNECT
      return answer(2, 0x18);
  }
});
socket.bind(udpPort, "127.0.0.1");
