/** The console behind the ingress of Home Assistant. */
import { describe, expect, test } from "vitest";
import { served } from "../helpers/console-api.ts";

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
