/** MQTT over a TLS WebSocket: authority, client certificate, name, ALPN and pre-shared key as over plain TLS. */
import { readFileSync } from "node:fs";
import { createServer, type ServerOptions } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { PeerCertificate, TLSSocket } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { createWebSocketStream, WebSocketServer } from "ws";
import { MqttUpstream } from "../../src/upstream/mqtt-upstream.ts";
import { upstreamOptions } from "../../src/upstream/options.ts";
import { fixture } from "../helpers/mosquitto.ts";
import { serve } from "../helpers/scripted-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { upstreamEvents } from "../helpers/upstream-events.ts";

const toClose: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).reverse()) await close();
});

interface Handshake {
  readonly subject: string | undefined;
  readonly serverName: string;
  readonly alpn: string;
  readonly path: string;
  readonly authorization: string;
}

async function webSocketBroker(options: ServerOptions) {
  const handshakes: Handshake[] = [];
  const server = createServer(options);
  const sockets = new WebSocketServer({ server });
  sockets.on("connection", (socket, request) => {
    const tls = request.socket as TLSSocket;
    const { subject } = tls.getPeerCertificate() as Partial<PeerCertificate>;
    const { servername, alpnProtocol } = tls as TLSSocket & { servername: unknown };
    handshakes.push({
      subject: subject?.CN as string | undefined,
      serverName: String(servername),
      alpn: String(alpnProtocol),
      path: request.url ?? "",
      authorization: request.headers.authorization ?? "",
    });
    serve(createWebSocketStream(socket) as unknown as Socket);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  toClose.push(async () => {
    for (const each of sockets.clients) each.terminate();
    server.closeAllConnections();
    await new Promise<void>((done) => server.close(() => done()));
  });
  return { handshakes, port: (server.address() as AddressInfo).port };
}

async function connect(over: Record<string, unknown>) {
  const upstream = new MqttUpstream(
    upstreamOptions.parse({ reconnect: { minSeconds: 600, maxSeconds: 600 }, connectTimeoutSeconds: 5, ...over }),
  );
  toClose.push(() => upstream.shutdown(500));
  const seen: string[] = [];
  await upstream.start(
    upstreamEvents({
      up: () => seen.push("up"),
      down: (_link, { cause, reason }) => seen.push(`down ${cause} ${reason}`),
      pong: () => seen.push("pong"),
    }),
  );
  upstream.open({
    linkId: "l~1" as const,
    upstream: "",
    mqttClientId: "c",
    identity: "c",
    clean: true,
    will: undefined,
  });
  await until("an answer", () => seen.length > 0);
  return { upstream, seen };
}

const server = { cert: readFileSync(fixture("server.pem")), key: readFileSync(fixture("server-key.pem")) };
const ca = fixture("ca.pem");

describe("wss://", () => {
  test("an authority that the system does not know is trusted where tls.ca names it, and only there", async () => {
    const { port } = await webSocketBroker(server);
    const url = `wss://localhost:${port}/mqtt`;
    const trusting = await connect({ url, tls: { ca } });
    expect(trusting.seen).toEqual(["up"]);
    trusting.upstream.ping("l~1");
    await until("its answer", () => trusting.seen.includes("pong"));
    const other = await connect({ url });
    expect(other.seen[0]).toMatch(/^down network .*certificate/);
  });

  test("client certificate, server name, ALPN and path reach the broker", async () => {
    const mutual = { ...server, ca: readFileSync(ca), requestCert: true, rejectUnauthorized: true };
    const { port, handshakes } = await webSocketBroker({ ...mutual, ALPNProtocols: ["mqtt-over-wss"] });
    const client = { cert: fixture("client.pem"), key: fixture("client-key.pem") };
    const tls = { ca, ...client, serverName: "localhost", alpn: ["mqtt-over-wss"] };
    const { seen } = await connect({ url: `wss://127.0.0.1:${port}/some/path`, tls });
    expect(seen).toEqual(["up"]);
    expect(handshakes).toEqual([
      {
        subject: expect.stringMatching(/./),
        serverName: "localhost",
        alpn: "mqtt-over-wss",
        path: "/some/path",
        authorization: "",
      },
    ]);
  });

  test("a group of devices has its own certificate", async () => {
    const mutual = { ...server, ca: readFileSync(ca), requestCert: true, rejectUnauthorized: true };
    const { port } = await webSocketBroker(mutual);
    const client = { cert: fixture("client.pem"), key: fixture("client-key.pem") };
    const url = `wss://localhost:${port}`;
    const { seen } = await connect({ url, tls: { ca }, credentials: [{ clients: "c*", ...client }] });
    expect(seen).toEqual(["up"]);
    const { seen: without } = await connect({ url, tls: { ca }, credentials: [{ clients: "d*", ...client }] });
    expect(without[0]).toMatch(/^down/);
  });

  test("a certificate for another name is refused", async () => {
    const { port } = await webSocketBroker(server);
    const { seen } = await connect({ url: `wss://localhost:${port}`, tls: { ca, serverName: "elsewhere.example" } });
    expect(seen[0]).toMatch(/^down network .*(altnames|Hostname)/i);
  });

  test("a pre-shared key instead of certificates", async () => {
    process.env["TEST_PSK"] = "00112233445566778899aabbccddeeff";
    const { port, handshakes } = await webSocketBroker({
      pskCallback: (_socket: TLSSocket, identity: string) =>
        identity === "gw" ? Buffer.from("00112233445566778899aabbccddeeff", "hex") : null,
      ciphers: "PSK",
      maxVersion: "TLSv1.2",
    } as ServerOptions);
    const { seen } = await connect({
      url: `wss://localhost:${port}`,
      tls: { psk: { identity: "gw", key: { env: "TEST_PSK" } } },
    });
    expect(seen).toEqual(["up"]);
    expect(handshakes).toHaveLength(1);
  });

  test("an IPv6 address is one, and no user of the url goes into HTTP", async () => {
    const { port } = await webSocketBroker(server);
    const url = `wss://someone:secret@[::ffff:127.0.0.1]:${port}/mqtt`;
    const { seen } = await connect({ url, tls: { ca, serverName: "localhost" } });
    expect(seen).toEqual(["up"]);
  });
});
