/** Dashboard and alert rules ask for metrics that there are, with labels that they have. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { dropReasons } from "../../src/core/event.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import { addServiceMetrics } from "../../src/observe/service-metrics.ts";
import { quietServiceSources, quietSources } from "../helpers/metric-sources.ts";

const textOf = (name: string) => readFileSync(new URL(`../../docs/guide/monitoring/${name}`, import.meta.url), "utf8");

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string }[];
}

async function names(): Promise<Set<string>> {
  const registry = createMetrics(quietSources());
  addServiceMetrics(registry, quietServiceSources());
  return new Set(
    (await registry.getMetricsAsJSON()).flatMap(({ name, type }) =>
      String(type) === "histogram" ? ["_bucket", "_sum", "_count"].map((end) => name + end) : [name],
    ),
  );
}

const asked = (text: string) => [...text.matchAll(/(?<![:\w])(?:mqttsn|process)_\w+(?!:)/g)].map(([name]) => name);

test("every metric of an alert rule and of the dashboard is one of the gateway's", async () => {
  const there = await names();
  const { panels } = JSON.parse(textOf("dashboard.json")) as { panels: readonly Panel[] };
  const ofPanels = panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ title, found: asked(expr) })));
  for (const { title, found } of ofPanels) expect([title, found.length > 0]).toEqual([title, true]);
  const all = [...ofPanels.flatMap(({ found }) => found), ...asked(textOf("alerts.yml").replace(/record: .*/g, ""))];
  expect(all.length).toBeGreaterThan(30);
  expect(all.filter((name) => !there.has(name))).toEqual([]);
});

test("reasons in an alert rule are reasons that there are", () => {
  const reasons = [...textOf("alerts.yml").matchAll(/reason=~"([^"]+)"/g)].flatMap(([, list = ""]) => list.split("|"));
  expect(reasons.length).toBeGreaterThan(0);
  expect(reasons.filter((reason) => !(dropReasons as readonly string[]).includes(reason))).toEqual([]);
});
