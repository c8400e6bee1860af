/**
 * /livez, /readyz, /healthz and /metrics, on loopback unless configured otherwise: they can only be read, and contain
 * nothing that needs a password. The console, if there is one (console.ts), is beside them, and requires a log-in.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { GatewayError } from "../errors.ts";
import type { ConsoleServer } from "./console.ts";
import { type HealthSources, probeHealth } from "./health.ts";

const connectionsMax = 32;

export interface ApiSources {
  /** Health in a few words; `ok` decides between 200 and 503. */
  health(): { readonly ok: boolean; readonly [fact: string]: unknown };
  /** The sources for /livez and /readyz; absent: these paths do not exist. */
  readonly probes?: HealthSources;
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
}

export class ApiServer {
  readonly #server: Server;
  /** Longest first. */
  readonly #connections = new Set<Socket>();
  readonly #options: { readonly host: string; readonly port: number };
  readonly #console: ConsoleServer | undefined;

  constructor(options: { host: string; port: number }, sources: ApiSources, console?: ConsoleServer) {
    this.#options = options;
    this.#console = console;
    this.#server = createServer(
      { requestTimeout: 5_000, headersTimeout: 5_000, keepAliveTimeout: 5_000, connectionsCheckingInterval: 1_000 },
      (request, response) => this.#answer(request, response, sources),
    );
    this.#server.on("connection", (socket) => this.#makeRoom(socket));
  }

  /** @throws {GatewayError} ERR_API_OPEN */
  async start(): Promise<void> {
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (cause) => {
        const say = `health and metrics: cannot listen on ${host}:${port} (${cause.message}); change api.port, or set api.enabled to false`;
        reject(new GatewayError("ERR_API_OPEN", { host, port }, { cause, say }));
      });
      this.#server.listen(port, host, resolve);
    });
  }

  #answer(request: IncomingMessage, response: ServerResponse, sources: ApiSources): void {
    const url = URL.canParse(request.url ?? "", "http://gateway")
      ? new URL(request.url ?? "", "http://gateway")
      : undefined;
    const path = url?.pathname;
    if (url && path !== undefined && this.#console?.has(path)) {
      // A stream lasts as long as its page is open, so it is not closed for another connection. Streams have their own limit.
      const stays = () => this.#connections.delete(request.socket);
      this.#console.answer(request, response, url, stays).catch(() => {
        if (response.headersSent) response.destroy();
        else answer(response, 500, "application/json", '{"error":"internal error"}\n');
      });
      return;
    }
    if (request.method !== "GET" && request.method !== "HEAD")
      return answer(response, 405, "text/plain", "method not allowed\n");
    if (path === "/healthz") {
      const health = sources.health();
      return answer(response, health.ok ? 200 : 503, "application/json", `${JSON.stringify(health)}\n`);
    }
    if (sources.probes && (path === "/livez" || path === "/readyz")) {
      probeHealth(path, sources.probes).then(
        (verdict) => answer(response, verdict?.ok ? 200 : 503, "application/json", `${JSON.stringify(verdict)}\n`),
        () => answer(response, 500, "text/plain", "internal error\n"),
      );
      return;
    }
    if (path !== "/metrics") return answer(response, 404, "text/plain", "not found\n");
    sources.metrics().then(
      ({ contentType, text }) => answer(response, 200, contentType, text),
      () => answer(response, 500, "text/plain", "internal error\n"),
    );
  }

  /** Answers take little time, so the oldest connection is idle. It is closed for a new one. */
  #makeRoom(socket: Socket): void {
    this.#connections.add(socket);
    socket.once("close", () => this.#connections.delete(socket));
    if (this.#connections.size <= connectionsMax) return;
    const [longest] = this.#connections;
    if (!longest) return;
    this.#connections.delete(longest);
    longest.destroy();
  }

  /** The address that the server listens at, for the log. */
  get place(): string {
    const address = this.#server.address();
    return typeof address === "object" && address ? `http://${this.#options.host}:${address.port}` : "";
  }

  async close(): Promise<void> {
    this.#console?.close();
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    "content-type": type,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  response.end(body);
}
