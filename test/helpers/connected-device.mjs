// A device whose socket is connected to the gateway's address, as is usual: it receives only from exactly the address to which it wrote. It
// is plain JavaScript, because it runs in a network namespace. Prints what arrived, and ends after its task. node connected-device.mjs
// listen|publish|search <host> <port> <client id>
import { createSocket } from "node:dgram";

const [what, host = "", port = "", clientId = ""] = process.argv.slice(2);
const again = 300;
const patience = 20_000;

const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
const message = (type, ...octets) => Buffer.from([octets.length + 2, type, ...octets]);
const shortTopic = Buffer.from("ab");

/** What is said until it is answered, and the type of the answer. */
const steps = {
  listen: [
    [message(0x04, 0x04, 0x01, 0, 60, ...Buffer.from(clientId)), 0x05],
    [message(0x12, 0x02, 0, 1, ...shortTopic), 0x13],
  ],
  publish: [
    [message(0x04, 0x04, 0x01, 0, 60, ...Buffer.from(clientId)), 0x05],
    [message(0x0c, 0x22, ...shortTopic, 0, 7, ...Buffer.from(`from ${clientId}`)), 0x0d],
  ],
  search: [[message(0x01, 0), 0x02]],
}[what];

const names = { 2: "GWINFO", 5: "CONNACK", 12: "PUBLISH", 13: "PUBACK", 19: "SUBACK" };
let step = 0;
let timer;

function say() {
  clearTimeout(timer);
  const [octets] = steps[step] ?? [];
  if (octets) {
    if (what === "search") socket.send(octets, Number(port), host);
    else socket.send(octets);
    timer = setTimeout(say, again);
  } else if (what !== "listen") process.exit(0);
}

socket.on("message", (octets) => {
  const type = octets[1];
  console.log(`${names[type] ?? type} ${type === 0x0c ? octets.subarray(7) : ""}`.trim());
  if (type !== steps[step]?.[1]) return;
  step++;
  say();
});
socket.on("error", () => {}); // refused: the gateway is not there yet, or any more
setTimeout(() => process.exit(1), patience);

if (what === "search") {
  socket.bind(() => {
    if (!host.includes(":")) socket.setBroadcast(true);
    say();
  });
} else socket.connect(Number(port), host, say);
