/** The page behind a proxy, and in the frame of Home Assistant. */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freePort } from "../helpers/ports.ts";
import { launch, missing, PlainDevice, proxied, serve } from "./browser.ts";

if (missing !== undefined && process.env["CI"]) throw new Error(missing);

describe.skipIf(missing !== undefined)(
  `the page behind a proxy, in Chromium${missing ? `, skipped: ${missing}` : ""}`,
  () => {
    let browser: Browser;
    beforeAll(async () => {
      browser = await launch();
    });
    afterAll(() => browser?.close());

    test.each([
      ["a proxy", false],
      ["a proxy that keeps an answer until it has all of it", true],
    ])("under a path of %s: page, log-in, commands and stream", async (_, buffers) => {
      const served = await serve({ api: { port: await freePort(), hosts: ["127.0.0.1"] } });
      const place = await proxied(served, buffers);
      const context = await browser.newContext();
      const page = await context.newPage();
      const [link = ""] = served.gateway.consoleLink();
      await page.goto(place + new URL(link).hash);
      await page.getByText("No device yet").waitFor();
      await page.getByRole("link", { name: "Live" }).click();
      await page.getByText("No datagram yet").waitFor();
      const device = new PlainDevice("behind-a-proxy", served.port);
      await device.connect();
      await page.locator(".datagrams summary", { hasText: "CONNACK" }).waitFor();
      await page.getByRole("link", { name: "behind-a-proxy" }).first().click();
      await page.getByRole("button", { name: "End the session" }).click();
      await page.getByRole("button", { name: "Yes, end the session" }).click();
      await page.getByText("No device yet").waitFor();
      expect(await page.getByText("does not answer").count()).toBe(0);
      await context.close();
    });

    test("in the frame of Home Assistant's ingress: no log-in of ours, commands and stream, and nothing beside it", async () => {
      const ingress = { from: "127.0.0.1", role: "operator" };
      const served = await serve({ api: { port: await freePort(), ingress } });
      const place = await proxied(served, false, {
        "x-forwarded-for": "192.168.1.20, 172.30.32.1",
        "x-ingress-path": "/gw",
        "x-remote-user-id": "0123456789abcdef",
        "x-remote-user-name": "anna",
      });
      const context = await browser.newContext();
      const page = await context.newPage();
      // Its page has ours in a frame, and both are at one origin.
      const outer = new URL("/outer", place).href;
      await page.route(outer, (route) =>
        route.fulfill({ contentType: "text/html", body: `<iframe src="/gw/" width="1000" height="700"></iframe>` }),
      );
      await page.goto(outer);
      const frame = page.frameLocator("iframe");
      await frame.getByText("No device yet").waitFor();
      const device = new PlainDevice("in-a-frame", served.port);
      await device.connect();
      await frame.getByRole("link", { name: "Devices", exact: true }).click();
      await frame.getByRole("link", { name: "in-a-frame" }).first().click();
      await frame.getByRole("button", { name: "End the session" }).click();
      await frame.getByRole("button", { name: "Yes, end the session" }).click();
      await frame.getByText("No device yet").waitFor();
      expect(await context.cookies()).toEqual([]);
      expect(await frame.getByRole("button", { name: "Log out" }).count()).toBe(0);
      // The same gateway, asked directly: from the trusted address too, but without the header.
      const beside = await context.newPage();
      await beside.goto(served.url);
      await beside.getByText("mqtt-sn-gateway console").first().waitFor();
      expect(await beside.getByRole("navigation").count()).toBe(0);
      await context.close();
    });
  },
);
