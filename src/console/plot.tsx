/** Messages per second over the last hour. */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { OutputOf } from "../runtime/commands.ts";

const height = 200;

export function Plot({ totals }: { readonly totals: OutputOf<"totals.show"> }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const data: uPlot.AlignedData = [totals.at.map((at) => at / 1_000), totals.published, totals.delivered];
  useEffect(() => {
    const box = place.current;
    if (!box) return;
    const style = getComputedStyle(box);
    const text = style.getPropertyValue("--text-2");
    const grid = { stroke: style.getPropertyValue("--line"), width: 1 };
    const axis = { stroke: text, grid, ticks: grid };
    const line = (label: string, color: string) => ({ label, stroke: style.getPropertyValue(color), width: 2 });
    const made = new uPlot(
      {
        width: box.clientWidth,
        height,
        series: [{}, line("up, to the broker", "--up"), line("down, to devices", "--down")],
        axes: [axis, { ...axis, size: 48 }],
        scales: { y: { range: (_self, _min, max) => [0, Math.max(1, max * 1.1)] } },
      },
      data,
      box,
    );
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: box.clientWidth, height }));
    resized.observe(box);
    return () => {
      resized.disconnect();
      made.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData(data));
  const now = (rates: readonly number[]) => rates.at(-1) ?? 0;
  return (
    <figure>
      <figcaption>
        Messages per second: {now(totals.published)} up, {now(totals.delivered)} down in the last ten seconds
      </figcaption>
      <div class="plot" ref={place} aria-hidden="true" />
    </figure>
  );
}
