/** Whether the time of day can be trusted, and whether it was set; the system does not tell a process. */
import { describe, expect, test } from "vitest";
import { oldestPlausible, WallClock } from "../../src/runtime/wall-clock.ts";
import { certificateTrouble } from "../../src/upstream/certificate-time.ts";

/** A clock that the test sets; `passes` moves both. */
function made(now: number, heard = true) {
  const state = { now, monotonic: 5_000, heard, asked: 0 };
  const clock = new WallClock({
    now: () => state.now,
    monotonic: () => state.monotonic,
    isSynchronised: () => {
      state.asked++;
      return state.heard;
    },
  });
  let sets = 0;
  const passes = (ms: number) => {
    state.now += ms;
    state.monotonic += ms;
    clock.look(() => sets++);
    return sets;
  };
  return { clock, state, passes };
}

describe("a wall clock", () => {
  test("is not trusted in 1970, and is as soon as it is set", () => {
    const { clock, state, passes } = made(12_000);
    expect(clock.trusted()).toBeUndefined();
    expect(passes(1_000)).toBe(0);
    state.now = oldestPlausible + 86_400_000;
    expect(clock.trusted()).toBe(state.now);
    expect(passes(1_000)).toBe(1);
    expect(passes(1_000)).toBe(1);
  });

  test("a plausible time is not trusted before a time server was heard, where one is to be heard", () => {
    const { clock, state, passes } = made(oldestPlausible + 1, false);
    expect(clock.trusted()).toBeUndefined();
    expect(passes(1_000)).toBe(0);
    state.heard = true;
    expect(passes(1_000)).toBe(1); // the time was right all along, and now this is known
    expect(clock.trusted()).toBe(state.now);
    const { asked } = state;
    passes(60_000);
    expect(state.asked).toBe(asked);
  });

  test("adjusting is not setting; a step in either direction is", () => {
    const { state, passes } = made(oldestPlausible + 1);
    for (let i = 0; i < 100; i++) {
      state.now += 5;
      expect(passes(1_000)).toBe(0);
    }
    state.now += 3_600_000;
    expect(passes(1_000)).toBe(1);
    state.now -= 3_600_000;
    expect(passes(1_000)).toBe(2);
  });
});

describe("a certificate and the time", () => {
  const error = (code: string) => Object.assign(new Error("certificate is not yet valid"), { code });
  const says = (now: number, trusted: number | undefined) => ({ now: () => now, trusted: () => trusted });

  test("under a clock that nobody set: what is wrong, what it says, what to type", () => {
    expect(certificateTrouble(error("CERT_NOT_YET_VALID"), says(12_000, undefined))).toMatch(
      /not valid yet, but the clock of this machine cannot be trusted \(it says 1970-01-01T00:00:12.000Z.*timedatectl set-ntp true/,
    );
  });

  test("under a clock that may be right, both are said", () => {
    expect(certificateTrouble(error("CERT_HAS_EXPIRED"), says(oldestPlausible, oldestPlausible))).toMatch(
      /has expired by the clock of this machine, which says 2026-11-01.*if it is right, the broker needs another/,
    );
  });

  test("other TLS failures are left as they are", () => {
    expect(certificateTrouble(error("SELF_SIGNED_CERT_IN_CHAIN"), says(0, undefined))).toBeUndefined();
  });
});
