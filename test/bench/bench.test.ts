/** The bench itself, on a small scale: a figure that comes out here is no figure, but it comes out, and nothing is lost. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { compare, judge, quickLines } from "./bounds.ts";
import { faultsOf, lines } from "./lines.ts";
import { type GatewayTarget, generator, idleDevices, load, startEcho, startGateway } from "./parts.ts";
import { median, plot, summary, table } from "./report.ts";

const program = findMosquitto();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

/** Small enough for a busy machine. */
const small: Readonly<Record<string, readonly string[]>> = {
  "up1-100": ["-n", "20", "-d", "0.5"],
  "up0-5000": ["-n", "20", "-d", "0.5", "-r", "200"],
  "up2-100": ["-n", "20", "-d", "0.5"],
  "down0-100": ["-n", "20", "-d", "0.5", "-w", "5"],
  "down1-100": ["-n", "20", "-d", "0.5", "-w", "5"],
  "down2-100": ["-n", "20", "-d", "0.5", "-w", "5"],
  "fanout-1000": ["-n", "20", "-k", "5"],
  "connect-1000": ["-n", "20"],
  "sleep-1000": ["-n", "10", "-k", "5"],
};

describe.skipIf(missing !== undefined)(`the bench${missing === undefined ? "" : `: ${missing}`}`, () => {
  let broker: Mosquitto;
  let gateway: GatewayTarget;

  beforeAll(async () => {
    if ("missing" in program) return;
    broker = await Mosquitto.create(program);
    gateway = await startGateway("transparent", broker);
  });
  afterAll(async () => {
    await gateway?.close();
    await broker?.dispose();
  });

  const each = lines.filter(({ id }) => id in small);
  const cases = (["c", "node"] as const).flatMap((by) => each.map((line) => ({ by, title: line.title, line })));
  test.each(cases)("$title: nothing lost, double or astray (generator: $by)", async ({ by, line }) => {
    if (by === "c" && generator === "node") return; // no compiler: its place is taken
    const run = await load(gateway, broker.plainPort, [...line.args, ...(small[line.id] ?? []), "-i", by], by);
    expect(run.messages).toBeGreaterThan(0);
    expect(faultsOf(line, run)).toEqual([]);
    const result = { line, target: "transparent", runs: [run], echo: [100_000] };
    expect(table([result])).toContain(line.title);
    expect(summary(result).faults).toEqual([]);
  });

  test("loss: what the generator drops is repeated, and counted", async () => {
    const run = await load(gateway, broker.plainPort, [
      "-m",
      "up",
      "-q",
      "1",
      "-n",
      "20",
      "-d",
      "0.5",
      "-x",
      "20",
      "-t",
      "0.1",
    ]);
    expect(run.repeats).toBeGreaterThan(0);
    expect(run.lost).toBe(0);
  });

  test("aggregating, more at QoS 2 at once than mosquitto takes of one connection: nothing lost or double", async () => {
    const shared = await startGateway("aggregating", broker);
    const run = await load(shared, broker.plainPort, ["-m", "up", "-q", "2", "-n", "60", "-d", "0.5", "-i", "many"]);
    await shared.close();
    expect([run.lost, run.duplicates, run.gave_up]).toEqual([0, 0, 0]);
  });

  test.each(["c", "node"] as const)("the echo answers (generator: %s)", async (by) => {
    if (by === "c" && generator === "node") return;
    const echo = await startEcho();
    const run = await load(echo, broker.plainPort, ["-m", "echo", "-n", "10", "-w", "5", "-d", "0.3"], by);
    await echo.close();
    expect(run.messages).toBeGreaterThan(0);
  });

  test("idle devices hold their sessions until they are let go, and memory is told", async () => {
    const idle = await idleDevices(gateway, broker.plainPort, ["-n", "10", "-i", "id"]);
    expect((await gateway.memory()).rss).toBeGreaterThan(1e6);
    expect((await idle.leave()).mode).toBe("idle");
  });
});

test("what is lost is seen: a message less than were sent is a fault", () => {
  const [line] = lines;
  const run = { lost: 1, duplicates: 2, misrouted: 0, gave_up: 0 };
  expect(line && faultsOf(line, run as never)).toEqual(["1 lost", "2 double"]);
});

test("medians, and a plot with every point", () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5]);
  const svg = plot("t", new Map([["a", [10, 100].map((sessions) => ({ sessions, cost: 5 }))]]));
  expect(svg.match(/<circle/g)).toHaveLength(2);
});

describe("bench:quick judges", () => {
  const [line] = quickLines;
  if (line === undefined) throw new Error("there is no line");
  const bounds = { commit: "0123456", allowed: 0.925, lines: { [line.id]: { ratio: 1, perCpuSecond: 60_000 } } };
  const segments = (...ratios: number[]) =>
    ratios.map((ratio) => ({ echo: 70_000, ratios: new Map([[line.id, ratio]]) }));

  test("by the median: one bad turn does not make a line slow, and a loss of 15 % does", () => {
    expect(judge(segments(0.97, 0.4, 1.02), line, bounds).isDoubtful).toBe(false);
    expect(judge(segments(0.83, 0.85, 0.97), line, bounds).isDoubtful).toBe(true);
  });

  test("a line that was not measured is doubtful, and one for which the bounds are far too low", () => {
    expect(judge([], line, bounds).isDoubtful).toBe(true);
    expect(judge(segments(1.2, 1.3), line, bounds).isDoubtful).toBe(true);
  });

  test("beside an earlier version: clear when all likely values are on one side", () => {
    expect(compare([0.84, 0.85, 0.86, 0.85, 0.84, 0.87], 0.925)).toMatchObject({ isSlower: true, isClear: true });
    expect(compare([0.98, 1.02, 1, 0.99, 1.01, 1], 0.925)).toMatchObject({ isSlower: false, isClear: true });
    expect(compare([0.8, 1.1, 0.9, 1, 0.85, 0.95], 0.925)).toMatchObject({ isClear: false });
  });
});
