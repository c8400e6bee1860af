/** A browser, and a gateway with a broker and devices on loopback, for tests of the page. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { onTestFinished } from "vitest";
import { ask } from "../../src/cli/ask.ts";
import type { Gateway } from "../../src/gateway.ts";
import type { Role } from "../../src/roles.ts";
import { startTryOutBroker, type TryOutBroker } from "../../src/tryout-broker.ts";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import type { Message, MessageType } from "../../src/wire/v12/messages.ts";
import { findChromium } from "../helpers/find-chromium.mjs";
import { freePorts } from "../helpers/ports.ts";
import { startGateway, until } from "../helpers/test-gateway.ts";

export const found = findChromium();
export const missing = "missing" in found ? found.missing : undefined;

export async function launch(): Promise<Browser> {
  if ("missing" in found) throw new Error(found.missing);
  const env = { ...process.env, ...found.environment } as Record<string, string>;
  return chromium.launch({ executablePath: found.path, env, args: ["--no-sandbox", "--disable-gpu"] });
}

export interface Served {
  readonly gateway: Gateway;
  readonly port: number;
  readonly url: string;
  /** The configuration's file, with a comment in it. */
  readonly file: string;
  readonly startBroker: () => Promise<void>;
  readonly stopBroker: () => Promise<void>;
  /** Ends the gateway, and starts it again with the same store and ports. */
  readonly stop: () => Promise<void>;
  readonly startAgain: () => Promise<void>;
}

export async function serve(
  config: Record<string, unknown> = {},
  upstream: Record<string, unknown> = {},
  given?: string,
): Promise<Served> {
  const folder = given ?? mkdtempSync(join(tmpdir(), "console-"));
  const [brokerPort = 0, apiPort = 0, udpPort = 0] = await freePorts(3);
  let broker: TryOutBroker | undefined;
  const stopBroker = async () => {
    if (broker?.kind === "started") await broker.close();
    broker = undefined;
  };
  const startBroker = async () => {
    broker = await startTryOutBroker({ host: "127.0.0.1", port: brokerPort });
  };
  await startBroker();
  const file = join(folder, "gateway.config.json");
  const raw = {
    transports: [{ type: "udp", host: "127.0.0.1", port: udpPort }],
    upstream: { url: `mqtt://127.0.0.1:${brokerPort}`, reconnect: { minSeconds: 0.1, maxSeconds: 0.3 }, ...upstream },
    store: { kind: "disk", folder },
    api: { port: apiPort },
    log: { level: "silent" },
    ...config,
  };
  writeFileSync(file, `// Kept by hand.\n${JSON.stringify(raw, undefined, 2)}\n`);
  const start = () => startGateway(raw, 2, file);
  let { gateway } = await start();
  onTestFinished(async () => {
    await gateway.stop();
    await stopBroker();
    if (given === undefined) rmSync(folder, { recursive: true, force: true });
  });
  return {
    get gateway() {
      return gateway;
    },
    port: udpPort,
    file,
    get url() {
      return `${gateway.apiPlace}/`;
    },
    startBroker,
    stopBroker,
    stop: () => gateway.stop(),
    startAgain: async () => {
      gateway = (await start()).gateway;
    },
  };
}

export interface OpenPage {
  readonly page: Page;
  /** What the page complained of, with what broke its own rules (CSP). */
  readonly complaints: readonly string[];
}

/** Logged in by a link, as from the terminal. */
export async function open(
  browser: Browser,
  served: Served,
  view = "",
  size = { width: 1_200, height: 800 },
  role: Role = "operator",
) {
  // A gateway with a store in memory has no control socket, and gives its first link to an operator.
  const links = async () => (await ask(join(dirname(served.file), "control.sock"), "console.link", { role })).links;
  const [link = ""] = role === "operator" ? served.gateway.consoleLink() : await links();
  const opened = await openAt(browser, link, size);
  if (view !== "") await goTo(opened.page, view);
  return opened;
}

export async function openAt(browser: Browser, link: string, size = { width: 1_200, height: 800 }) {
  if (!link.startsWith("http")) throw new Error(`no link: ${link}`);
  const context = await browser.newContext({ viewport: size });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource|net::ERR/.test(message.text()))
      complaints.push(message.text());
  });
  await page.goto(link);
  await page.getByRole("navigation").waitFor();
  return { page, complaints };
}

/** As by a link of the page. What runs in the page is text here: this program knows no browser's names. */
export async function goTo(page: Page, view: string): Promise<void> {
  await page.evaluate(`location.assign(${JSON.stringify(`#/${view}`)})`);
}

/**
 * A proxy that serves the gateway under a path, with its own Host: `http://127.0.0.1:PORT/gw/`. `buffers`: it passes an answer on when it
 * is complete. `adds`: further headers; it passes on the browser's Host then.
 */
export async function proxied(
  served: Served,
  buffers = false,
  adds?: Readonly<Record<string, string>>,
): Promise<string> {
  const [port = 0] = await freePorts(1);
  const server = createServer((asked, response) => {
    const path = (asked.url ?? "").replace(/^\/gw\//, "/");
    const headers = { ...asked.headers, ...(adds ?? { host: "localhost" }) };
    const passed = request(served.url, { method: asked.method ?? "GET", path, headers }, (answer) => {
      const parts: Buffer[] = [];
      const begin = () => response.writeHead(answer.statusCode ?? 502, answer.headers);
      if (!buffers) {
        begin();
        answer.pipe(response);
        return;
      }
      answer.on("data", (part: Buffer) => parts.push(part));
      answer.once("end", () => begin().end(Buffer.concat(parts)));
    });
    passed.once("error", () => response.destroy());
    response.once("close", () => passed.destroy());
    asked.pipe(passed);
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${port}/gw/`;
}

/** Many devices behind one forwarder: one socket for all of them. */
export class Swarm {
  readonly #socket: Socket = createSocket("udp4");
  readonly #port: number;
  readonly #size: number;

  constructor(size: number, port: number) {
    this.#size = size;
    this.#port = port;
    onTestFinished(() => void this.#socket.close());
  }

  /** A few at a time: a burst of all would be more than a socket holds. */
  async connect(sessions: () => number): Promise<void> {
    for (let i = 0; i < this.#size; i++) {
      const connect = { type: "CONNECT", will: false, cleanSession: true, protocolId: 1, duration: 600 } as const;
      this.#says(i, { ...connect, clientId: `device-${String(i).padStart(4, "0")}` });
      if (i % 50 === 49) await until(`session ${i}`, () => sessions() > i);
    }
  }

  /** This one goes to sleep. */
  sleeps(i: number, duration: number): void {
    this.#says(i, { type: "DISCONNECT", duration });
  }

  #says(i: number, message: Message): void {
    const forwarded = { nodeId: new Uint8Array([i >> 8, i & 0xff]), radius: 0 };
    this.#socket.send(encode(message, forwarded), this.#port, "127.0.0.1");
  }
}

/** Says single messages, so that a test makes each thing happen when it wants it. */
export class PlainDevice {
  readonly #socket: Socket = createSocket("udp4");
  readonly #port: number;
  readonly clientId: string;

  constructor(clientId: string, port: number) {
    this.clientId = clientId;
    this.#port = port;
    onTestFinished(() => void this.#socket.close());
  }

  async connect(duration = 60, cleanSession = false): Promise<void> {
    const { clientId } = this;
    await this.says({ type: "CONNECT", will: false, cleanSession, protocolId: 1, duration, clientId }, "CONNACK");
  }

  /** What is no message. */
  stammers(): void {
    this.#socket.send(Buffer.from("030000", "hex"), this.#port, "127.0.0.1");
  }

  /** And waits for the answer of this type. */
  async says(message: Message, answer: MessageType): Promise<Message> {
    const heard = this.#hears(answer);
    this.#socket.send(encode(message), this.#port, "127.0.0.1");
    return heard;
  }

  async #hears(type: MessageType): Promise<Message> {
    for (;;) {
      const [bytes] = (await once(this.#socket, "message")) as [Buffer];
      const decoded = decode(bytes);
      if (decoded.ok && decoded.message.type === type) return decoded.message;
    }
  }
}

/** Writes into the field of this key in Settings, and opens the field first if it is closed. */
export async function type(page: Page, key: string, value: unknown): Promise<void> {
  const change = page.getByRole("button", { name: `Change ${key}`, exact: true });
  const field = page.getByLabel(key, { exact: true });
  if ((await field.count()) === 0) await change.click();
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  if ((await field.and(page.locator("select")).count()) > 0) await field.selectOption(text);
  else await field.fill(text);
}
