/** Settings: what is typed there is what the file has afterwards. */
import { readFileSync, writeFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseJson } from "../../src/config/json.ts";
import { loadConfig } from "../../src/config/load.ts";
import { valueAt } from "../../src/config/words.ts";
import { kindOf } from "../../src/console/settings-rows.ts";
import { everySetting } from "../helpers/setting-values.ts";
import { goTo, launch, missing, open, serve, type } from "./browser.ts";

if (missing !== undefined && process.env["CI"]) throw new Error(missing);

describe.skipIf(missing !== undefined)(`Settings in Chromium${missing ? `, skipped: ${missing}` : ""}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser?.close());

  test("a setting is changed: check says what is wrong as it is typed, the difference what becomes of the file", async () => {
    const served = await serve();
    const { page, complaints } = await open(browser, served, "settings");
    await type(page, "api.port", "eighty");
    await page.getByRole("alert").getByText("api.port: must be a number").waitFor();
    await type(page, "api.port", "9999");
    await page.getByText("In effect after a restart: api.").waitFor();
    await page.locator(".difference .in", { hasText: "9999" }).waitFor();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved. In effect after a restart: api.").waitFor();
    expect(readFileSync(served.file, "utf8")).toMatch(/^\/\/ Kept by hand\.\n/);
    expect(loadConfig(served.file).api.port).toBe(9_999);
    // What can change while running has changed.
    await type(page, "topics.predefined", '{ "7": "seven" }');
    await page.locator(".difference .in", { hasText: "seven" }).waitFor();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved").waitFor();
    await page.getByText("since the start. In effect after a restart: api.").waitFor();
    await goTo(page, "topics");
    await page.getByText("seven").waitFor();
    // Another program writes the file meanwhile: this is noticed, and the file is not overwritten.
    await goTo(page, "settings");
    writeFileSync(served.file, "{ nonsense");
    await page.getByText("is not valid JSON at present").waitFor();
    expect(await page.getByRole("button", { name: /^Change / }).count()).toBe(0);
    expect(complaints).toEqual([]);
  });

  test("every key of the configuration goes through Settings and comes back", async () => {
    const served = await serve();
    const { page, complaints } = await open(browser, served, "settings");
    const all = everySetting();
    await page.getByText(`${all.length} of ${all.length}`).waitFor();
    // Of some keys only one may be there with another: each file that is saved is one that `check` takes.
    const only = ["tryOutBroker"];
    const last = ["upstream.urls", "upstream.passwordCommand", "upstream.tls.psk.identity", "upstream.tls.psk.key"];
    const fleet = ["fleet.enabled"];
    const notInFleet = ["store.pair.enabled", "transports", "homeAssistant.enabled", "control.topic", "status.topic"];
    const most = all.map(({ key }) => key).filter((key) => ![only, last, fleet].flat().includes(key));
    const out = ["url", "password", "tls.ca", "tls.cert", "tls.key", "tls.passphrase"].map((key) => `upstream.${key}`);
    const rounds = [
      { keys: only, out: [] },
      { keys: most, out: only },
      { keys: last, out },
      { keys: fleet, out: notInFleet },
    ];
    for (const { keys, out } of rounds) {
      const these = all.filter(({ key }) => keys.includes(key));
      await page.evaluate("document.querySelectorAll('[aria-label^=\"Change \"]').forEach((button) => button.click())");
      for (const key of out) await page.getByRole("button", { name: `Default of ${key}`, exact: true }).click();
      for (const { key, node, value } of these) await put(page, key, kindOf(node).kind, value);
      await page.locator(".difference").waitFor();
      expect(await page.locator(".changes .bad").allTextContents()).toEqual([]);
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText(/^Saved/).waitFor();
      const found = written(served.file);
      for (const { key, node, value } of these)
        expect(valueAt(found, key.split(".")), key).toEqual(
          kindOf(node).kind === "secret" ? { file: `secrets/${key}` } : value,
        );
      for (const key of out) expect(valueAt(found, key.split(".")), key).toBeUndefined();
    }
    expect(readFileSync(served.file, "utf8")).toMatch(/^\/\/ Kept by hand\.\n/);
    expect(await page.content()).not.toContain("00ff");
    expect(complaints).toEqual([]);
  });
});

/** Into a field that is open; a secret into a file. */
async function put(page: Page, key: string, kind: string, value: unknown): Promise<void> {
  const field = page.getByLabel(key, { exact: true });
  if (kind === "choice") return void (await field.selectOption(String(value)));
  if (kind !== "secret") return field.fill(kind === "json" ? JSON.stringify(value) : String(value));
  const secret = page.getByLabel(`New secret for ${key}`, { exact: true });
  await secret.fill("00ff".repeat(8));
  await secret.locator("..").getByRole("button", { name: "Keep it in a file" }).click();
  await expect.poll(() => field.inputValue()).toContain("secrets");
}

function written(file: string): unknown {
  const parsed = parseJson(readFileSync(file), file);
  return "value" in parsed ? parsed.value : parsed.problems;
}
