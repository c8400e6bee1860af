/** Both gateways of a pair on their pages: which is active, which stands by, and how the lease passed to its holder. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { ask } from "../../src/cli/ask.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { until } from "../helpers/test-gateway.ts";
import { launch, missing, open, serve } from "./browser.ts";

const program = findRedis();
const without = missing ?? ("missing" in program ? program.missing : undefined);
if (without !== undefined && process.env["CI"]) throw new Error(without);

describe.skipIf(without !== undefined)(`a pair in Chromium${without ? `, skipped: ${without}` : ""}`, () => {
  test("who is active, who stands by, since when, and the last hand-over with its cause", async () => {
    if ("missing" in program) throw new Error(program.missing);
    const redis = await RedisServer.create(program);
    onTestFinished(() => redis.close());
    const one = (name: string) => {
      const folder = mkdtempSync(join(tmpdir(), "pair-page-"));
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
      const pair = { enabled: true, name, leaseSeconds: 3 };
      const store = { kind: "redis", folder, redis: { url: redis.url }, pair };
      return serve({ store }, { mode: "aggregating" }, folder);
    };
    const a = await one("barn-a");
    await until("it serves", () => a.gateway.serves);
    const browser = await launch();
    onTestFinished(() => browser.close());
    const first = await open(browser, a);
    const [pairOfA, signs] = [first.page.getByRole("region", { name: "Pair" }), first.page.locator(".signs")];
    await pairOfA.getByText(/^barn-a is active, epoch 1, for \d+ s$/).waitFor();
    await pairOfA.getByText("No gateway stands by").waitFor();
    await pairOfA.getByText(/^Last hand-over: epoch 1, \d+ s ago to barn-a: no gateway was active before$/).waitFor();
    await signs.getByText("broker there").waitFor();

    const b = await one("barn-b");
    const second = await open(browser, b);
    const pairOfB = second.page.getByRole("region", { name: "Pair" });
    await pairOfB
      .getByText(/^barn-b stands by, epoch 1, for \d+ s; sessions and devices are at the active one$/)
      .waitFor();
    await pairOfB.getByText(/^barn-a is active, version /).waitFor();
    await second.page.locator(".signs").getByText("stands by").waitFor();
    expect(await second.page.getByText(/broker away|No device yet/).count()).toBe(0);
    await until("the standby is seen", () => a.gateway.pair()?.other !== undefined);
    await first.page.reload(); // it would ask by itself within five seconds
    await pairOfA.getByText(/^barn-b stands by, version /).waitFor();

    await ask(join(a.file, "../control.sock"), "fleet.drain", {});
    await until("the other one serves", () => b.gateway.serves);
    await second.page.reload();
    await pairOfB.getByText(/^barn-b is active, epoch 2, for \d+ s$/).waitFor();
    await pairOfB.getByText(/^Last hand-over: epoch 2, \d+ s ago from barn-a to barn-b: it was drained$/).waitFor();
    expect([...first.complaints, ...second.complaints]).toEqual([]);
  });
});
