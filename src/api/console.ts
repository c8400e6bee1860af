/**
 * The console's side of the HTTP server: the page, the log-in, and the operator's commands under /api/v1/. The desk
 * decides which commands exist and who may use them; this file gives them addresses and the rules of HTTP.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Wanted } from "../observe/live.ts";
import type { Role } from "../roles.ts";
import type { Asker, OperatorDesk } from "../runtime/desk.ts";
import { json, tell } from "./answers.ts";
import { EventStreams, type Looks, type StreamSource } from "./event-streams.ts";
import { bearerOf, type GuardOptions, isThisMachine, safetyHeaders, turnedAway } from "./guard.ts";
import { ingressUser } from "./ingress.ts";
import { Attempts, type LoggedIn, type LogIn, loginSeconds } from "./log-in.ts";
import { Page } from "./page.ts";
import { askedFrom } from "./proxies.ts";

export const prefix = "/api/v1";
/** A browser takes such a cookie only by https, and from this host itself. */
const hostPrefix = "__Host-";
/** The id by which polls of the same browser are recognized. */
const pollName = /^[A-Za-z0-9-]{1,64}$/;
const bodyBytesMax = 4_096;
/** The longest body of a command: a whole configuration, or a secret. */
const commandBytesMax = 262_144;

export interface ConsoleOptions extends GuardOptions {
  readonly desk: Pick<OperatorDesk, "routes" | "ask" | "document">;
  readonly logIn: LogIn;
  readonly live: StreamSource;
  /** The folder of the page's files. */
  readonly folder: URL;
  /** True if a user with this role sees the payloads of devices. */
  showsPayloads(role: Role): boolean;
  /** True if there is a password; the page then asks for it. */
  hasPassword(): boolean;
  /** Writes a log line: a user logged in, or failed to. */
  said(who: string, what: string): void;
  /** Monotonic milliseconds. */
  now(): number;
}

export class ConsoleServer {
  readonly #options: ConsoleOptions;
  readonly #page: Page;
  readonly #streams: EventStreams;
  readonly #attempts: Attempts;

  constructor(options: ConsoleOptions) {
    this.#options = options;
    this.#page = new Page(options.folder);
    this.#streams = new EventStreams(options.live, options.now);
    this.#attempts = new Attempts(options.now);
  }

  has(path: string): boolean {
    return this.#page.has(path) || path.startsWith(`${prefix}/`);
  }

  /** The number of browsers that show the page now. */
  get watching(): number {
    return this.#streams.size;
  }

  /** `stays` is called if the answer lasts as long as the page is open. */
  async answer(request: IncomingMessage, response: ServerResponse, url: URL, stays: () => void): Promise<void> {
    for (const [name, value] of Object.entries(safetyHeaders)) response.setHeader(name, value);
    const turned = turnedAway(request, this.#options);
    if (turned) return refuse(request, response, turned.status, turned.error);
    if (!url.pathname.startsWith(`${prefix}/`)) return this.#sendPage(request, response, url.pathname);
    response.setHeader("cache-control", "no-store");
    const path = url.pathname.slice(prefix.length);
    if (path === "/log-in") return this.#logIn(request, response);
    const bearer = bearerOf(request);
    const guest = bearer === undefined ? ingressUser(request, this.#options.ingress) : undefined;
    const cookie = bearer === undefined && !guest ? this.#cookieIn(request) : undefined;
    const who = guest ?? this.#who(bearer, cookie);
    if (bearer !== undefined && !who) return this.#refuseToken(request, response);
    if (path === "/me") return json(response, 200, this.#me(who));
    if (!who) return refuse(request, response, 401, "log in: get a link with `mqtt-sn-gateway console`");
    if (path === "/log-out" && bearer !== undefined)
      return refuse(request, response, 405, "a token is removed with `mqtt-sn-gateway console token remove`");
    if (path === "/log-out" && guest) return refuse(request, response, 405, "Home Assistant has logged you in");
    if (path === "/log-out" && request.method === "POST") return this.#logOut(request, response, who, cookie);
    if (path === "/openapi.json") return json(response, 200, this.#options.desk.document());
    if (path === "/events") {
      const isAllowed = () => guest !== undefined || this.#who(bearer, cookie)?.role === who.role;
      const poll = url.searchParams.get("poll") ?? undefined;
      const looks = { isAllowed, ...(poll !== undefined && { poll: `${guest?.id ?? bearer ?? cookie} ${poll}` }) };
      if (poll !== undefined && !pollName.test(poll))
        return refuse(request, response, 400, "poll: a name of 1 to 64 letters, digits and hyphens");
      if (this.#stream(request, response, url, who, looks)) stays();
      return;
    }
    return this.#command(request, response, url, path, who);
  }

  close(): void {
    this.#streams.close();
  }

  async #sendPage(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    if (request.method !== "GET" && request.method !== "HEAD")
      return refuse(request, response, 405, "method not allowed");
    try {
      await this.#page.send(path, request, response);
    } catch {
      refuse(request, response, 404, "the page was not built: npm run build");
    }
  }

  #who(bearer: string | undefined, cookie: string | undefined): LoggedIn | undefined {
    const { logIn } = this.#options;
    return bearer === undefined ? logIn.who(cookie) : logIn.byBearer(bearer);
  }

  /**
   * Counts as a failed log-in. Requests with a valid token are never delayed, because a token is too long to be
   * guessed.
   */
  #refuseToken(request: IncomingMessage, response: ServerResponse): void {
    const address = this.#addressOf(request);
    if (this.#isTooOften(request, response, address)) return;
    this.#options.said(`token from ${address}`, "refused");
    response.setHeader("www-authenticate", "Bearer");
    refuse(request, response, 401, "this token is not known: make one with `mqtt-sn-gateway console token add`");
  }

  /** Counts an attempt. True: there were too many attempts, and the request was answered. */
  #isTooOften(request: IncomingMessage, response: ServerResponse, address: string): boolean {
    const seconds = this.#attempts.tryFrom(address);
    if (seconds === undefined) return false;
    response.setHeader("retry-after", seconds);
    refuse(request, response, 429, `too many tries; again in ${seconds} s`);
    return true;
  }

  /** The user of the request; the guard has refused requests without one. */
  #addressOf(request: IncomingMessage): string {
    return askedFrom(request, this.#options.proxies).address ?? "";
  }

  /**
   * Browsers send a cookie to all ports of a host. Without different names, two gateways on one machine would log each
   * other's users out.
   */
  #cookieName(request: IncomingMessage): string {
    const { isHttps } = askedFrom(request, this.#options.proxies);
    return `${isHttps ? hostPrefix : ""}mqttsn_console_${request.socket.localPort}`;
  }

  #cookieIn(request: IncomingMessage): string | undefined {
    const own = this.#cookieName(request);
    for (const part of (request.headers.cookie ?? "").split(";")) {
      const [name, value] = part.trim().split("=", 2);
      if (name === own && value) return value;
    }
    return undefined;
  }

  #me(who: LoggedIn | undefined) {
    return { role: who?.role, name: who?.name, by: who?.by, hasPassword: this.#options.hasPassword() };
  }

  async #logIn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== "POST") return refuse(request, response, 405, "log in with POST");
    const address = this.#addressOf(request);
    if (this.#isTooOften(request, response, address)) return;
    const given = await bodyOf(request);
    const { logIn, said } = this.#options;
    const cookie =
      typeof given?.["token"] === "string"
        ? await logIn.byToken(given["token"])
        : typeof given?.["password"] === "string"
          ? await logIn.byPassword(given["password"])
          : undefined;
    if (cookie === undefined) {
      said(`console from ${address}`, "log-in refused");
      const error =
        given?.["token"] === undefined
          ? "the password is wrong"
          : "this link was used, or is older than ten minutes: make another one with `mqtt-sn-gateway console`";
      return refuse(request, response, 401, error);
    }
    const who = logIn.who(cookie);
    said(`console ${who?.name} from ${address}`, `logged in as ${who?.role}`);
    response.setHeader("set-cookie", cookieLine(this.#cookieName(request), cookie, loginSeconds));
    json(response, 200, this.#me(who));
  }

  async #logOut(
    request: IncomingMessage,
    response: ServerResponse,
    who: LoggedIn,
    cookie: string | undefined,
  ): Promise<void> {
    if (cookie !== undefined) await this.#options.logIn.end(cookie);
    this.#options.said(`console ${who.name}`, "logged out");
    response.setHeader("set-cookie", cookieLine(this.#cookieName(request), "", 0));
    json(response, 200, {});
  }

  #stream(
    request: IncomingMessage,
    response: ServerResponse,
    { searchParams }: URL,
    who: LoggedIn,
    looks: Omit<Looks, "wanted">,
  ): boolean {
    if (request.method !== "GET") {
      refuse(request, response, 405, "a stream is for GET");
      return false;
    }
    const clientId = searchParams.get("client");
    const datagrams: Wanted["datagrams"] =
      clientId !== null ? { clientId } : searchParams.has("datagrams") ? "all" : "none";
    const wanted: Wanted = {
      datagrams,
      seesPayloads: this.#options.showsPayloads(who.role),
      seesStrangers: who.role === "operator",
    };
    const isOpen = this.#streams.open(request, response, { ...looks, wanted });
    if (!isOpen) refuse(request, response, 503, "too many browsers are connected");
    return isOpen;
  }

  async #command(
    request: IncomingMessage,
    response: ServerResponse,
    { searchParams }: URL,
    path: string,
    who: LoggedIn,
  ): Promise<void> {
    const { desk } = this.#options;
    const here = desk.routes.filter((route) => route.path === path && !route.isLocal);
    if (here.length === 0) return refuse(request, response, 404, "not found");
    const route = here.find(({ method }) => method === request.method);
    if (!route) {
      const allow = here.map(({ method }) => method).join(", ");
      response.setHeader("allow", allow);
      return refuse(request, response, 405, `${path} takes ${allow}`);
    }
    const { address = "", isByProxy, isHttps } = askedFrom(request, this.#options.proxies);
    // Between a browser and a proxy without https, others can read the traffic, wherever the proxy is.
    const isPrivate = isHttps || (!isByProxy && isThisMachine(address));
    const asker: Asker = {
      name: `${who.by} ${who.name} from ${address}`,
      role: who.role,
      ...(isPrivate && { isPrivate: true }),
    };
    // A long or confidential input is in the body, and not in the log of a proxy.
    if (request.method === "POST") {
      const body = hasBody(request) ? await bodyOf(request, commandBytesMax) : {};
      if (!body) return refuse(request, response, 413, `a body is a JSON object of at most ${commandBytesMax} octets`);
      for (const [name, value] of Object.entries(body)) searchParams.append(name, String(value));
    }
    await tell(response, await desk.ask(asker, route.command, searchParams));
  }
}

/**
 * Refuses a request. Closes the connection if the request was not read completely, so that the rest need not be
 * awaited.
 */
function refuse(request: IncomingMessage, response: ServerResponse, status: number, error: string): void {
  if (!request.complete) response.setHeader("connection", "close");
  json(response, status, { error });
}

function cookieLine(name: string, value: string, seconds: number): string {
  const secure = name.startsWith(hostPrefix) ? "; Secure" : "";
  return `${name}=${value}; HttpOnly; SameSite=Strict; Path=/; Max-Age=${seconds}${secure}`;
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/** The body as a JSON object; undefined: it is too long, or is not a JSON object. */
async function bodyOf(
  request: IncomingMessage,
  bytesMax = bodyBytesMax,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.byteLength;
    if (bytes > bytesMax) return undefined;
    parts.push(part);
  }
  try {
    const found: unknown = JSON.parse(Buffer.concat(parts).toString());
    return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
