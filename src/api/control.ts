/**
 * What the operator's commands ask of a running gateway, over a Unix socket in the store's folder: who may read that
 * folder may ask, nobody else. HTTP, so that anything can speak it: `curl --unix-socket data/control.sock http://x/queue`.
 */
import { once } from "node:events";
import { chmodSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { GatewayError } from "../errors.ts";

export interface ControlSources {
  sessions(): unknown;
  /** undefined: there is none. */
  session(clientId: string): unknown;
  /** False: there is none. */
  dropSession(clientId: string): boolean;
  queue(): Promise<unknown>;
  letters(): Promise<unknown>;
  /** Numbers, or all; answers how many were sent. */
  republish(ids: readonly number[] | undefined): Promise<number>;
  purge(ids: readonly number[] | undefined): Promise<number>;
  backup(): AsyncIterable<Uint8Array>;
}

/** A Unix socket's path may not be longer. */
const pathBytesMax = 100;

export class ControlServer {
  readonly #path: string;
  readonly #sources: ControlSources;
  readonly #server: Server;

  constructor(path: string, sources: ControlSources) {
    this.#path = path;
    this.#sources = sources;
    this.#server = createServer({ requestTimeout: 10_000 }, (request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        if (response.headersSent) return response.destroy();
        return json(response, 500, { error: error instanceof Error ? error.message : String(error) });
      });
    });
    this.#server.maxConnections = 8;
  }

  /** @throws {GatewayError} ERR_API_OPEN */
  async start(): Promise<void> {
    const path = this.#path;
    const fail = (why: string, cause?: unknown) =>
      new GatewayError("ERR_API_OPEN", { path }, { cause, say: `no operator commands: ${path}: ${why}` });
    if (Buffer.byteLength(path) > pathBytesMax) throw fail("the path is too long for a socket");
    rmSync(path, { force: true }); // of an earlier life; the store is ours alone
    try {
      this.#server.listen(path);
      await once(this.#server, "listening");
      chmodSync(path, 0o600);
    } catch (error) {
      throw fail(error instanceof Error ? error.message : String(error), error);
    }
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://gateway");
    const sources = this.#sources;
    const clientId = url.searchParams.get("client") ?? "";
    const numbers = url.searchParams.get("ids");
    const ids = numbers === null ? undefined : numbers.split(",").map(Number);
    switch (`${request.method} ${url.pathname}`) {
      case "GET /sessions":
        return json(response, 200, sources.sessions());
      case "GET /session": {
        const session = sources.session(clientId);
        return session === undefined ? noSession(response, clientId) : json(response, 200, session);
      }
      case "DELETE /session":
        return sources.dropSession(clientId)
          ? json(response, 200, { dropped: clientId })
          : noSession(response, clientId);
      case "GET /queue":
        return json(response, 200, await sources.queue());
      case "GET /letters":
        return json(response, 200, await sources.letters());
      case "POST /letters":
        return json(response, 200, { republished: await sources.republish(ids) });
      case "DELETE /letters":
        return json(response, 200, { purged: await sources.purge(ids) });
      case "GET /backup":
        response.writeHead(200, { "content-type": "application/octet-stream" });
        for await (const part of sources.backup()) if (!response.write(part)) await once(response, "drain");
        response.end();
        return;
      default:
        return json(response, 404, { error: "not found" });
    }
  }
}

function noSession(response: ServerResponse, clientId: string): void {
  json(response, 404, { error: `there is no session of "${clientId}"` });
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body, withText)}\n`);
}

/** Octets in base64. */
function withText(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
}
