/** What a connection that MQTT.js makes asks of the system. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer, type Server, Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { expect, onTestFinished, test, vi } from "vitest";
import { parseBrokerUrl } from "../../../src/upstream/broker-url.ts";
import type { ConnectionEvents } from "../../../src/upstream/connection.ts";
import { MqttJsConnection } from "../../../src/upstream/mqtt-js-connection.ts";
import { fixture } from "../../helpers/mosquitto.ts";

const pem = (name: string) => readFileSync(fixture(name));
const certificate = { cert: pem("server.pem"), key: pem("server-key.pem") };

/** Each calls back with a socket over which CONNECT is to come: the handshakes below MQTT are over. */
const servers: Readonly<Record<string, (ready: (socket: Socket) => void) => Server>> = {
  mqtt: (ready) => createServer(ready),
  mqtts: (ready) => createTlsServer(certificate, ready),
  ws: (ready) => upgrading(createHttpServer(), ready),
  wss: (ready) => upgrading(createHttpsServer(certificate), ready),
};

test.each(Object.entries(servers))("no piece waits in the kernel for the broker: %s", async (scheme, newServer) => {
  let connectCame = () => {};
  const server = newServer((socket) => {
    socket.once("data", () => connectCame());
    onTestFinished(() => {
      socket.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = parseBrokerUrl(`${scheme}://localhost:${port}`);
  if (!url) throw new Error("no url");
  const asked = vi.spyOn(Socket.prototype, "setNoDelay");
  await new Promise<void>((done, failed) => {
    connectCame = done;
    const nothing = () => {};
    const events = { onAsked: nothing, onSecured: nothing, onPing: nothing, onDrain: nothing, onFinished: nothing };
    const ends = { onFailed: failed, onClosed: nothing, onOctets: nothing };
    const packet = { cmd: "connect", clientId: "c", protocolVersion: 4, keepalive: 60, clean: true } as const;
    const words = { packet, timeoutMs: 30_000, isPinging: true };
    const identity = { ca: pem("ca.pem"), family: 4 };
    const all: Partial<ConnectionEvents> = { ...events, ...ends };
    const connection = new MqttJsConnection(url, words as never, identity as never, all as ConnectionEvents);
    onTestFinished(() => {
      asked.mockRestore();
      connection.destroy();
      server.close();
    });
  });
  const isOurs = (socket: unknown) => socket instanceof Socket && socket.remotePort === port;
  const ours = asked.mock.calls.filter((_, i) => isOurs(asked.mock.contexts[i]));
  expect(ours.length).toBeGreaterThan(0);
  for (const [isOn = true] of ours) expect(isOn).toBe(true);
});

/** [RFC 6455, 4.2.2] */
function upgrading(server: Server, ready: (socket: Socket) => void): Server {
  return server.on("upgrade", ({ headers }, socket: Socket) => {
    const key = `${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    const lines = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`];
    socket.write(["HTTP/1.1 101 Switching Protocols", ...lines, "Sec-WebSocket-Protocol: mqtt", "", ""].join("\r\n"));
    ready(socket);
  });
}
