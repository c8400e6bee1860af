/** Streams to browsers: there is a timer only while a page is open, and a browser that does not read is not written to. */
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { EventStreams, streamsMax } from "../../src/api/event-streams.ts";
import { Live } from "../../src/observe/live.ts";
import { encode } from "../../src/wire/v12/codec.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

class Browser extends EventEmitter {
  written = "";
  writableNeedDrain = false;
  writeHead(): this {
    return this;
  }
  write(text: string): boolean {
    this.written += text;
    return true;
  }
  end(text = ""): void {
    this.written += text;
    this.emit("close");
  }
  destroy(): void {
    this.emit("close");
  }
}

function streams() {
  const live = new Live({ clientAt: () => "c1", topicName: () => undefined }, () => 0);
  const made = new EventStreams(live, () => Date.now());
  const asked = { socket: { setTimeout: () => {} } } as unknown as IncomingMessage;
  const open = (browser: Browser, isAllowed = () => true, poll?: string) =>
    made.open(asked, browser as unknown as ServerResponse, {
      wanted: { datagrams: "all", seesPayloads: true, seesStrangers: true },
      isAllowed,
      ...(poll !== undefined && { poll }),
    });
  const hear = (times: number) => {
    const bytes = encode({ type: "PINGREQ", clientId: "" });
    for (let i = 0; i < times; i++) live.tap?.("in", "udp/192.0.2.1:1", bytes);
  };
  return { live, made, open, hear };
}

test("there is no timer and no watch while nobody looks", () => {
  const { live, made, open } = streams();
  expect(vi.getTimerCount()).toBe(0);
  const browser = new Browser();
  open(browser);
  expect([vi.getTimerCount(), live.watched]).toEqual([1, 1]);
  browser.destroy();
  expect([vi.getTimerCount(), live.watched, made.size, live.tap]).toEqual([0, 0, 0, undefined]);
});

test("a browser that does not read is not written to; when it reads again it hears how much it missed", () => {
  const { open, hear } = streams();
  const slow = new Browser();
  const quick = new Browser();
  open(slow);
  open(quick);
  slow.writableNeedDrain = true;
  const before = slow.written;
  for (let i = 0; i < 20; i++) {
    hear(100);
    vi.advanceTimersByTime(500);
  }
  expect(slow.written).toBe(before);
  expect(quick.written.match(/"type":"PINGREQ"/g)).toHaveLength(2_000);
  expect(quick.written).not.toMatch(/"lost":[1-9]/);
  slow.writableNeedDrain = false;
  vi.advanceTimersByTime(500);
  expect(slow.written.match(/"type":"PINGREQ"/g)).toHaveLength(200);
  expect(slow.written).toContain('"lost":1800');
});

test("who hears nothing else hears a tick every ten seconds, and whoever is logged out is told", () => {
  const { open } = streams();
  const browser = new Browser();
  let isAllowed = true;
  open(browser, () => isAllowed);
  vi.advanceTimersByTime(30_500);
  expect(browser.written.match(/event: tick/g)).toHaveLength(4);
  isAllowed = false;
  vi.advanceTimersByTime(500);
  expect(browser.written).toContain("event: bye");
});

test("polls with one name are one watch: each is answered with what came since, or after ten seconds with nothing", () => {
  const { live, made, open, hear } = streams();
  const polled = () => {
    const browser = new Browser();
    open(browser, undefined, "a");
    return browser;
  };
  expect(polled().written).toBe("{}\n");
  hear(1);
  const second = polled();
  expect(second.written).toBe("");
  vi.advanceTimersByTime(500);
  expect(second.written.match(/"type":"PINGREQ"/g)).toHaveLength(1);
  hear(2); // between two polls
  vi.advanceTimersByTime(5_000);
  const third = polled();
  vi.advanceTimersByTime(500);
  expect(third.written.match(/"type":"PINGREQ"/g)).toHaveLength(2);
  const fourth = polled();
  vi.advanceTimersByTime(9_500);
  expect(fourth.written).toBe("");
  vi.advanceTimersByTime(500);
  expect(fourth.written).toBe("{}\n");
  expect([made.size, live.watched]).toEqual([1, 1]);
});

test("a poll that does not come again ends its watch; of two at once the first is answered", () => {
  const { live, made, open } = streams();
  const [first, second, third] = [new Browser(), new Browser(), new Browser()];
  for (const browser of [first, second, third]) open(browser, undefined, "a");
  expect([second.written, third.written]).toEqual(["{}\n", ""]);
  third.destroy(); // its browser has closed the connection
  vi.advanceTimersByTime(14_500);
  expect(made.size).toBe(1);
  vi.advanceTimersByTime(1_000);
  expect([made.size, live.watched, live.tap, vi.getTimerCount()]).toEqual([0, 0, undefined, 0]);
});

test("who polls and is logged out is told; polls count with the streams", () => {
  const { made, open } = streams();
  let isAllowed = true;
  open(new Browser(), () => isAllowed, "a");
  const browser = new Browser();
  open(browser, () => isAllowed, "a");
  isAllowed = false;
  vi.advanceTimersByTime(500);
  expect([browser.written, made.size]).toEqual(['{"bye":true}\n', 0]);
  for (let i = 0; i < streamsMax; i++) expect(open(new Browser(), undefined, `poll-${i}`)).toBe(true);
  expect([open(new Browser()), open(new Browser(), undefined, "one-more")]).toEqual([false, false]);
  expect(open(new Browser(), undefined, "poll-3")).toBe(true);
  made.close();
});

test("there is a limit to browsers", () => {
  const { open, made } = streams();
  for (let i = 0; i < streamsMax; i++) expect(open(new Browser())).toBe(true);
  expect(open(new Browser())).toBe(false);
  made.close();
  expect(vi.getTimerCount()).toBe(0);
});
