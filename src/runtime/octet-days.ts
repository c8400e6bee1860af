/** Octets to and from the brokers of each upstream, by day. In memory: the counts of a day begin again when the gateway starts. */

/** Octets from (in) and to (out) the broker, as TCP carries them. */
export interface Octets {
  readonly in: number;
  readonly out: number;
}

export interface DayOfOctets extends Octets {
  /** The date in this machine's time zone: 2026-11-29. */
  readonly date: string;
}

const daysMax = 31;

export class OctetDays {
  /** The days of each upstream, the newest first. */
  readonly #days = new Map<string, DayOfOctets[]>();
  readonly #noted = new Map<string, Octets>();

  /**
   * Octets since the last call are counted for the day of this call.
   * @param at milliseconds since 1970; undefined: the clock is not set; the octets count for the first day that is known
   * @param totals since the gateway started, by upstream
   */
  note(at: number | undefined, totals: ReadonlyMap<string, Octets>): void {
    if (at === undefined) return;
    const date = dateOf(at);
    for (const [name, total] of totals) {
      const before = this.#noted.get(name) ?? { in: 0, out: 0 };
      this.#noted.set(name, total);
      const days = this.#days.get(name) ?? [];
      const i = days.findIndex((day) => day.date === date);
      const day = days[i] ?? { date, in: 0, out: 0 };
      const now = { date, in: day.in + total.in - before.in, out: day.out + total.out - before.out };
      if (i >= 0) days[i] = now;
      else days.push(now);
      days.sort((a, b) => (a.date < b.date ? 1 : -1));
      this.#days.set(name, days.slice(0, daysMax));
    }
  }

  /** The days of this upstream, the newest first; empty if nothing is known about it. */
  of(name: string): readonly DayOfOctets[] {
    return this.#days.get(name) ?? [];
  }
}

function dateOf(at: number): string {
  const date = new Date(at);
  const two = (part: number) => String(part).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
