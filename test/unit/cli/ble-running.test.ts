/** `ble forget` and `ble links` where no gateway runs, and where one does. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { forget, linksInWords, linksOfRunning } from "../../../src/cli/ble-running.ts";

const sensor = "c0:98:e5:00:00:01";
let folder = "";
let config = "";
let counters = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "ble-forget-"));
  mkdirSync(join(folder, "store"));
  config = join(folder, "gateway.config.json");
  counters = join(folder, "counters.json");
  writeFileSync(counters, JSON.stringify({ [sensor]: 500, "c0:00:00:00:00:99": 7 }));
  const ble = { type: "ble", broadcast: { countersFile: counters } };
  writeFileSync(config, JSON.stringify({ transports: [ble], store: { folder: join(folder, "store") } }));
});

afterEach(() => rmSync(folder, { recursive: true }));

test("without a gateway the file is changed, and only that sensor", async () => {
  await forget(sensor.toUpperCase(), { config });
  expect(JSON.parse(readFileSync(counters, "utf8"))).toEqual({ "c0:00:00:00:00:99": 7 });
  await expect(forget(sensor, { config })).rejects.toThrow(/no counter of c0:98:e5:00:00:01 is stored/);
  expect(await linksOfRunning(config)).toBeUndefined();
});

test("a damaged file is left as it is, and said", async () => {
  writeFileSync(counters, "{ damaged");
  await expect(forget(sensor, { config })).rejects.toThrow(/is not forgotten/);
  expect(readFileSync(counters, "utf8")).toBe("{ damaged");
});

test("with a gateway that one is asked, and the file is its business", async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.end(JSON.stringify({ forgotten: sensor }));
  });
  await new Promise<void>((resolve) => server.listen(join(folder, "store", "control.sock"), resolve));
  try {
    await forget(sensor, { config });
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
  expect(asked).toEqual(["DELETE /broadcast-counter?address=c0%3A98%3Ae5%3A00%3A00%3A01"]);
  expect(JSON.parse(readFileSync(counters, "utf8"))).toHaveProperty([sensor], 500);
});

test("links in words: what is not known is not made up", () => {
  const device = {
    peer: "ble/a",
    name: "n",
    linked: true,
    rssi: -60,
    secondsSinceSeen: 3,
    failures: 0,
    lastFailure: "",
  };
  const text = linksInWords([
    {
      transport: "ble",
      up: true,
      condition: "adapter a by d",
      devices: [device, { ...device, parameters: "interval 30 ms" }],
    },
  ]);
  expect(text.split("\n")[2]).toMatch(/ not known$/);
  expect(text.split("\n")[3]).toMatch(/ interval 30 ms$/);
  expect(linksInWords([])).toMatch(/no transport with connections/);
});
