/** The console's HTTP side over real sockets on loopback, for its tests: requests as a browser, a foreign page and a guesser send them. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished } from "vitest";
import { ConsoleServer } from "../../src/api/console.ts";
import type { IngressOptions } from "../../src/api/ingress.ts";
import { hashOf, LogIn, type Login, type Token } from "../../src/api/log-in.ts";
import { listOf } from "../../src/api/proxies.ts";
import { ApiServer } from "../../src/api/server.ts";
import { Live } from "../../src/observe/live.ts";
import { type PayloadsFor, showsPayloads } from "../../src/roles.ts";
import { type AuditEntry, OperatorDesk } from "../../src/runtime/desk.ts";
import { emptyInstallation, type Installation } from "../../src/runtime/installation.ts";
import type { CaptureOptions } from "../../src/runtime/tap.ts";
import { threeForTwo } from "../helpers/waiting.ts";

interface Answered {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export async function served({
  isForLan = false,
  hosts = [] as string[],
  proxies = [] as string[],
  ingress = undefined as IngressOptions | undefined,
  tokens = [] as Token[],
  payloads = "operators" as PayloadsFor,
  installation = {} as Partial<Installation>,
} = {}) {
  const captured: CaptureOptions[] = [];
  const capture = (options: CaptureOptions) => {
    captured.push(options);
    return nothingMore();
  };
  const { operator } = threeForTwo({ ...emptyInstallation, payloadsFor: () => payloads, ...installation }, capture);
  const audited: AuditEntry[] = [];
  const said: string[] = [];
  const desk = new OperatorDesk(operator, (entry) => audited.push(entry));
  const time = { now: 1_000_000 };
  let logins: readonly Login[] = [];
  const logIn = new LogIn(
    {
      logins: () => logins,
      change: async (change) => {
        logins = change(logins);
      },
      isPassword: async (password) => password === "correct horse",
      tokens: () => tokens,
    },
    () => time.now,
    () => time.now,
  );
  const live = new Live({ clientAt: () => "c1", topicName: () => "a/b" }, () => time.now);
  const folder = mkdtempSync(join(tmpdir(), "page-"));
  const console = new ConsoleServer({
    desk,
    logIn,
    live,
    folder: pathToFileURL(`${folder}/`),
    hosts,
    proxies: listOf([...proxies, ...(ingress ? [ingress.from] : [])]),
    ingress,
    isForLan: () => isForLan,
    hasPassword: () => true,
    showsPayloads: (role) => showsPayloads(payloads, role),
    said: (who, what) => said.push(`${who}: ${what}`),
    now: () => time.now,
  });
  const sources = { health: () => ({ ok: true }), metrics: async () => ({ contentType: "text/plain", text: "m 1\n" }) };
  const server = new ApiServer({ host: "127.0.0.1", port: 0 }, sources, console);
  await server.start();
  const port = Number(new URL(server.place).port);
  onTestFinished(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  const open = (line: string, headers: Record<string, string | string[]> = {}, body = "", localAddress = "127.0.0.1") =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const [method, path] = line.split(" ");
      const asking = request({ host: "127.0.0.1", port, method, path, headers, agent: false, localAddress }, resolve);
      asking.once("error", reject);
      asking.end(body);
    });
  const http = async (
    line: string,
    headers: Record<string, string | string[]> = {},
    body = "",
    localAddress = "127.0.0.1",
  ): Promise<Answered> => {
    const response = await open(line, headers, body, localAddress);
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part as Buffer);
    return { status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString() };
  };
  /** The headers of the console's own page, logged in. */
  const loggedIn = async (role: "viewer" | "operator" = "operator") => {
    const token = logIn.newToken(role);
    const { headers } = await http("POST /api/v1/log-in", { "x-mqttsn": "1" }, JSON.stringify({ token }));
    const cookie = String(headers["set-cookie"]?.[0]).split(";")[0] ?? "";
    return { cookie, "x-mqttsn": "1", origin: `http://127.0.0.1:${port}` };
  };
  return { http, open, loggedIn, logIn, live, captured, audited, said, time, port, logins: () => logins };
}

async function* nothingMore(): AsyncGenerator<Uint8Array> {}

export const from = (address: string, more: Record<string, string> = {}) => ({ "x-forwarded-for": address, ...more });
export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
export const token = (name: string, role: Token["role"]): Token => ({ name, role, hash: hashOf(`secret of ${name}`) });

export const publish = {
  type: "PUBLISH",
  dup: false,
  qos: 1,
  retain: false,
  topicIdType: "normal",
  topicId: 1,
  msgId: 1,
} as const;

/** The next event of a name, and its data. */
export function eventsOf(response: IncomingMessage): (name: string) => Promise<unknown> {
  expect(response.headers["content-type"]).toBe("text/event-stream");
  expect(response.headers["x-accel-buffering"]).toBe("no");
  let text = "";
  response.on("data", (part: Buffer) => {
    text += part;
  });
  return async (name) => {
    for (;;) {
      const found = new RegExp(`event: ${name}\ndata: (.*)\n\n`).exec(text);
      if (found?.[1] !== undefined) return JSON.parse(found[1]);
      await once(response, "data");
    }
  };
}
