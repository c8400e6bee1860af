/**
 * The operator's commands over a Unix socket in the store's folder. A user that may read this folder may use it. The
 * protocol is HTTP, so that any program can use it: `curl --unix-socket data/control.sock http://x/queue`.
 * runtime/commands.ts has the commands and their inputs; this file only makes the socket.
 */
import { once } from "node:events";
import { chmodSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { GatewayError } from "../errors.ts";
import type { Asker, OperatorDesk } from "../runtime/desk.ts";
import { json, tell } from "./answers.ts";

/** A Unix socket's path may not be longer. */
const pathBytesMax = 100;
const connectionsMax = 8;
/** The longest path with query. Two thousand numbers of dead letters fit. */
const urlCharactersMax = 20_000;
/** Milliseconds for sending a whole request. */
const questionMs = 10_000;
/**
 * Milliseconds without data on a connection, because the client does not read or the disk does not answer. Then it is
 * closed.
 */
const idleMs = 60_000;

/** A user who may open the socket controls the gateway. */
const asker: Asker = { name: "control socket", role: "operator", isLocal: true };

export interface ControlLimits {
  readonly questionMs: number;
  readonly idleMs: number;
}

export class ControlServer {
  readonly #path: string;
  readonly #desk: Pick<OperatorDesk, "routes" | "ask">;
  readonly #server: Server;

  constructor(path: string, desk: Pick<OperatorDesk, "routes" | "ask">, limits: Partial<ControlLimits> = {}) {
    this.#path = path;
    this.#desk = desk;
    const { questionMs: requestTimeout, idleMs: timeout } = { questionMs, idleMs, ...limits };
    this.#server = createServer(
      {
        requestTimeout,
        headersTimeout: requestTimeout,
        connectionsCheckingInterval: requestTimeout / 5,
        keepAliveTimeout: 5_000,
        maxHeaderSize: urlCharactersMax + 8_192,
      },
      (request, response) => {
        this.#answer(request, response).catch((error: unknown) => {
          if (response.headersSent) return response.destroy();
          return json(response, 500, { error: error instanceof Error ? error.message : String(error) });
        });
      },
    );
    this.#server.maxConnections = connectionsMax;
    this.#server.timeout = timeout;
  }

  /** @throws {GatewayError} ERR_API_OPEN */
  async start(): Promise<void> {
    const path = this.#path;
    const fail = (why: string, cause?: unknown) =>
      new GatewayError(
        "ERR_API_OPEN",
        { path },
        { cause, say: `operator commands are not available: ${path}: ${why}` },
      );
    if (Buffer.byteLength(path) > pathBytesMax) throw fail("the path is too long for a socket");
    rmSync(path, { force: true }); // a socket of an earlier run; no other process uses this store
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
    const { url = "/", method } = request;
    if (url.length > urlCharactersMax) {
      return json(response, 414, { error: `more than ${urlCharactersMax} characters; request less at a time` });
    }
    if (hasBody(request)) {
      response.setHeader("connection", "close"); // the body is not read
      return json(response, 413, { error: "no command has a body; its inputs are in the query" });
    }
    if (!URL.canParse(url, "http://gateway")) return json(response, 400, { error: "not a path" });
    const { pathname, searchParams } = new URL(url, "http://gateway");
    const here = this.#desk.routes.filter(({ path }) => path === pathname);
    if (here.length === 0) return json(response, 404, { error: "not found" });
    const route = here.find((each) => each.method === method);
    if (!route) {
      const allow = here.map((each) => each.method).join(", ");
      response.setHeader("allow", allow);
      return json(response, 405, { error: `${pathname} takes ${allow}` });
    }
    await tell(response, await this.#desk.ask(asker, route.command, searchParams));
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}
