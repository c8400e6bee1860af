/** Every view: at small widths, by keyboard, and for a screen reader. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goTo, launch, missing, open, PlainDevice, serve, type } from "./browser.ts";

if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const everyView = ["", "devices", "device?client=one", "knocking", "live", "queues", "topics", "radio", "settings"];

describe.skipIf(missing !== undefined)(`every view in Chromium${missing ? `, skipped: ${missing}` : ""}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser?.close());

  test("at 360 px every view fits its width, and the keyboard reaches everything", async () => {
    const served = await serve();
    const device = new PlainDevice("a-client-with-a-rather-long-name-that-has-no-place-to-break", served.port);
    await device.connect();
    const { page, complaints } = await open(browser, served, "", { width: 360, height: 640 });
    for (const view of ["", "devices", "knocking", "live", "queues", "topics", "radio", "settings"]) {
      await goTo(page, view);
      await page.locator(`nav a[aria-current=page][href="#/${view}"]`).waitFor();
      await expect.poll(() => page.getByText(/^Loading/).count(), { timeout: 10_000 }).toBe(0);
      const width = await page.evaluate("document.documentElement.scrollWidth");
      expect(width, view).toBeLessThanOrEqual(360);
    }
    await page.keyboard.press("Tab");
    expect(await page.evaluate("document.activeElement?.textContent")).toBe("MQTT-SN gateway");
    expect(complaints).toEqual([]);
  });

  test("axe finds nothing on any view, light and dark; at 200 % every view fits its width", async () => {
    const served = await serve({ access: { rules: [{ deny: "stranger" }] } });
    for (const clientId of ["one", "stranger"]) await new PlainDevice(clientId, served.port).connect();
    const { page, complaints } = await open(browser, served);
    const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
    await page.evaluate(axe);
    const wrong: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      for (const view of everyView) {
        await goTo(page, view);
        await expect.poll(() => page.getByText(/^Loading/).count(), { timeout: 10_000 }).toBe(0);
        if (view === "settings") await type(page, "api.port", "x");
        const found = await page.evaluate<string[]>(
          "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.slice(0, 3).map(({ html, failureSummary }) => html.slice(0, 200) + ' ' + failureSummary).join(' | ')))",
        );
        wrong.push(...found.map((say) => `${view} ${colorScheme}: ${say}`));
      }
    }
    expect(wrong).toEqual([]);
    // 200 % of a window of 1,280 is half of its width, and letters of twice the size.
    await page.setViewportSize({ width: 640, height: 400 });
    for (const view of everyView) {
      await goTo(page, view);
      await expect.poll(() => page.getByText(/^Loading/).count(), { timeout: 10_000 }).toBe(0);
      expect(await page.evaluate("document.documentElement.scrollWidth"), view).toBeLessThanOrEqual(640);
    }
    expect(complaints).toEqual([]);
  });
});
