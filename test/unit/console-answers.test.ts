/** What the console's HTTP side answers: devices, its own description, streams and polls, keys, payloads. */
import { expect, test } from "vitest";
import { encode } from "../../src/wire/v12/codec.ts";
import { bearer, eventsOf, publish, served, token } from "../helpers/console-api.ts";

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
  // The proxy is on this machine, but its client is not, and there may be other proxies in between.
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
