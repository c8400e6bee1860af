/** Medians, the table in Markdown, and the plot. */
import { faultsOf, type Line } from "./lines.ts";
import type { Measured } from "./parts.ts";

/** One line of one gateway, over all rounds. `echo[i]` was measured in the same round as `runs[i]`. */
export interface Result {
  readonly line: Line;
  readonly target: string;
  readonly runs: readonly Measured[];
  readonly echo: readonly number[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2;
}

/** A result in numbers, as the JSON has them. */
export function summary({ line, target, runs, echo }: Result) {
  const of = (read: (run: Measured) => number) => median(runs.map(read));
  const ratio = median(runs.map((run, i) => run.per_cpu_s / (echo[i] ?? Number.NaN)));
  const wanted = target === "transparent" || target === "aggregating" ? line.ofEcho?.[target] : undefined;
  return {
    line: line.id,
    target,
    value: Math.round(of((run) => run[line.value])),
    perSecond: Math.round(of(({ per_s }) => per_s)),
    ofEcho: line.value === "per_cpu_s" ? Number(ratio.toFixed(3)) : undefined,
    wanted,
    reached: wanted === undefined ? undefined : ratio >= wanted,
    p50Ms: of((run) => run[`${line.latency}_p50_ms`]),
    p99Ms: of((run) => run[`${line.latency}_p99_ms`]),
    rssKb: Math.max(...runs.map(({ rss_kb }) => rss_kb)),
    lost: sum(runs, "lost"),
    duplicates: sum(runs, "duplicates"),
    misrouted: sum(runs, "misrouted"),
    repeats: sum(runs, "repeats"),
    kernelDrops: sum(runs, "kernel_drops"),
    pings: runs.at(-1)?.pings ?? 0,
    faults: runs.flatMap((run) => faultsOf(line, run)),
  };
}

function sum(
  runs: readonly Measured[],
  what: "lost" | "duplicates" | "misrouted" | "repeats" | "kernel_drops",
): number {
  return runs.reduce((total, run) => total + run[what], 0);
}

/** The table as docs/measurements/data keeps it. */
export function figures(results: readonly Result[]): { columns: readonly string[]; rows: readonly string[][] } {
  const rows = results.map((result) => {
    const { value, perSecond, ofEcho, wanted, reached, p50Ms, p99Ms, ...counts } = summary(result);
    const { line, target } = result;
    return [
      line.title,
      target,
      line.value === "per_cpu_s" ? `${value}` : "-",
      `${perSecond}`,
      ofEcho === undefined ? "-" : ofEcho.toFixed(2),
      wanted === undefined ? "-" : `${wanted.toFixed(2)}: ${reached ? "yes" : "no"}`,
      `${p50Ms.toFixed(2)} / ${p99Ms.toFixed(1)}`,
      `${counts.lost} / ${counts.duplicates} / ${counts.misrouted}`,
      `${counts.kernelDrops}`,
    ];
  });
  return { columns, rows };
}

const columns = [
  "",
  "gateway",
  "per CPU second",
  "per second",
  "of echo",
  "wanted",
  "p50 / p99 ms",
  "lost / double / astray",
  "kernel drops",
];

export function table(results: readonly Result[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(columns), line(columns.map(() => "---")), ...figures(results).rows.map(line)].join("\n");
}

export interface Point {
  readonly sessions: number;
  /** CPU microseconds of the gateway per datagram. */
  readonly cost: number;
}

/** Cost over the number of sessions, as SVG: the x axis is logarithmic, the y axis begins at 0. */
export function plot(title: string, series: ReadonlyMap<string, readonly Point[]>): string {
  const [width, height, left, top, right, bottom] = [640, 360, 60, 40, 20, 50];
  const points = [...series.values()].flat();
  const top10 = Math.max(...points.map(({ sessions }) => Math.log10(sessions)), 1);
  const most = 1.25 * Math.max(...points.map(({ cost }) => cost), 1);
  const x = (sessions: number) => left + ((width - left - right) * (Math.log10(sessions) - 1)) / Math.max(top10 - 1, 1);
  const y = (cost: number) => height - bottom - ((height - top - bottom) * cost) / most;
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width + 20} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>${title}</title>`,
    `<rect width="${width + 20}" height="${height}" fill="white"/>`,
    `<text x="${left}" y="22" font-size="14">${title}</text>`,
    `<path d="M${left} ${top}V${height - bottom}H${width - right}" fill="none" stroke="black"/>`,
  ];
  for (let power = 1; power <= top10 + 0.01; power++) {
    const at = x(10 ** power).toFixed(1);
    out.push(
      `<text x="${at}" y="${height - bottom + 18}" text-anchor="middle">${(10 ** power).toLocaleString("en")}</text>`,
    );
    out.push(`<path d="M${at} ${height - bottom}v5" stroke="black"/>`);
  }
  out.push(`<text x="${(left + width - right) / 2}" y="${height - 12}" text-anchor="middle">sessions</text>`);
  for (let i = 0; i <= 4; i++) {
    const cost = (most * i) / 4;
    out.push(`<text x="${left - 8}" y="${(y(cost) + 4).toFixed(1)}" text-anchor="end">${cost.toFixed(0)}</text>`);
  }
  const colours = ["#0b5fa5", "#c2410c", "#15803d"];
  [...series].forEach(([name, list], i) => {
    const colour = colours[i % colours.length];
    const path = list.map(({ sessions, cost }) => `${x(sessions).toFixed(1)},${y(cost).toFixed(1)}`).join(" ");
    out.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const { sessions, cost } of list) {
      out.push(`<circle cx="${x(sessions).toFixed(1)}" cy="${y(cost).toFixed(1)}" r="3" fill="${colour}"/>`);
    }
    out.push(`<text x="${width - right - 180}" y="${top + 16 * i}" fill="${colour}">${name}</text>`);
  });
  return `${out.join("\n")}\n</svg>\n`;
}
