/** Each test changes the cause, and reads the sentence on the page. */
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Browser, Page } from "playwright-core";
import decodeQR from "qr/decode.js";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { readCapture } from "../../src/cli/read-capture.ts";
import { decode } from "../../src/wire/v12/codec.ts";
import { SmallDisk } from "../crash/small-disk.ts";
import { goTo, launch, missing, open, PlainDevice, Swarm, serve } from "./browser.ts";

if (missing !== undefined && process.env["CI"]) throw new Error(missing);

describe.skipIf(missing !== undefined)(`the console in Chromium${missing ? `, skipped: ${missing}` : ""}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser?.close());

  test("the first link logs in, once; without one the page says how to get in, and shows nothing", async () => {
    const served = await serve();
    const { page, complaints } = await open(browser, served);
    await page.getByText("No device yet").waitFor();
    expect(page.url()).not.toContain("token");
    expect(await page.locator("pre").first().textContent()).toContain(`-p ${served.port}`);
    expect(complaints).toEqual([]);
    const other = await browser.newContext();
    const stranger = await other.newPage();
    await stranger.goto(served.url);
    await stranger.getByText("mqtt-sn-gateway console", { exact: true }).waitFor();
    expect(await stranger.getByRole("table").count()).toBe(0);
    await stranger.goto(`${served.url}#token=used-or-made-up`);
    await stranger.getByRole("alert").getByText("this link was used").waitFor();
    await other.close();
  });

  test("a device connects, sleeps, is late and is lost: its state says why", { timeout: 90_000 }, async () => {
    const served = await serve();
    const { page } = await open(browser, served, "devices");
    await page.getByText("No device yet").waitFor();
    const device = new PlainDevice("sleeper", served.port);
    await device.connect();
    const row = page.getByRole("row", { name: /sleeper/ });
    await row.getByText(/^active, heard \d+ s ago$/).waitFor();
    // Each state lasts so long that a browser on a busy machine shows it.
    await device.says({ type: "DISCONNECT", duration: 20 }, "DISCONNECT");
    await row.getByText(/^asleep, due in \d+ s$/).waitFor();
    await row.getByText(/^late by \d+ s: it should have woken$/).waitFor();
    await row.getByText(/^lost: slept too long, \d+ s ago$/).waitFor();
    await page.getByRole("link", { name: "Overview" }).click();
    await page.getByText(/^One device is lost\./).waitFor();
  });

  test("one device: who it is, what it subscribed to, and its messages decoded as they come", async () => {
    const served = await serve();
    const device = new PlainDevice("meter", served.port);
    await device.connect();
    const { page } = await open(browser, served, "device?client=meter");
    await page.getByText("which can be forged").waitFor();
    await page.getByText("No message since this page was opened").waitFor();
    await device.says({ type: "REGISTER", topicId: 0, msgId: 1, topicName: "site/power" }, "REGACK");
    await page.locator(".datagrams summary", { hasText: "REGISTER" }).getByText("site/power").waitFor();
    await page.locator(".datagrams summary", { hasText: "REGACK" }).waitFor();
    await page.locator(".plain").getByText("site/power").waitFor();
    await page.getByRole("button", { name: "End the session" }).click();
    await page.getByRole("button", { name: "Yes, end the session" }).click();
    await page.getByText("No device yet").waitFor();
  });

  test("who is not let in stands there with the line that would admit it; one click, and it is in", async () => {
    const served = await serve({ access: { default: "deny" } });
    const { page } = await open(browser, served, "knocking");
    await page.getByText("No device was refused").waitFor();
    const device = new PlainDevice("knocker", served.port);
    await device.connect();
    await page.getByText('access.rules: put first {"allow":"knocker","from":["127.0.0.1"]}').waitFor();
    await page.getByRole("button", { name: "Admit", exact: true }).click();
    await page.getByText("No device was refused").waitFor();
    await device.connect();
    expect(served.gateway.sessions().map(({ clientId, state }) => [clientId, state])).toEqual([["knocker", "active"]]);
    await page.getByRole("link", { name: "Settings" }).click();
    await page.getByText("from 127.0.0.1").waitFor();
    await served.stop(); // it is kept
    await served.startAgain();
    await device.connect();
    expect(served.gateway.sessions().map(({ state }) => state)).toEqual(["active"]);
  });

  test("the window is opened on the page, a device joins, and both views say so; a viewer sees none of it", async () => {
    const served = await serve({ access: { default: "deny" } });
    const { page, complaints } = await open(browser, served, "devices");
    await page.getByRole("button", { name: "Let a device join" }).click();
    await page.getByText(/^Open for (2 min|1 min \d+ s|119 s) more/).waitFor();
    await page.getByText("No device waits for admission.").waitFor();
    const device = new PlainDevice("newcomer", served.port);
    await device.connect();
    await page.getByText("Joined: newcomer").waitFor();
    await device.connect();
    await page.getByRole("row", { name: /newcomer/ }).waitFor();
    await goTo(page, "knocking");
    await page.getByText("Joined: newcomer").waitFor();
    await page.getByRole("button", { name: "Close", exact: true }).click();
    await page.getByRole("button", { name: "Let a device join" }).waitFor();
    const late = new PlainDevice("late", served.port);
    await late.connect();
    await page.getByRole("heading", { name: "late" }).waitFor();
    expect(served.gateway.sessions().map(({ clientId }) => clientId)).toEqual(["newcomer"]);
    const viewer = await open(browser, served, "devices", undefined, "viewer");
    await viewer.page.getByRole("row", { name: /newcomer/ }).waitFor();
    for (const view of ["devices", "knocking", "device?client=newcomer"]) {
      await goTo(viewer.page, view);
      await expect.poll(() => viewer.page.getByText(/^Loading/).count(), { timeout: 10_000 }).toBe(0);
      expect(await viewer.page.getByRole("button", { name: /join|key/i }).count(), view).toBe(0);
    }
    expect([...complaints, ...viewer.complaints]).toEqual([]);
  });

  test("a key is made, shown once with a QR code that says it, given anew and taken away", async () => {
    const served = await serve();
    const { page, complaints } = await open(browser, served, "knocking");
    const shown = page.getByRole("region", { name: "The key of dev-1" });
    const read = async () => {
      const link = (await shown.locator("dd code").nth(2).textContent()) ?? "";
      expect(link).toMatch(/^mqttsns\+psk:\/\/dev-1\?key=[0-9a-f]{32}$/);
      expect(decodeQR(await pictureIn(page))).toBe(link);
      return link.slice(-32);
    };
    await page.getByLabel("Name of the device").fill("no/name");
    await page.getByRole("button", { name: "Make a key" }).click();
    await page
      .getByRole("alert")
      .getByText(/letters, digits/)
      .waitFor();
    await page.getByLabel("Name of the device").fill("dev-1");
    await page.getByRole("button", { name: "Make a key" }).click();
    const first = await read();
    await page.getByRole("button", { name: "The device has it" }).click();
    await shown.waitFor({ state: "detached" });
    for (const view of ["settings", "devices", "knocking"]) {
      await goTo(page, view);
      await expect.poll(() => page.getByText(/^Loading/).count(), { timeout: 10_000 }).toBe(0);
      expect(await page.content(), view).not.toContain(first);
    }
    await goTo(page, "device?client=dev-1"); // it has never been here
    await page.getByRole("button", { name: "Give dev-1 another key" }).click();
    await page.getByRole("button", { name: "Yes, give dev-1 another key" }).click();
    expect(await read()).not.toBe(first);
    expect(page.url()).not.toMatch(/[0-9a-f]{32}/);
    await goTo(page, "knocking");
    await page.getByRole("button", { name: "Take the key of dev-1 away" }).click();
    await page.getByRole("button", { name: "Yes, take the key of dev-1 away" }).click();
    await page.getByText("No device has a key that was made here.").waitFor();
    expect(await shown.count()).toBe(0);
    expect(complaints).toEqual([]);
  });

  test("the broker goes: amber, and what happens meanwhile; it comes back by itself", async () => {
    const served = await serve();
    const { page } = await open(browser, served);
    await page.getByText("broker there").waitFor();
    await served.stopBroker();
    await page.getByText("broker away").waitFor();
    await page
      .getByRole("status")
      .getByText(/kept on disk/)
      .waitFor();
    await served.startBroker();
    await page.getByText("broker there").waitFor();
  });

  test("the gateway goes: a banner with the time of its last word; it comes back, still logged in", async () => {
    const served = await serve();
    const { page } = await open(browser, served, "devices");
    await page.getByText("No device yet").waitFor();
    await served.stop();
    await page
      .getByRole("alert")
      .getByText(/The gateway does not answer\. Its last answer was at/)
      .waitFor();
    await served.startAgain();
    await page.getByText("The gateway does not answer").waitFor({ state: "detached" });
    const device = new PlainDevice("after", served.port);
    await device.connect();
    await page.getByRole("row", { name: /after/ }).waitFor();
  });

  test("five thousand devices: only the rows that can be seen are there, and they go on changing", async () => {
    const served = await serve(
      { store: { kind: "memory" }, clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0 } },
      { mode: "aggregating" },
    );
    const swarm = new Swarm(5_000, served.port);
    await swarm.connect(() => served.gateway.sessions().length);
    const { page } = await open(browser, served, "devices?sort=client");
    await page.getByText("5000 of 5000").waitFor();
    const rows = page.locator("tbody tr:not(.spacer)");
    await rows.getByText("device-0000").waitFor();
    await page.getByRole("region", { name: "Devices" }).focus();
    await page.keyboard.press("End");
    await rows.getByText("device-4999").waitFor();
    expect(await rows.count()).toBeLessThan(80);
    swarm.sleeps(4_999, 600);
    await page
      .getByRole("row", { name: /device-4999/ })
      .getByText("asleep, due in 10 min")
      .waitFor();
    await page.getByRole("link", { name: "device-4999" }).click();
    await page.getByText("127.0.0.1, by its address, which can be forged").waitFor(); // of its forwarder
    await page.goBack();
    await page.getByRole("searchbox").fill("DEVICE-123");
    await page.getByText("10 of 5000").waitFor();
    await page.getByRole("form", { name: "Which devices" }).locator("select").first().selectOption("asleep");
    await page.getByText("No device matches").waitFor();
  });

  test("what devices call themselves is text, whatever it looks like", async () => {
    const served = await serve();
    const { page, complaints } = await open(browser, served, "live");
    await page.getByText("No datagram yet").waitFor();
    const hostile = "<img src=x onerror=document.title=1>\u202e";
    const device = new PlainDevice(hostile, served.port);
    await device.connect();
    await device.says(
      { type: "REGISTER", topicId: 0, msgId: 1, topicName: "<script>document.title=2</script>" },
      "REGACK",
    );
    await page.getByText("<script>document.title=2</script>").first().waitFor();
    await page.getByRole("link", { name: "Devices" }).click();
    await page.getByText("<img src=x onerror=document.title=1>\\u202e").first().waitFor();
    expect(await page.locator("main img, main script").count()).toBe(0);
    expect(await page.title()).toBe("MQTT-SN gateway");
    expect(complaints).toEqual([]);
  });

  test("a predefined id given on the page counts from a device's next CONNECT, until it is taken back", async () => {
    const served = await serve();
    const device = new PlainDevice("fixed", served.port);
    await device.connect();
    const message = {
      type: "PUBLISH",
      dup: false,
      qos: 1,
      retain: false,
      topicIdType: "predefined",
      topicId: 7,
    } as const;
    const send = (msgId: number) => device.says({ ...message, msgId, data: new Uint8Array([1]) }, "PUBACK");
    expect(await send(1)).toMatchObject({ returnCode: 2 });
    const { page } = await open(browser, served, "topics");
    await page.getByLabel("Id").fill("70000");
    await page.getByLabel("Topic").fill("given/by hand");
    await page.getByRole("button", { name: "Give this id" }).click();
    await page.getByText(/65534 at most/).waitFor();
    await page.getByLabel("Id").fill("7");
    await page.getByRole("button", { name: "Give this id" }).click();
    await page.getByText("added by hand", { exact: true }).waitFor();
    expect(await send(2)).toMatchObject({ returnCode: 2 }); // one meaning as long as it is connected
    await device.connect();
    expect(await send(3)).toMatchObject({ returnCode: 0 });
    await page.getByRole("button", { name: "Take 7 back" }).click();
    await page.getByRole("button", { name: "Yes" }).click();
    await page.getByText("added by hand", { exact: true }).waitFor({ state: "detached" });
    await device.connect();
    expect(await send(4)).toMatchObject({ returnCode: 2 });
  });

  test("a dead letter is shown with its reason, and deleted when that is wished", async () => {
    const served = await serve({ buffer: { messagesMax: 1, atLimit: "oldest" } });
    const device = new PlainDevice("full", served.port);
    await device.connect();
    const by = { dup: false, topicIdType: "normal", topic: "to/full" } as const;
    await device.says({ type: "SUBSCRIBE", ...by, qos: 1, msgId: 1 }, "SUBACK");
    await device.says({ type: "DISCONNECT", duration: 600 }, "DISCONNECT");
    const other = new PlainDevice("other", served.port);
    await other.connect();
    const register = { type: "REGISTER", topicId: 0, msgId: 1, topicName: "to/full" } as const;
    const answer = await other.says(register, "REGACK");
    if (answer.type !== "REGACK") throw new Error("no REGACK");
    const { topicId } = answer;
    for (const [msgId, text] of [
      [2, "one"],
      [3, "two"],
    ] as const) {
      const data = new TextEncoder().encode(text);
      const what = { dup: false, qos: 1, retain: false, topicIdType: "normal", topicId, msgId, data } as const;
      await other.says({ type: "PUBLISH", ...what }, "PUBACK");
    }
    const { page } = await open(browser, served, "queues");
    await page.getByText("buffer-full").waitFor();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Yes, delete" }).click();
    await page.getByText("None: no message at QoS 1 or 2 was dropped.").waitFor();
  });

  const noDisk = process.getuid?.() === 0 ? "" : ", skipped: a small file system cannot be mounted here";
  if (noDisk !== "" && process.env["CI"]) throw new Error(noDisk);
  test.skipIf(noDisk !== "")(
    `the disk fills: a red line says what becomes of messages, until it has room${noDisk}`,
    async () => {
      const disk = SmallDisk.mount(16);
      if (!disk) throw new Error("no small file system");
      onTestFinished(() => disk.unmount());
      const served = await serve({}, {}, disk.folder); // ends before its disk goes
      const { page } = await open(browser, served);
      await page.getByText("No device yet").first().waitFor();
      disk.fill();
      // Until a commit does not find room: the file of the store has some left.
      const device = new PlainDevice("talker", served.port);
      await device.connect();
      const filled = page.getByText(/^The store cannot write/).waitFor();
      const register = (n: number) =>
        device.says({ type: "REGISTER", topicId: 0, msgId: n, topicName: `t/${n}/${"x".repeat(150)}` }, "REGACK");
      let isSeen = false;
      filled.then(() => (isSeen = true));
      for (let n = 1; !isSeen && n < 400; n++) await register(n);
      await filled;
      disk.empty();
      await page.getByText(/^The store cannot write/).waitFor({ state: "detached" });
    },
  );

  test("a serial line is not there: Radio says so, and that it works when it is plugged in", async () => {
    const folder = mkdtempSync(`${tmpdir()}/line-`);
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const line = `${folder}/ttyUSB0`;
    const served = await serve({ transports: [{ type: "serial", ports: [line] }] });
    const { page } = await open(browser, served);
    await page.getByText(/^serial: .*ttyUSB0/).waitFor();
    await page.getByRole("link", { name: "Radio" }).click();
    await page.getByText(/seen .* failures: .*ttyUSB0/).waitFor();
    symlinkSync("/dev/ptmx", line); // a terminal of its own
    await page.getByText(/connected/).waitFor();
  });

  test("a device says what is no message: Live shows it, the overview counts it", async () => {
    const served = await serve();
    const { page } = await open(browser, served, "live");
    await page.getByText("No datagram yet").waitFor();
    const device = new PlainDevice("broken", served.port);
    await device.connect();
    device.stammers();
    await page.locator("text=malformed >> visible=true").first().waitFor();
    await page.getByRole("link", { name: "Overview" }).click();
    await page.locator("text=malformed >> visible=true").first().waitFor();
  });

  test("the broker refuses what a device publishes: a dead letter says so", async () => {
    const served = await serve({}, { qosMax: 0 });
    const device = new PlainDevice("eager", served.port);
    await device.connect();
    const register = { type: "REGISTER", topicId: 0, msgId: 1, topicName: "to/broker" } as const;
    const answer = await device.says(register, "REGACK");
    if (answer.type !== "REGACK") throw new Error("no REGACK");
    const data = new TextEncoder().encode("one");
    const what = { dup: false, qos: 1, retain: false, topicIdType: "normal", topicId: answer.topicId, data } as const;
    const said = await device.says({ type: "PUBLISH", ...what, msgId: 2 }, "PUBACK");
    expect(said).toMatchObject({ returnCode: 3 });
    const { page } = await open(browser, served);
    await page
      .getByText("not-supported-by-broker")
      .or(page.getByText(/refused-by-broker|too-large|exceeds/))
      .first()
      .waitFor();
  });

  test("a sleeper: a test message waits for it, it wakes and the page shows it; what waits is given up", async () => {
    const served = await serve();
    const device = new PlainDevice("sleeper", served.port);
    await device.connect();
    await device.says({ type: "DISCONNECT", duration: 300 }, "DISCONNECT");
    const { page, complaints } = await open(browser, served, "device?client=sleeper");
    await page.getByText("Send a test message").click();
    await page.getByLabel("Topic", { exact: true }).fill("ab");
    await page.getByLabel("Payload").fill("hello");
    for (const waiting of ["1 messages", "2 messages"]) {
      await page.getByRole("button", { name: "Send", exact: true }).click();
      await page.getByText(waiting).waitFor();
    }
    await page.getByRole("button", { name: "Delete what waits for it" }).click();
    await page.getByRole("button", { name: "Yes, delete what waits for it" }).click();
    await page.getByText("0 messages, 0 B").first().waitFor();
    await page.getByLabel("QoS").selectOption("0");
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.getByText("1 messages").waitFor();
    const heard = device.says({ type: "PINGREQ", clientId: "sleeper" }, "PUBLISH");
    const published = await heard;
    expect("data" in published && Buffer.from(published.data).toString()).toBe("hello");
    await page.getByRole("heading", { name: "The last wake-ups" }).waitFor();
    expect(await page.locator(".strip li").count()).toBe(1);
    expect(complaints).toEqual([]);
  });

  test("what passes is recorded until it is stopped; the file that is saved is a whole capture", async () => {
    const served = await serve();
    const { page } = await open(browser, served, "live");
    await page.getByText("No datagram yet").waitFor();
    await page.getByRole("button", { name: "Record (pcapng)" }).click();
    await page.getByRole("button", { name: /^Stop and save/ }).waitFor();
    const device = new PlainDevice("recorded", served.port);
    await device.connect();
    await page.getByRole("button", { name: /^Stop and save, [1-9]\d\d+ B/ }).waitFor();
    await page.locator(".datagrams summary", { hasText: "CONNACK" }).waitFor();
    const saved = page.waitForEvent("download");
    await page.getByRole("button", { name: /^Stop and save/ }).click();
    const file = await (await saved).path();
    const datagrams = readCapture(file, 1_883);
    expect(datagrams.map(({ direction, payload }) => [direction, decode(payload).ok])).toEqual([
      ["in", true],
      ["out", true],
    ]);
  });

  test("two tabs of a browser share one stream", async () => {
    const served = await serve();
    const { page } = await open(browser, served, "live");
    await page.getByText("No datagram yet").waitFor();
    const second = await page.context().newPage();
    await second.goto(`${served.url}#/live`);
    await second.getByText("No datagram yet").waitFor();
    const device = new PlainDevice("seen", served.port);
    await device.connect();
    for (const tab of [page, second]) await tab.locator(".datagrams summary", { hasText: "CONNACK" }).waitFor();
    await expect.poll(() => served.gateway.browsersLooking, { timeout: 10_000 }).toBe(1); // the server notices a moment later that one has ended
  });
});

const pixelsPerModule = 4;

/** What a camera would see of the QR code. */
async function pictureIn(page: Page): Promise<{ width: number; height: number; data: Uint8Array }> {
  // What runs in the page is text here: this program knows no browser's names.
  const { d, size, colours } = await page.evaluate<{ d: string; size: number; colours: string[] }>(
    "(({ children, viewBox }) => ({ d: children[1].getAttribute('d'), size: viewBox.baseVal.width, colours: [...children].map((each) => getComputedStyle(each).fill) }))(document.querySelector('svg.qr'))",
  );
  expect(colours).toEqual(["rgb(255, 255, 255)", "rgb(0, 0, 0)"]);
  const width = size * pixelsPerModule;
  const data = new Uint8Array(width * width * 4).fill(255);
  for (const [, x, y] of d.matchAll(/M(\d+) (\d+)h1v1h-1z/g))
    for (let i = 0; i < pixelsPerModule ** 2; i++) {
      const column = Number(x) * pixelsPerModule + (i % pixelsPerModule);
      const row = Number(y) * pixelsPerModule + Math.floor(i / pixelsPerModule);
      data.fill(0, (row * width + column) * 4, (row * width + column) * 4 + 3);
    }
  return { width, height: width, data };
}
