/** Two gateways of a fleet, as processes, on the page of one of them: who belongs to it, and which shards each owns. */
import { describe, expect, onTestFinished, test } from "vitest";
import { startTryOutBroker } from "../../src/tryout-broker.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePorts } from "../helpers/ports.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";
import { launch, missing, openAt } from "./browser.ts";

const program = findRedis();
const without = missing ?? ("missing" in program ? program.missing : undefined);
if (without !== undefined && process.env["CI"]) throw new Error(without);

describe.skipIf(without !== undefined)(`a fleet in Chromium${without ? `, skipped: ${without}` : ""}`, () => {
  test("its gateways and their shards; one that comes and one that goes; the devices of all shards here, and live", {
    timeout: 90_000,
  }, async () => {
    if ("missing" in program) throw new Error(program.missing);
    const redis = await RedisServer.create(program);
    onTestFinished(() => redis.close());
    const [brokerPort = 0, portA = 0, portB = 0, betweenA = 0, betweenB = 0, api = 0] = await freePorts(6);
    const broker = await startTryOutBroker({ host: "127.0.0.1", port: brokerPort });
    onTestFinished(async () => void (broker.kind === "started" && (await broker.close())));
    const one = (name: string, port: number, between: number, apiPort: number) => {
      const gateway = new PairGateway(name, {
        transports: [{ type: "udp", host: "127.0.0.1", port }],
        upstream: { url: `mqtt://127.0.0.1:${brokerPort}`, mode: "aggregating" },
        tryOutBroker: false,
        store: { folder: "data", kind: "redis", redis: { url: redis.url } },
        fleet: { enabled: true, name, shards: 16, listen: `127.0.0.1:${between}` },
        api: { enabled: apiPort > 0, port: apiPort },
        log: { format: "json" },
      });
      onTestFinished(() => gateway.remove());
      gateway.start();
      return gateway;
    };
    const a = one("barn-a", portA, betweenA, api);
    await a.serves();
    const device = new Publisher({ clientId: "hen-1", port: portA, topic: "t/1" });
    await device.start();
    onTestFinished(() => device.stop());
    await until("the device is connected", () => device.idle);

    const browser = await launch();
    onTestFinished(() => browser.close());
    const { links } = JSON.parse((await a.ask("/console/link", "POST")).body) as { links: string[] };
    const { page, complaints } = await openAt(browser, links[0] ?? "");
    const fleet = page.getByRole("region", { name: "Fleet" });
    await fleet.getByText(/^16 shards, all of them owned; a lease lasts 3 s\./).waitFor();
    expect(await fleet.getByRole("row").filter({ hasText: "barn-" }).count()).toBe(1);
    await page.getByText("No other gateway of the fleet is there").waitFor();
    await page.getByRole("link", { name: "1 active" }).waitFor();
    await page.getByRole("link", { name: "1 active" }).click();
    await page.getByRole("link", { name: "hen-1" }).waitFor();
    await page.getByRole("link", { name: "Live" }).click();
    await page.getByRole("button", { name: /pause/i }).waitFor();
    // The page may open its stream only after the first ones.
    const shown = page.locator("ol.datagrams").getByText("PUBLISH").first();
    await until("the page shows what the device says", async () => {
      if (device.idle) device.publish(1);
      return shown.isVisible();
    });

    const b = one("barn-b", portB, betweenB, 0);
    await b.serves();
    await page.getByRole("link", { name: "Overview" }).click();
    const other = fleet
      .getByRole("row")
      .filter({ has: page.getByRole("cell", { name: "barn-b", exact: true }) })
      .first();
    await other
      .getByText("now")
      .or(other.getByText(/ s ago$/))
      .waitFor();
    await until(
      "it has shards",
      async () => {
        await page.reload();
        const words = await other.getByRole("cell").nth(1).textContent();
        return Number(words) > 0;
      },
      40_000,
    );
    await fleet.getByText("Each shard with its owner and epoch").click();
    await fleet.getByRole("cell", { name: "serving" }).first().waitFor();
    expect(await b.end("SIGTERM")).toBe("0");
    await until(
      "it is gone",
      async () => {
        await page.reload();
        await fleet.waitFor();
        return (await page.getByText("No other gateway of the fleet is there").count()) === 1;
      },
      20_000,
    );
    expect(complaints).toEqual([]);
  });
});
