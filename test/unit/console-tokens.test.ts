/** Programs at the console's HTTP side: tokens, and what only the control socket gives. */
import { expect, test } from "vitest";
import { bearer, eventsOf, served, token } from "../helpers/console-api.ts";

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
