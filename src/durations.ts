/** A histogram of durations. Each measurement costs a few additions; the values are read when Prometheus scrapes. */

/** Upper ends of the classes, in seconds. One more class has no upper end. */
export const durationEndsSeconds = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const;

export class Durations {
  /** The number of values in each class, the last one without an upper end included. */
  readonly counts: number[] = new Array<number>(durationEndsSeconds.length + 1).fill(0);
  sumSeconds = 0;

  add(seconds: number): void {
    let index = 0;
    while (index < durationEndsSeconds.length && seconds > (durationEndsSeconds[index] ?? 0)) index++;
    this.counts[index] = (this.counts[index] ?? 0) + 1;
    this.sumSeconds += seconds;
  }

  /** Adds all values of another histogram. */
  addAll(other: Durations): this {
    for (const [index, count] of other.counts.entries()) this.counts[index] = (this.counts[index] ?? 0) + count;
    this.sumSeconds += other.sumSeconds;
    return this;
  }

  get count(): number {
    return this.counts.reduce((sum, each) => sum + each, 0);
  }
}
