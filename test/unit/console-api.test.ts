/** The console's HTTP side as a browser, a foreign page and a guesser see it: over real sockets on loopback. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
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
import { encode } from "../../src/wire/v12/codec.ts";
import { threeForTwo } from "../helpers/waiting.ts";

interface Answered {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

async function served({
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
  /** The headers of our own page, logged in. */
  const loggedIn = async (role: "viewer" | "operator" = "operator") => {
    const token = logIn.newToken(role);
    const { headers } = await http("POST /api/v1/log-in", { "x-mqttsn": "1" }, JSON.stringify({ token }));
    const cookie = String(headers["set-cookie"]?.[0]).split(";")[0] ?? "";
    return { cookie, "x-mqttsn": "1", origin: `http://127.0.0.1:${port}` };
  };
  return { http, open, loggedIn, logIn, live, captured, audited, said, time, port, logins: () => logins };
}

test("health and metrics are as they were, whatever the Host", async () => {
  const { http } = await served();
  expect((await http("GET /healthz", { host: "prometheus.example" })).status).toBe(200);
  expect((await http("GET /metrics", { host: "prometheus.example" })).body).toBe("m 1\n");
  expect((await http("POST /metrics")).status).toBe(405);
  expect((await http("GET /nothing")).status).toBe(404);
});

test("nobody is let in without having logged in, and hears how", async () => {
  const { http } = await served();
  const { status, body } = await http("GET /api/v1/devices");
  expect(status).toBe(401);
  expect(JSON.parse(body).error).toMatch(/mqtt-sn-gateway console/);
  expect((await http("GET /api/v1/events")).status).toBe(401);
  expect((await http("GET /api/v1/openapi.json")).status).toBe(401);
  expect(JSON.parse((await http("GET /api/v1/me")).body)).toEqual({ hasPassword: true });
});

test("the link is good once, and for ten minutes; its cookie is out of reach of scripts and other sites", async () => {
  const { http, logIn, time, logins, said } = await served();
  const enter = (token: string) => http("POST /api/v1/log-in", { "x-mqttsn": "1" }, JSON.stringify({ token }));
  const token = logIn.newToken("operator");
  const first = await enter(token);
  expect(first.status).toBe(200);
  expect(first.headers["set-cookie"]?.[0]).toMatch(
    /^mqttsn_console_\d+=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/;/,
  );
  expect((await enter(token)).status).toBe(401);
  const old = logIn.newToken("operator");
  time.now += 600_001;
  expect((await enter(old)).status).toBe(401);
  // What is kept logs nobody in, and neither token nor cookie is said to the log.
  const cookie = /=([\w-]+);/.exec(String(first.headers["set-cookie"]?.[0]))?.[1] ?? "";
  expect(JSON.stringify([logins(), said])).not.toContain(cookie);
  expect(JSON.stringify([logins(), said])).not.toContain(token);
  expect(said).toEqual([
    expect.stringMatching(/^console [0-9a-f]{6} from 127\.0\.0\.1: logged in as operator$/),
    "console from 127.0.0.1: log-in refused",
    "console from 127.0.0.1: log-in refused",
  ]);
});

test("the cookie of another gateway on this machine is none of ours", async () => {
  const { http, loggedIn } = await served();
  const { cookie } = await loggedIn();
  const others = cookie.replace(/_\d+=/, "_1=");
  expect((await http("GET /api/v1/devices", { cookie: `${others}; ${cookie}` })).status).toBe(200);
  expect((await http("GET /api/v1/devices", { cookie: others })).status).toBe(401);
});

test("a log-in ends after a week, and by logging out", async () => {
  const { http, loggedIn, time } = await served();
  const one = await loggedIn();
  const two = await loggedIn();
  expect((await http("POST /api/v1/log-out", one)).status).toBe(200);
  expect((await http("GET /api/v1/devices", one)).status).toBe(401);
  expect((await http("GET /api/v1/devices", two)).status).toBe(200);
  time.now += 7 * 86_400_000 + 1;
  expect((await http("GET /api/v1/devices", two)).status).toBe(401);
});

test("passwords are not guessed fast: five tries a minute", async () => {
  const { http, time } = await served();
  const guess = (password: string) => http("POST /api/v1/log-in", { "x-mqttsn": "1" }, JSON.stringify({ password }));
  for (let i = 0; i < 5; i++) expect((await guess(`guess ${i}`)).status).toBe(401);
  const sixth = await guess("correct horse");
  expect([sixth.status, sixth.headers["retry-after"]]).toEqual([429, "60"]);
  time.now += 60_000;
  expect((await guess("correct horse")).status).toBe(200);
});

test.each([
  ["a name of a stranger's that points here", { host: "evil.example" }, 421],
  ["what is no name", { host: "a b" }, 421],
  ["a foreign page", { origin: "http://evil.example" }, 403],
  ["a page on another port of this machine", { origin: "http://127.0.0.1:1" }, 403],
  ["a sandboxed page", { origin: "null" }, 403],
  ["a link on a foreign page", { "sec-fetch-site": "cross-site" }, 403],
])("%s is turned away, also with the cookie", async (_what, headers, status) => {
  const { http, loggedIn } = await served();
  const own = await loggedIn();
  expect((await http("DELETE /api/v1/session?client=c1", { ...own, ...headers })).status).toBe(status);
  expect((await http("GET /api/v1/devices", { ...own, ...headers })).status).toBe(status);
  expect(JSON.parse((await http("GET /api/v1/devices", own)).body).total).toBe(1);
});

test("what changes something needs the header that no foreign page can add", async () => {
  const { http, loggedIn } = await served();
  const { "x-mqttsn": _, ...without } = await loggedIn();
  expect((await http("DELETE /api/v1/session?client=c1", without)).status).toBe(403);
  expect((await http("POST /api/v1/log-in", {}, "{}")).status).toBe(403);
});

test("names that the configuration gives are known, also where a proxy gives us another Host", async () => {
  const { http, loggedIn, port } = await served({ hosts: ["gateway.example.org"] });
  const own = await loggedIn();
  const asked = (headers: Record<string, string>) => http("GET /api/v1/devices", { ...own, ...headers });
  expect((await asked({ host: "Gateway.Example.org", origin: "https://gateway.example.org" })).status).toBe(200);
  expect((await asked({ host: `127.0.0.1:${port}`, origin: "https://gateway.example.org" })).status).toBe(200);
  for (const host of ["localhost", "[::1]:9464", "192.168.0.7:9464"])
    expect((await http("GET /api/v1/me", { host })).status).toBe(200);
});

test("every answer says what may be loaded, and that nothing else may", async () => {
  const { http } = await served();
  const { headers } = await http("GET /");
  expect(headers["content-security-policy"]).toMatch(/default-src 'self'/);
  expect(headers["content-security-policy"]).not.toMatch(/unsafe/);
  expect(headers["x-content-type-options"]).toBe("nosniff");
});

test("an operator changes something, and a line says who, what and from where; a viewer may not", async () => {
  const { http, loggedIn, audited } = await served();
  const viewer = await loggedIn("viewer");
  const refused = await http("DELETE /api/v1/session?client=c1", viewer);
  expect([refused.status, JSON.parse(refused.body).error]).toEqual([403, "this needs the role operator"]);
  expect((await http("GET /api/v1/letters", viewer)).status).toBe(403);
  expect((await http("GET /api/v1/knocking", viewer)).status).toBe(403);
  expect((await http("GET /api/v1/settings", viewer)).status).toBe(403);
  expect((await http("DELETE /api/v1/session?client=c1", await loggedIn())).body).toBe('{"dropped":"c1"}\n');
  expect(audited.map(({ who, command, outcome }) => [who.replace(/ [0-9a-f]{6} /, " ID "), command, outcome])).toEqual([
    ["console ID from 127.0.0.1", "sessions.drop", "refused: this needs the role operator"],
    ["console ID from 127.0.0.1", "sessions.drop", 'done {"dropped":"c1"}'],
  ]);
});

const from = (address: string, more: Record<string, string> = {}) => ({ "x-forwarded-for": address, ...more });

test("a header that says where a request came from counts only from a named proxy", async () => {
  const { http, said } = await served({ proxies: ["192.0.2.0/24"] });
  const guess = (headers: Record<string, string>) =>
    http("POST /api/v1/log-in", { "x-mqttsn": "1", ...headers }, JSON.stringify({ password: "x" }));
  // Each says to be somebody else: it is one address all the same.
  for (let i = 1; i <= 5; i++) expect((await guess(from(`198.51.100.${i}`))).status).toBe(401);
  expect((await guess(from("198.51.100.6"))).status).toBe(429);
  expect(said).toEqual(Array(5).fill("console from 127.0.0.1: log-in refused"));
});

test("behind a named proxy each browser is counted by its own address, and what it says of others is not believed", async () => {
  const { http, said, loggedIn, audited } = await served({ proxies: ["127.0.0.1", "192.0.2.0/24"] });
  const guess = (headers: Record<string, string>) =>
    http("POST /api/v1/log-in", { "x-mqttsn": "1", ...headers }, JSON.stringify({ password: "x" }));
  for (let i = 1; i <= 5; i++) expect((await guess(from(`203.0.113.${i}, 198.51.100.1, 192.0.2.7`))).status).toBe(401);
  expect((await guess(from("203.0.113.9, 198.51.100.1:4711"))).status).toBe(429);
  expect((await guess(from("[2001:db8::1]:80"))).status).toBe(401);
  expect((await guess(from("::ffff:198.51.100.1"))).status).toBe(429);
  expect(said.slice(4)).toEqual([
    "console from 198.51.100.1: log-in refused",
    "console from 2001:db8::1: log-in refused",
  ]);
  expect((await http("GET /api/v1/me", from("nonsense"))).status).toBe(400);
  const own = { ...(await loggedIn()), ...from("198.51.100.2") };
  expect((await http("DELETE /api/v1/session?client=c1", own)).status).toBe(200);
  expect(audited[0]?.who).toMatch(/from 198\.51\.100\.2$/);
});

test("where a named proxy says https, the cookie is for https and this host alone", async () => {
  const enter = async ({ http, logIn }: Awaited<ReturnType<typeof served>>, headers: Record<string, string>) => {
    const body = JSON.stringify({ token: logIn.newToken("operator") });
    const { headers: answered } = await http("POST /api/v1/log-in", { "x-mqttsn": "1", ...headers }, body);
    return String(answered["set-cookie"]?.[0]);
  };
  const https = from("198.51.100.2", { "x-forwarded-proto": "https" });
  const trusting = await served({ proxies: ["127.0.0.1"] });
  const line = await enter(trusting, https);
  expect(line).toMatch(
    /^__Host-mqttsn_console_\d+=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/; Max-Age=\d+; Secure$/,
  );
  const cookie = line.split(";")[0] ?? "";
  expect((await trusting.http("GET /api/v1/devices", { cookie, ...https })).status).toBe(200);
  // A cookie that another page on this host could have set is not taken there.
  const plain = cookie.replace("__Host-", "");
  expect((await trusting.http("GET /api/v1/devices", { cookie: plain, ...https })).status).toBe(401);
  expect(await enter(trusting, from("198.51.100.2"))).not.toMatch(/__Host-|Secure/);
  expect(await enter(await served(), https)).toMatch(
    /^mqttsn_console_\d+=[^;]+; HttpOnly; SameSite=Strict; Path=\/; Max-Age=\d+$/,
  );
});

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const token = (name: string, role: Token["role"]): Token => ({ name, role, hash: hashOf(`secret of ${name}`) });

test("a program asks with a token, with the rights of its role, and the log names the token and never says it", async () => {
  const { http, audited, said } = await served({ tokens: [token("graphs", "viewer"), token("robot", "operator")] });
  const viewer = bearer("secret of graphs");
  expect(JSON.parse((await http("GET /api/v1/devices", viewer)).body)).toHaveProperty("total", 1);
  expect(JSON.parse((await http("GET /api/v1/me", viewer)).body)).toMatchObject({ role: "viewer", name: "graphs" });
  expect((await http("GET /api/v1/letters", viewer)).status).toBe(403);
  expect((await http("DELETE /api/v1/session?client=c1", viewer)).status).toBe(403);
  // No page sends it unasked: neither Origin nor the header is looked for.
  const robot = {
    authorization: "bearer secret of robot",
    origin: "http://tools.example",
    "sec-fetch-site": "cross-site",
  };
  expect((await http("DELETE /api/v1/session?client=c1", robot)).status).toBe(200);
  expect(audited.map(({ who, command, outcome }) => `${who}: ${command}: ${outcome}`)).toEqual([
    "token graphs from 127.0.0.1: sessions.drop: refused: this needs the role operator",
    'token robot from 127.0.0.1: sessions.drop: done {"dropped":"c1"}',
  ]);
  expect(JSON.stringify([audited, said])).not.toContain("secret of");
  expect((await http("POST /api/v1/log-out", robot)).status).toBe(405);
  expect((await http("GET /api/v1/devices", { ...viewer, host: "evil.example" })).status).toBe(421);
});

test("a wrong token counts as a log-in that failed; beside it the cookie counts for nothing, and a right one still does", async () => {
  const { http, loggedIn, said, time } = await served({ tokens: [token("robot", "operator")] });
  const own = await loggedIn(); // the first of five tries
  const { cookie } = own;
  for (let i = 0; i < 4; i++) {
    const wrong = await http("DELETE /api/v1/session?client=c1", { cookie, ...bearer(`guess ${i}`) });
    expect([wrong.status, wrong.headers["www-authenticate"]]).toEqual([401, "Bearer"]);
  }
  const next = await http("GET /api/v1/me", bearer("guess 5"));
  expect([next.status, next.headers["retry-after"]]).toEqual([429, "60"]);
  const password = JSON.stringify({ password: "correct horse" });
  expect((await http("POST /api/v1/log-in", { "x-mqttsn": "1" }, password)).status).toBe(429);
  expect((await http("GET /api/v1/devices", bearer("secret of robot"))).status).toBe(200);
  expect((await http("GET /api/v1/devices", own)).status).toBe(200);
  expect(said.slice(1)).toEqual(Array(4).fill("token from 127.0.0.1: refused"));
  time.now += 60_000;
  expect((await http("GET /api/v1/me", bearer("guess 6"))).status).toBe(401);
});

test("a stream of a token ends when the token is taken back", async () => {
  const tokens = [token("graphs", "viewer")];
  const { open } = await served({ tokens });
  const next = eventsOf(await open("GET /api/v1/events", bearer("secret of graphs")));
  tokens.pop();
  await next("bye");
});

test("links and passwords are for the control socket alone", async () => {
  const { http, loggedIn } = await served();
  const own = await loggedIn();
  expect((await http("POST /api/v1/console/link", own)).status).toBe(404);
  expect((await http("POST /api/v1/console/password?hash=x", own)).status).toBe(404);
  expect((await http("GET /api/v1/openapi.json", own)).body).not.toContain("/console/");
});

test("devices: searched, sorted, page by page, with their state in words", async () => {
  const { http, loggedIn } = await served();
  const own = await loggedIn();
  const list = async (query: string) => JSON.parse((await http(`GET /api/v1/devices?${query}`, own)).body);
  const all = await list("");
  expect(all).toMatchObject({ total: 1, matched: 1, byState: { asleep: 1, active: 0 } });
  expect(all.devices[0]).toMatchObject({ clientId: "c1", state: "asleep", says: "asleep, due in 60 min", waiting: 2 });
  expect(await list("search=C1&state=asleep&sort=waiting&order=down")).toMatchObject({ matched: 1 });
  expect(await list("search=nobody")).toMatchObject({ total: 1, matched: 0, devices: [] });
  expect(await list("offset=1")).toMatchObject({ matched: 1, devices: [] });
  expect(await list("limit=100000")).toEqual({ error: "limit: no more than 500" });
  expect(await list("state=gone")).toHaveProperty("error");
});

test("the OpenAPI document has each command with its inputs, answers and role", async () => {
  const { http, loggedIn } = await served();
  const document = JSON.parse((await http("GET /api/v1/openapi.json", await loggedIn())).body);
  expect(document.openapi).toBe("3.1.0");
  const { get, delete: drop } = document.paths["/session"];
  expect(get).toMatchObject({
    operationId: "sessions.show",
    parameters: [{ name: "client", in: "query", required: true }],
  });
  expect(drop.description).toBe("Needs the role operator.");
  const rows = document.paths["/devices"].get.responses["200"].content["application/json"].schema.properties.devices;
  expect(rows.items.properties.says).toMatchObject({ type: "string" });
});

test("a stream says what changed and which datagrams pass; a viewer sees no payload; logging out ends it", async () => {
  const { open, http, loggedIn, live } = await served();
  const operator = await loggedIn();
  const streams = [operator, await loggedIn("viewer")].map(async (who) =>
    eventsOf(await open("GET /api/v1/events?datagrams", who)),
  );
  const [first, second] = await Promise.all(streams);
  if (!first || !second) throw new Error("no stream");
  live.report({ event: "session_ended", clientId: "c1", why: "x" });
  const data = new TextEncoder().encode("secret");
  live.tap?.("in", "udp/192.0.2.1:1", encode({ ...publish, data }));
  const news = await first("news");
  expect(news).toMatchObject({
    clients: ["c1"],
    lost: 0,
    datagrams: [{ client: "c1", type: "PUBLISH", topic: "a/b", way: "in" }],
  });
  expect(JSON.stringify(news)).toContain(Buffer.from("secret").toString("hex"));
  const seen = JSON.stringify(await second("news"));
  expect(seen).toContain("PUBLISH");
  expect(seen).not.toMatch(/secret|736563726574/);
  await http("POST /api/v1/log-out", operator);
  await first("bye");
});

test("polls say the same as a stream, to the one log-in whose polls they are; a name that is none is refused", async () => {
  const { http, loggedIn, live } = await served();
  const [operator, viewer] = [await loggedIn(), await loggedIn("viewer")];
  const poll = (who: Record<string, string>) => http("GET /api/v1/events?datagrams&poll=a-1", who);
  expect((await poll(operator)).body).toBe("{}\n");
  expect((await poll(viewer)).body).toBe("{}\n");
  live.tap?.("in", "udp/192.0.2.1:1", encode({ ...publish, data: new TextEncoder().encode("secret") }));
  const [shown, withheld] = await Promise.all([poll(operator), poll(viewer)]);
  expect(JSON.parse(shown.body)).toMatchObject({ news: { lost: 0, datagrams: [{ type: "PUBLISH", topic: "a/b" }] } });
  expect(shown.body).toContain("736563726574");
  expect(withheld.body).toContain("PUBLISH");
  expect(withheld.body).not.toMatch(/secret|736563726574/);
  for (const name of ["", "a b", "x".repeat(65)])
    expect((await http(`GET /api/v1/events?poll=${encodeURIComponent(name)}`, operator)).status).toBe(400);
});

test("a new key is answered on this machine and by https, once; nobody else's answer has it", async () => {
  const key = "5a".repeat(16);
  const names: string[] = [];
  const installation = {
    newKey: async (name: string) => {
      names.push(name);
      return { key };
    },
    withKeys: () => names.map((name) => ({ name, added: "2026-11-28T10:00:00.000Z" })),
  };
  const { http, loggedIn, audited } = await served({
    proxies: ["127.0.0.1"],
    tokens: [token("robot", "operator")],
    installation,
  });
  const own = await loggedIn();
  const asks = (headers: Record<string, string>) =>
    http("POST /api/v1/device-keys", { ...own, ...headers }, JSON.stringify({ name: "dev1" }));
  // The proxy is on this machine; whoever asks it is not, and between the two there may be others.
  const by = { "x-forwarded-for": "192.168.1.7" };
  for (const headers of [{}, by, { "x-forwarded-for": "127.0.0.1" }] as Record<string, string>[]) {
    const refused = await asks(headers);
    expect([refused.status, refused.body]).toEqual([403, expect.stringMatching(/by https/)]);
  }
  const robot = { ...bearer("secret of robot"), ...by };
  const made = await http("POST /api/v1/device-keys?name=dev1", { ...robot, "x-forwarded-proto": "https" });
  expect(JSON.parse(made.body)).toEqual({ name: "dev1", key, link: `mqttsns+psk://dev1?key=${key}` });
  expect(made.headers["cache-control"]).toBe("no-store");
  const later = await Promise.all(
    ["device-keys", "settings", "settings/export", "overview"].map((path) => http(`GET /api/v1/${path}`, own)),
  );
  expect(later.map(({ body }) => body).join()).not.toContain(key);
  expect(JSON.stringify(audited)).not.toContain(key);
  const viewer = await loggedIn("viewer");
  for (const line of [
    "GET /api/v1/device-keys",
    "GET /api/v1/join",
    "POST /api/v1/join?seconds=60",
    "POST /api/v1/device-keys?name=x",
  ])
    expect((await http(line, viewer)).status, line).toBe(403);
  expect(names).toEqual(["dev1"]);
});

test("on this machine, without a proxy, a key is answered; opening the window is asked the same way", async () => {
  const joined: number[] = [];
  const installation = {
    newKey: async () => ({ key: "00".repeat(16) }),
    join: (seconds: number) => void joined.push(seconds),
  };
  const { http, loggedIn } = await served({ installation });
  const own = await loggedIn();
  expect((await http("POST /api/v1/device-keys?name=dev1", own)).status).toBe(200);
  expect((await http("POST /api/v1/join?seconds=60", own)).status).toBe(200);
  expect(joined).toEqual([60]);
});

async function* nothingMore(): AsyncGenerator<Uint8Array> {}

test.each([
  ["shown", true, true],
  ["operators", false, true],
  ["hidden", false, false],
] as const)(
  "payloads %s: in the stream, captures and dead letters, whatever is asked for",
  async (payloads, viewers, operators) => {
    const { open, http, loggedIn, live, captured } = await served({ payloads });
    const operator = await loggedIn();
    const viewer = await loggedIn("viewer");
    for (const path of ["GET /api/v1/events?datagrams", "GET /api/v1/events?client=c1"]) {
      const next = [eventsOf(await open(path, viewer)), eventsOf(await open(path, operator))];
      live.tap?.("in", "udp/192.0.2.1:1", encode({ ...publish, data: new TextEncoder().encode("secret") }));
      const seen = await Promise.all(next.map(async (event) => JSON.stringify(await event("news"))));
      expect(seen.map((text) => text.includes("PUBLISH"))).toEqual([true, true]);
      expect(seen.map((text) => /secret|736563726574/.test(text))).toEqual([viewers, operators]);
    }
    const letters = JSON.parse((await http("GET /api/v1/letters", operator)).body);
    expect(letters).toMatchObject([{ topic: "t", bytes: 1 }]);
    expect(letters[0].payload).toBe(operators ? Buffer.from("1").toString("base64") : undefined);
    expect((await http("GET /api/v1/letters", viewer)).status).toBe(403);
    expect((await http("GET /api/v1/capture?payload=yes", operator)).status).toBe(200);
    expect(captured).toMatchObject([{ payload: operators }]);
    // A backup has all of them.
    expect((await http("GET /api/v1/backup", operator)).status).toBe(operators ? 409 : 403);
  },
);

const publish = {
  type: "PUBLISH",
  dup: false,
  qos: 1,
  retain: false,
  topicIdType: "normal",
  topicId: 1,
  msgId: 1,
} as const;

/** The next event of a name, and its data. */
function eventsOf(response: IncomingMessage): (name: string) => Promise<unknown> {
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

describe("behind the ingress of Home Assistant", () => {
  /** As its Supervisor passes a request on. */
  const asked = {
    host: "home.example:8123",
    "x-forwarded-for": "192.168.1.20",
    "x-forwarded-host": "home.example:8123",
    "x-forwarded-proto": "https",
    "x-ingress-path": "/api/hassio_ingress/abc",
    "x-remote-user-id": "0123456789abcdef0123456789abcdef",
    "x-remote-user-name": "anna",
  };
  const own = { ...asked, origin: "https://home.example:8123", "x-mqttsn": "1", "sec-fetch-site": "same-origin" };
  const ingress = { from: "127.0.0.1", role: "operator" } as const;
  const drop = "DELETE /api/v1/session?client=c1";
  const me = "GET /api/v1/me";

  test("who is logged in there is logged in here, without a cookie, and is named in the log", async () => {
    const { http, audited, logins } = await served({ ingress });
    const found = await http(me, asked);
    expect(JSON.parse(found.body)).toMatchObject({ role: "operator", name: "anna" });
    expect(found.headers["set-cookie"]).toBeUndefined();
    expect((await http("GET /api/v1/sessions", asked)).status).toBe(200);
    expect((await http(drop, own)).status).toBe(200);
    expect(audited.map(({ who }) => who)).toEqual(["ingress anna from 192.168.1.20"]);
    expect((await http("POST /api/v1/log-out", own)).status).toBe(405);
    expect(logins()).toEqual([]);
    const nameless = { ...asked, "x-remote-user-name": "" };
    expect(JSON.parse((await http(me, nameless)).body)).toMatchObject({ name: asked["x-remote-user-id"] });
  });

  test("with the role that is configured", async () => {
    const { http } = await served({ ingress: { ...ingress, role: "viewer" } });
    expect((await http("GET /api/v1/sessions", asked)).status).toBe(200);
    expect((await http(drop, own)).status).toBe(403);
  });

  test("without the header nobody is logged in; nor with one that is none", async () => {
    const { http } = await served({ ingress });
    const { "x-remote-user-id": _, ...silent } = asked;
    const near = { ...silent, host: "127.0.0.1" };
    expect(JSON.parse((await http(me, near)).body).role).toBeUndefined();
    expect((await http("GET /api/v1/sessions", near)).status).toBe(401);
    expect((await http(me, silent)).status).toBe(421); // and the name is not one of the gateway's
    for (const id of ["", "a b", "a,b", "x".repeat(65)])
      expect((await http("GET /api/v1/sessions", { ...near, "x-remote-user-id": id })).status, id).toBe(401);
    expect((await http("GET /api/v1/sessions", { ...near, "x-remote-user-id": ["a", "b"] })).status).toBe(401);
  });

  test("anybody else who sends the headers gets nothing by them, neither from beside it nor by what he says of himself", async () => {
    for (const [options, from] of [
      [{ ingress }, "127.0.0.2"],
      [{ ingress: { ...ingress, from: "127.0.0.2" } }, "127.0.0.1"],
      [{}, "127.0.0.1"],
      [{ proxies: ["127.0.0.1"] }, "127.0.0.1"],
      [{ ingress: { ...ingress, from: "127.0.0.9" }, proxies: ["127.0.0.1"] }, "127.0.0.1"],
    ] as const) {
      const { http, audited } = await served({
        ...options,
        proxies: [...("proxies" in options ? options.proxies : [])],
      });
      const near = { ...asked, host: "127.0.0.1", "x-forwarded-for": ingress.from };
      const found = await http("GET /api/v1/sessions", near, "", from);
      expect(found.status, JSON.stringify([options, from])).toBe(401);
      expect((await http(me, asked, "", from)).status).toBe(421);
      expect((await http(drop, { ...near, "x-mqttsn": "1" }, "", from)).status).toBe(401);
      expect(audited).toEqual([]);
    }
  });

  test("another page in the same browser changes nothing", async () => {
    const { http, audited } = await served({ ingress });
    for (const wrong of [
      { origin: "https://evil.example" },
      { origin: "null" },
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
      { "x-mqttsn": "" },
    ])
      expect((await http(drop, { ...own, ...wrong })).status, JSON.stringify(wrong)).toBe(403);
    expect(audited).toEqual([]);
  });

  test("a token says more than the ingress", async () => {
    const { http } = await served({ ingress });
    expect((await http(me, { ...asked, authorization: "Bearer nonsense" })).status).toBe(401);
  });

  test("what somebody is called is text in one line", async () => {
    const { http, audited } = await served({ ingress });
    const asHeader = (text: string) => Buffer.from(text).toString("latin1");
    await http(drop, { ...own, "x-remote-user-name": asHeader(`a\u202eb${"c".repeat(100)}`) });
    expect(audited[0]?.who).toBe(`ingress a b${"c".repeat(61)} from 192.168.1.20`);
    const { "x-remote-user-name": _, ...nameless } = own;
    await http(drop, { ...nameless, "x-remote-user-display-name": asHeader("Änne") });
    expect(audited[1]?.who).toBe("ingress Änne from 192.168.1.20");
  });
});
