/** The limit of node:dgram on this machine: every datagram goes back as it came. Prints its port. */
import { createSocket } from "node:dgram";

const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
socket.on("message", (octets, from) => socket.send(octets, 0, octets.length, from.port, from.address));
socket.bind(0, "127.0.0.1", () => process.stdout.write(`${socket.address().port}\n`));
