/** What is measured, and what is wanted of it. */
import type { Measured, Mode } from "./parts.ts";

export interface Line {
  readonly id: string;
  readonly title: string;
  readonly args: readonly string[];
  /** Run for a time, or for a number of messages. */
  readonly timed: boolean;
  readonly value: "per_cpu_s" | "per_s";
  /** Which latency is shown: of the answer to the device, or from end to end. */
  readonly latency: "answer" | "way";
  /** The same devices in every round: with new ones, those of before would hold their connections to the broker. */
  readonly sameDevices?: boolean;
  /** At least this share of the echo's figure in the same run. */
  readonly ofEcho?: Readonly<Partial<Record<Mode, number>>>;
  /** Only the generator in C can make this load, and the line is measured only if `--lines` names it. */
  readonly isAsked?: boolean;
  /** At QoS 1 a repetition may come twice; at QoS 0 nothing repeats, at QoS 2 nothing comes twice. */
  readonly mayDouble?: boolean;
}

const n = (devices: number) => ["-n", String(devices)];

export const lines: readonly Line[] = [
  ...[100, 1_000].map(
    (devices): Line => ({
      id: `up1-${devices}`,
      title: `QoS 1 up, closed loop, N = ${devices}`,
      args: ["-m", "up", "-q", "1", ...n(devices)],
      timed: true,
      value: "per_cpu_s",
      latency: "answer",
      ofEcho: { aggregating: 0.55, transparent: devices === 100 ? 0.35 : 0.3 },
    }),
  ),
  {
    id: "up0-5000",
    title: "QoS 0 up at 5,000/s, N = 100",
    args: ["-m", "up", "-q", "0", "-r", "5000", ...n(100)],
    timed: true,
    value: "per_cpu_s",
    latency: "way",
    ofEcho: { aggregating: 0.6 },
  },
  ...[1_000, 2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 40_000].map(
    (rate): Line => ({
      id: `curve-${rate}`,
      title: `QoS 1 up at ${rate.toLocaleString("en-US")}/s, N = 1,000`,
      args: ["-m", "up", "-q", "1", "-r", String(rate), ...n(1_000)],
      timed: true,
      value: "per_s",
      latency: "answer",
      isAsked: true,
    }),
  ),
  {
    id: "up2-100",
    title: "QoS 2 up, closed loop, N = 100",
    args: ["-m", "up", "-q", "2", ...n(100)],
    timed: true,
    value: "per_cpu_s",
    latency: "answer",
  },
  ...([0, 1, 2] as const).map(
    (qos): Line => ({
      id: `down${qos}-100`,
      title: `QoS ${qos} down, closed loop, N = 100`,
      args: ["-m", "down", "-q", String(qos), "-w", "50", ...n(100)],
      timed: true,
      value: "per_cpu_s",
      latency: "way",
      ...(qos < 2 && { ofEcho: { aggregating: qos === 0 ? 0.55 : 0.35 } }),
    }),
  ),
  {
    id: "fanout-1000",
    title: "Fan-out QoS 0, N = 1,000",
    args: ["-m", "fanout", "-q", "0", "-k", "40", ...n(1_000)],
    timed: false,
    value: "per_cpu_s",
    latency: "way",
    ofEcho: { aggregating: 1, transparent: 1 },
  },
  {
    id: "connect-1000",
    title: "CONNECT, 50 at a time, N = 1,000",
    args: ["-m", "connect", "-w", "50", ...n(1_000)],
    timed: false,
    value: "per_s",
    latency: "answer",
  },
  {
    id: "burst-5000",
    title: "Bursts: 5,000 PUBLISH QoS 1 at once, closed loop",
    args: ["-m", "up", "-q", "1", "-w", "200", ...n(5_000)],
    sameDevices: true,
    timed: true,
    value: "per_cpu_s",
    latency: "answer",
  },
  {
    id: "sleep-1000",
    title: "50 messages for each of 1,000 sleepers, woken at once",
    args: ["-m", "sleep", "-k", "50", "-w", "200", ...n(1_000)],
    timed: false,
    value: "per_s",
    latency: "way",
  },
  ...([1, 2] as const).flatMap((qos) =>
    (["up", "down"] as const).map(
      (way): Line => ({
        id: `loss-${way}${qos}`,
        title: `5 % loss both ways, QoS ${qos} ${way}, N = 20`,
        args: ["-m", way, "-q", String(qos), "-x", "5", ...(way === "down" ? ["-r", "100"] : []), ...n(20)],
        timed: true,
        value: "per_s",
        latency: "way",
        mayDouble: qos === 1,
      }),
    ),
  ),
];

/** What must never happen, at any speed. */
export function faultsOf(line: Line, { lost, duplicates, misrouted, gave_up }: Measured): string[] {
  const faults: string[] = [];
  if (lost > 0) faults.push(`${lost} lost`);
  if (duplicates > 0 && !line.mayDouble) faults.push(`${duplicates} double`);
  if (misrouted > 0) faults.push(`${misrouted} astray`);
  if (gave_up > 0) faults.push(`${gave_up} without an answer`);
  return faults;
}
