/** What doctor says of this machine, one cause at a time: the clock, the disk, the unit, Bluetooth, serial lines. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { lookAtClock, lookAtStore, lookAtTransport, lookAtUnit } from "../../../src/cli/doctor/machine.ts";
import { factsInWords } from "../../../src/cli/doctor/redis.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { WallClock } from "../../../src/runtime/wall-clock.ts";

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "doctor-"));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

test("a clock that nobody has set", () => {
  const clock = (now: number) => lookAtClock(new WallClock({ now: () => now, isSynchronised: () => true }));
  expect(clock(Date.UTC(2026, 10, 28))).toMatchObject({ is: "ok", what: "it says 2026-11-28T00:00:00.000Z" });
  expect(clock(60_000)).toMatchObject({ is: "wrong", hint: expect.stringContaining("timedatectl set-ntp") });
});

describe("the store's folder", () => {
  const at = async (measured: { free: number; ms: number } | Error) => {
    const config = parseConfig({ store: { kind: "disk", folder: join(folder(), "not", "yet") } });
    const found = await lookAtStore(config, {
      freeBytes: () => {
        if (measured instanceof Error) throw measured;
        return measured.free;
      },
      commitMs: () => (measured instanceof Error ? 0 : measured.ms),
    });
    return found.map(({ is, what, hint }) => `${is}: ${what}; ${hint ?? ""}`);
  };

  test("is well", async () => {
    expect(await at({ free: 2 ** 30, ms: 4 })).toEqual([
      expect.stringMatching(/^ok: 1024 MB are free/),
      expect.stringMatching(/^ok: a commit takes 4\.0 ms/),
    ]);
  });

  test("is nearly full", async () => {
    expect((await at({ free: 5 * 2 ** 20, ms: 4 }))[0]).toMatch(/^wrong: only 5 MB are free in .*; make room/);
  });

  test("is on a slow card", async () => {
    expect((await at({ free: 2 ** 30, ms: 350 }))[1]).toMatch(/^doubtful: a commit takes 350 ms .*groupMilliseconds/);
  });

  test("cannot be written", async () => {
    expect(await at(new Error("EROFS: read-only file system"))).toEqual([
      expect.stringMatching(/^wrong: nothing can be written .*EROFS.*; name another store\.folder/),
    ]);
  });
});

test("a server of Redis that is not there, and what one says of itself", async () => {
  const config = parseConfig({ store: { kind: "redis", redis: { url: "redis://127.0.0.1:1" } } });
  expect(await lookAtStore(config)).toEqual([
    expect.objectContaining({ is: "wrong", what: expect.stringMatching(/^redis:\/\/127\.0\.0\.1:1: /) }),
  ]);
  const facts = { server: "a b", isReplica: false, hasLog: true, whenFull: "noeviction" };
  const of = (over: Partial<typeof facts>) => factsInWords({ ...facts, ...over }, "redis://r").map(({ is }) => is);
  expect(of({})).toEqual([]);
  expect(of({ isReplica: true })).toEqual(["wrong"]);
  expect(of({ hasLog: false })).toEqual(["doubtful"]);
  expect(of({ whenFull: "allkeys-lru" })).toEqual(["wrong"]);
  expect(factsInWords(undefined, "redis://r")).toMatchObject([{ is: "doubtful" }]);
});

describe("the unit of systemd", () => {
  const unit = (facts: Record<string, string | number>) =>
    lookAtUnit(async () =>
      Object.entries({
        LoadState: "loaded",
        ActiveState: "active",
        SubState: "running",
        NRestarts: 0,
        UnitFileState: "enabled",
        ...facts,
      })
        .map(([name, value]) => `${name}=${value}`)
        .join("\n"),
    );

  test("runs", async () => {
    expect(await unit({})).toMatchObject({ is: "ok" });
  });

  test("has failed", async () => {
    expect(await unit({ ActiveState: "failed", SubState: "failed", NRestarts: 5 })).toMatchObject({
      is: "wrong",
      what: "mqtt-sn-gateway is failed (failed), started again 5 times",
      hint: expect.stringContaining("journalctl -u mqtt-sn-gateway"),
    });
  });

  test("is started again and again", async () => {
    expect(await unit({ NRestarts: 17 })).toMatchObject({
      is: "doubtful",
      hint: expect.stringContaining("-p warning"),
    });
  });

  test("does not start with the machine", async () => {
    expect(await unit({ UnitFileState: "disabled" })).toMatchObject({
      is: "doubtful",
      hint: "sudo systemctl enable mqtt-sn-gateway",
    });
  });

  test("is not there, or no systemd is", async () => {
    expect(await unit({ LoadState: "not-found" })).toMatchObject({ is: "skipped" });
    expect(await lookAtUnit(async () => undefined)).toMatchObject({ is: "skipped", what: "systemd does not run here" });
  });
});

test("Bluetooth: an adapter that is not there, with what to type", async () => {
  const { transports } = parseConfig({ transports: [{ type: "ble" }] });
  const root = folder();
  mkdirSync(join(root, "proc"));
  const [ble] = transports;
  const found = ble ? await lookAtTransport(ble, false, root) : [];
  expect(found[0]).toEqual({
    is: "wrong",
    about: "transport ble",
    what: "the kernel has no Bluetooth",
    hint: expect.any(String),
  });
  expect(found.every(({ hint }) => hint !== "")).toBe(true);
});

test("a serial line that is there", async () => {
  const line = join(folder(), "ttyACM0");
  writeFileSync(line, "");
  const { transports } = parseConfig({ transports: [{ type: "serial", ports: [line, `${line}-not`] }] });
  const [serial] = transports;
  expect(serial && (await lookAtTransport(serial, false))).toEqual([
    { is: "ok", about: "transport serial", what: `${line} is there` },
  ]);
});
