/** When PINGREQ is written where the keep alive may be stretched. [MQTT-3.1.1 3.1.2.10] */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { IdlePings } from "../../../src/upstream/idle-pings.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Seconds at which PINGREQ was written; `written`: when something else was. */
function pingsOf(first: number, most: number, seconds: number, written: readonly number[] = []): number[] {
  const at: number[] = [];
  let now = 0;
  const ping = () => {
    at.push(now);
    pings.noteWritten();
  };
  const pings = new IdlePings(first, most, ping, () => performance.now());
  for (now = 1; now <= seconds; now++) {
    vi.advanceTimersByTime(1_000);
    if (written.includes(now)) pings.noteWritten();
  }
  pings.end();
  vi.advanceTimersByTime(1_000_000);
  return at;
}

describe("a keep alive that may be stretched", () => {
  test("each pause is twice the one before, up to what the broker was told", () => {
    expect(pingsOf(60, 300, 1_300)).toEqual([60, 180, 420, 720, 1_020]);
  });

  test("what was written counts as well as a PINGREQ", () => {
    const everyMinute = Array.from({ length: 20 }, (_, i) => 50 * (i + 1));
    expect(pingsOf(60, 300, 1_050, everyMinute)).toEqual([]);
    expect(pingsOf(60, 300, 400, [50])).toEqual([110, 230]);
  });

  test("nobody is silent for longer than the broker was told", () => {
    const written = [7, 100, 399, 400, 1_001, 1_500];
    const said = [...pingsOf(60, 400, 3_000, written), ...written].sort((a, b) => a - b);
    const pauses = said.map((at, i) => at - (said[i - 1] ?? 0));
    expect(Math.max(...pauses)).toBe(400);
  });

  test("the broker's own keep alive is shorter: from the beginning on", () => {
    expect(pingsOf(60, 20, 70)).toEqual([20, 40, 60]);
  });
});
