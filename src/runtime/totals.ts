/** Traffic of the last hour: one row of numbers every ten seconds, and nothing per message. */
export const totalsEverySeconds = 10;
const rowsMax = 3_600 / totalsEverySeconds + 1;

/** Counted since the gateway started. */
export interface Totals {
  readonly published: number;
  readonly delivered: number;
  readonly heard: number;
  readonly sent: number;
  readonly dropped: number;
}

/** Messages per second, one number for each ten seconds; `at` is the end of each. */
export type HourOfTotals = { readonly [Field in keyof Totals]: number[] } & { readonly at: number[] };

interface Row {
  readonly at: number;
  readonly totals: Totals;
}

export class TotalsOfTheHour {
  readonly #rows: Row[] = [];

  /** @param at milliseconds since 1970 */
  note(at: number, totals: Totals): void {
    // If the clock was set back, the later rows are removed, because the plot would show the same time twice.
    while ((this.#rows.at(-1)?.at ?? Number.NEGATIVE_INFINITY) >= at) this.#rows.pop();
    this.#rows.push({ at, totals });
    if (this.#rows.length > rowsMax) this.#rows.shift();
  }

  perSecond(): HourOfTotals {
    const hour: HourOfTotals = { at: [], published: [], delivered: [], heard: [], sent: [], dropped: [] };
    for (const [i, { at, totals }] of this.#rows.entries()) {
      const before = this.#rows[i - 1];
      if (!before) continue;
      const seconds = (at - before.at) / 1_000;
      hour.at.push(at);
      for (const field of fields) hour[field].push(round((totals[field] - before.totals[field]) / seconds));
    }
    return hour;
  }
}

const fields = ["published", "delivered", "heard", "sent", "dropped"] as const;

function round(perSecond: number): number {
  return Math.round(perSecond * 100) / 100;
}
