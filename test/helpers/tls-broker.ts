/** A broker over TLS, or over WebSocket in TLS, that records for each connection how its handshake ended, and how many octets it needed. */
import { readFileSync } from "node:fs";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createServer as createTlsServer, type PeerCertificate, type TLSSocket, type TlsOptions } from "node:tls";
import { createWebSocketStream, WebSocketServer } from "ws";
import { fixture } from "./mosquitto.ts";
import { serve, type Visit } from "./scripted-broker.ts";

export interface Secured {
  readonly isResumed: boolean;
  readonly client: string | undefined;
  readonly visit: Visit;
  /** Octets of TCP so far, as the broker sees them. */
  readonly received: number;
  readonly sent: number;
  cut(): void;
}

const pem = (name: string) => readFileSync(fixture(name));
/** internal_error, fatal. [RFC 8446 6] */
const alert = Buffer.from("15030300020250", "hex");

export class TlsBroker {
  readonly secured: Secured[] = [];
  /** TCP connections so far. */
  opened = 0;
  /** So many handshakes to come are answered with an alert. */
  alerts = 0;
  /** A client on a resumed connection must be known; otherwise CONNECT is refused. */
  knowsResumed = true;
  readonly #tcp = createServer((socket) => this.#open(socket));
  readonly #tls: ReturnType<typeof createTlsServer>;
  readonly #sockets = new Set<Socket>();

  private constructor(scheme: "mqtts" | "wss", options: TlsOptions) {
    const all = { cert: pem("server.pem"), key: pem("server-key.pem"), ca: pem("ca.pem"), ...options };
    if (scheme === "mqtts") this.#tls = createTlsServer(all, (socket) => this.#noteSecured(socket, socket));
    else {
      const server = createHttpsServer(all);
      this.#tls = server;
      new WebSocketServer({ server }).on("connection", (socket, { socket: below }) =>
        this.#noteSecured(below as TLSSocket, createWebSocketStream(socket) as unknown as Socket),
      );
    }
    this.#tls.on("tlsClientError", () => {});
  }

  static async start(scheme: "mqtts" | "wss", options: TlsOptions = {}): Promise<TlsBroker> {
    const broker = new TlsBroker(scheme, options);
    await new Promise<void>((done) => broker.#tcp.listen(0, "127.0.0.1", done));
    return broker;
  }

  get port(): number {
    return (this.#tcp.address() as AddressInfo).port;
  }

  /** Octets of TCP so far, over all connections, as the client counts them. */
  get carried(): { in: number; out: number } {
    const sockets = [...this.#sockets];
    return {
      in: sockets.reduce((sum, { bytesWritten }) => sum + bytesWritten, 0),
      out: sockets.reduce((sum, { bytesRead }) => sum + bytesRead, 0),
    };
  }

  /** No ticket of before is taken any more. */
  newKeys(): void {
    this.#tls.setTicketKeys(Buffer.from(Array.from({ length: 48 }, (_, i) => 255 - i)));
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((done) => this.#tcp.close(() => done()));
  }

  #open(socket: Socket): void {
    this.opened++;
    this.#sockets.add(socket);
    socket.on("error", () => {});
    if (this.alerts > 0) {
      this.alerts--;
      socket.once("data", () => socket.end(alert));
      return;
    }
    this.#tls.emit("connection", socket);
  }

  #noteSecured(socket: TLSSocket, stream: Socket): void {
    const visit = serve(stream, ({ cmd }) =>
      cmd === "connect" && !this.knowsResumed && socket.isSessionReused()
        ? [{ cmd: "connack", sessionPresent: false, returnCode: 5 }]
        : undefined,
    );
    socket.on("error", () => {});
    const { subject } = socket.getPeerCertificate() as Partial<PeerCertificate>;
    const raw = [...this.#sockets].at(-1) as Socket;
    const client = subject?.CN;
    this.secured.push({
      isResumed: socket.isSessionReused(),
      client: Array.isArray(client) ? client[0] : client,
      visit,
      get received() {
        return raw.bytesRead;
      },
      get sent() {
        return raw.bytesWritten;
      },
      cut: () => raw.destroy(),
    });
  }
}
