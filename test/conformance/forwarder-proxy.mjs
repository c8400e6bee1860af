/**
 * Between devices and a gateway: each source port becomes a node behind one forwarder [MQTT-SN 1.2 6.17]. So a suite that knows no
 * forwarder can test a gateway behind one.
 */
import { createSocket } from "node:dgram";

const encapsulated = 0xfe;
/** Length, type and control. */
const headBytes = 3;
const idBytes = 4;

/** Listens at `port`; the gateway is at `gatewayPort`. Both on loopback. */
export async function startForwarder({ port, gatewayPort }) {
  const front = createSocket("udp4");
  const back = createSocket("udp4");
  front.on("error", () => {});
  back.on("error", () => {});
  // A node's id is the port of the device, so that it is the same after a restart.
  front.on("message", (bytes, from) => {
    const head = Buffer.alloc(headBytes + idBytes);
    head.set([head.length, encapsulated, 0]);
    head.writeUInt32BE(from.port, headBytes);
    back.send(Buffer.concat([head, bytes]), gatewayPort, "127.0.0.1");
  });
  back.on("message", (bytes) => {
    const [length = 0, type] = bytes;
    if (type !== encapsulated || length !== headBytes + idBytes) return;
    front.send(bytes.subarray(length), bytes.readUInt32BE(headBytes), "127.0.0.1");
  });
  await new Promise((done) => front.bind(port, "127.0.0.1", done));
  // An address of its own: it is the same after a restart.
  await new Promise((done) => back.bind(port, "127.0.0.2", done));
  return {
    close() {
      front.close();
      back.close();
    },
  };
}
