/** What `npm run bench:quick` measures, and when it says that a line is slow. */
import { readFileSync } from "node:fs";
import type { Mode } from "./parts.ts";
import { median } from "./report.ts";

export interface QuickLine {
  readonly id: string;
  readonly title: string;
  readonly mode: Mode;
  readonly args: readonly string[];
}

export const quickLines: readonly QuickLine[] = [
  {
    id: "up1-transparent",
    title: "QoS 1 up, N = 100, transparent",
    mode: "transparent",
    args: ["-m", "up", "-q", "1", "-n", "100"],
  },
  {
    id: "up1-aggregating",
    title: "QoS 1 up, N = 100, aggregating",
    mode: "aggregating",
    args: ["-m", "up", "-q", "1", "-n", "100"],
  },
  {
    id: "down1-aggregating",
    title: "QoS 1 down, N = 100, aggregating",
    mode: "aggregating",
    args: ["-m", "down", "-q", "1", "-w", "50", "-n", "100"],
  },
];

/** A few seconds of all lines and the echo by turns. */
export interface Segment {
  /** Datagrams of the echo per second of its CPU time. */
  readonly echo: number;
  /** By line: messages per CPU second, as a share of `echo`. */
  readonly ratios: ReadonlyMap<string, number>;
}

/** As docs/measurements/figures/bench-quick.json has them. */
export interface Bounds {
  /** The last commit that changed what is measured: the version that a slow line is compared with. */
  readonly commit: string;
  /** A line may have this share of the stored ratio, or of the earlier version's speed, at least. */
  readonly allowed: number;
  readonly lines: Readonly<Record<string, { readonly ratio: number; readonly perCpuSecond: number }>>;
}

/** Half of a loss of 15 %: both errors are equally far. */
const allowed = 0.925;
/** If the stored ratio is exceeded by so much, the bounds are from another machine: the earlier version is measured. */
const farAbove = 1.08;

export function readBounds(file: string): Bounds {
  return JSON.parse(readFileSync(file, "utf8")) as Bounds;
}

export function ratioOf(segments: readonly Segment[], { id }: QuickLine): number {
  return median(segments.map(({ ratios }) => ratios.get(id) ?? Number.NaN));
}

export interface Beside {
  readonly isSlower: boolean;
  /** More measurements would not change it, by all likelihood. */
  readonly isClear: boolean;
  readonly words: string;
}

/** Shares of an earlier version's speed: where their median is, and between which of them the true one is (95 %, by ranks). */
export function compare(shares: readonly number[], least: number): Beside {
  const sorted = [...shares].sort((a, b) => a - b);
  const reach = 0.98 * Math.sqrt(sorted.length);
  const low = sorted[Math.max(0, Math.floor(sorted.length / 2 - reach))] ?? 0;
  const high =
    sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length / 2 + reach) - 1)] ?? Number.POSITIVE_INFINITY;
  const middle = median(shares);
  const isSlower = middle < least;
  const range = `${low.toFixed(3)} to ${high.toFixed(3)}, ${sorted.length} turns`;
  return {
    isSlower,
    isClear: high < least || low >= least,
    words: `${middle.toFixed(3)} of its speed (${range}): ${isSlower ? "SLOWER" : "not slower"}`,
  };
}

export interface Verdict {
  readonly ratio: number;
  readonly perCpuSecond: number;
  /** The bounds alone do not show that nothing has changed: slower, or so much faster that they are from another machine. */
  readonly isDoubtful: boolean;
  readonly words: string;
}

/** What the better turns reach: a bound from a busy machine would let a quiet one become slower unnoticed. */
function best(segments: readonly Segment[], { id }: QuickLine): number {
  const ratios = segments.map(({ ratios: all }) => all.get(id) ?? Number.NaN).sort((a, b) => a - b);
  return ratios[Math.floor(0.75 * ratios.length)] ?? Number.NaN;
}

/** Without bounds: what would be one. */
export function judge(segments: readonly Segment[], line: QuickLine, bounds: Bounds | undefined): Verdict {
  const ratio = bounds === undefined ? best(segments, line) : ratioOf(segments, line);
  const perCpuSecond = Math.round(ratio * median(segments.map(({ echo }) => echo)));
  const before = bounds?.lines[line.id]?.ratio;
  const isSlow = before !== undefined && !(ratio >= before * (bounds?.allowed ?? allowed));
  const isFar = before !== undefined && ratio > before * farAbove;
  const verdict = isSlow ? "slow" : isFar ? "far above" : "well";
  const beside = before === undefined ? "" : `, stored ${before.toFixed(3)}: ${verdict}`;
  const all = segments.map(({ ratios }) => ratios.get(line.id)?.toFixed(2)).join(" ");
  return {
    ratio,
    perCpuSecond,
    isDoubtful: isSlow || isFar,
    words: `${line.title}: ${ratio.toFixed(3)} of the echo${beside} (${all})`,
  };
}

/** The file: a table for the document, and what `readBounds` reads. */
export function stored(
  results: readonly ({ readonly line: QuickLine } & Verdict)[],
  { machine, command, commit }: { machine: string; command: string | null; commit: string },
) {
  return {
    machine,
    date: new Date().toISOString().slice(0, 10),
    commit,
    command,
    note: "Messages per CPU second as a share of the echo, by turns on one core; the bound is what bench:quick wants at least.",
    columns: ["", "of echo", "bound", "per CPU second"],
    rows: results.map(({ line, ratio, perCpuSecond }) => [
      line.title,
      ratio.toFixed(3),
      (ratio * allowed).toFixed(3),
      `${perCpuSecond}`,
    ]),
    allowed,
    lines: Object.fromEntries(
      results.map(({ line, ratio, perCpuSecond }) => [line.id, { ratio: Number(ratio.toFixed(3)), perCpuSecond }]),
    ),
  };
}
