/** Access to the console over HTTP, by a browser, a foreign page and an attacker who guesses: log-in, headers, proxies. */
import { expect, test } from "vitest";
import { from, served } from "../helpers/console-api.ts";

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
  // Nobody can log in with what is stored, and the log has neither token nor cookie.
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

test("a header that says where a request came from counts only from a named proxy", async () => {
  const { http, said } = await served({ proxies: ["192.0.2.0/24"] });
  const guess = (headers: Record<string, string>) =>
    http("POST /api/v1/log-in", { "x-mqttsn": "1", ...headers }, JSON.stringify({ password: "x" }));
  // Each claims to be another address, but all count as one.
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
