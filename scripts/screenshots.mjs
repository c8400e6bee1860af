/** Pictures of the page for the documents, of the demonstration: npm run screenshots (after a build; takes two minutes) */
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { findChromium } from "../test/helpers/find-chromium.mjs";

const found = findChromium();
if ("missing" in found) throw new Error(found.missing);
const folder = fileURLToPath(new URL("../docs/guide/pictures/", import.meta.url));
mkdirSync(folder, { recursive: true });
/** Until the lost one is lost, and the plot has something to show. */
const patienceMs = Number(process.env.DEMO_MS ?? 90_000);

const demo = spawn(process.execPath, [fileURLToPath(new URL("../dist/main.js", import.meta.url)), "demo"]);
try {
  const link = await linkOf(demo.stdout);
  const env = { ...process.env, ...found.environment };
  const browser = await chromium.launch({ executablePath: found.path, env, args: ["--no-sandbox", "--disable-gpu"] });
  const context = await browser.newContext({ viewport: { width: 1_100, height: 760 } });
  const page = await context.newPage();
  await page.goto(link);
  await page.getByRole("navigation").waitFor();
  await new Promise((resolve) => setTimeout(resolve, patienceMs));
  const shot = async (name, view, size, settle = 1_500) => {
    if (size) await page.setViewportSize(size);
    await page.evaluate(`location.assign(${JSON.stringify(`#/${view}`)})`);
    while ((await page.getByText(/^Loading/).count()) > 0) await new Promise((resolve) => setTimeout(resolve, 50));
    await new Promise((resolve) => setTimeout(resolve, settle));
    await page.screenshot({ path: `${folder}${name}.png`, scale: "css" });
  };
  await shot("overview", "");
  await shot("devices", "devices");
  await shot("device", "device?client=shutter", undefined, 6_000);
  await shot("not-admitted", "knocking");
  await shot("live", "live", undefined, 5_000);
  await shot("settings", "settings");
  await page.emulateMedia({ colorScheme: "dark" });
  await shot("devices-dark-phone", "devices", { width: 360, height: 720 });
  await browser.close();
} finally {
  demo.kill("SIGTERM");
}

function linkOf(stream) {
  return new Promise((resolve, reject) => {
    let text = "";
    demo.once("exit", () => reject(new Error(text)));
    stream.on("data", (data) => {
      text += data;
      const link = /http:\S+#token=\S+/.exec(text)?.[0];
      if (link) resolve(link);
    });
  });
}
