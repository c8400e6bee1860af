/** What `ble check` reads of a system, on made-up systems. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { inspectSystem, type Wishes } from "../../../../src/transports/ble/system.ts";

const roots: string[] = [];
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true });
});

function system(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), "system-"));
  roots.push(root);
  mkdirSync(join(root, "proc"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

const rawOnly = "Name:\tnode\nCapEff:\t0000000000002000\n";
const say = (root: string, needsAdmin = false) =>
  inspectSystem(root, { needsAdmin }).map(({ ok, what, hint }) => `${ok} ${what} ${hint ?? ""}`);

test("all is well", () => {
  const root = system({
    "sys/class/bluetooth/hci0/address": "",
    "sys/class/bluetooth/hci0:64/address": "",
    "sys/class/rfkill/rfkill0/type": "wlan\n",
    "sys/class/rfkill/rfkill1/type": "bluetooth\n",
    "sys/class/rfkill/rfkill1/name": "hci0\n",
    "sys/class/rfkill/rfkill1/soft": "0\n",
    "sys/class/rfkill/rfkill1/hard": "0\n",
    "proc/self/status": rawOnly,
  });
  const lines = say(root);
  expect(lines.every((line) => line.startsWith("true"))).toBe(true);
  expect(lines[0]).toBe("true adapters: hci0 ");
  expect(say(root, true).join("\n")).toMatch(/false the right cap_net_raw,cap_net_admin is missing sudo setcap/);
});

test("nothing is there", () => {
  expect(say(system({})).join("\n")).toMatch(
    /false the kernel has no Bluetooth .*\nfalse the right cap_net_raw is missing/,
  );
  expect(say(system({ "sys/class/bluetooth/x": "" }))[0]).toMatch(/false there is no adapter plug one in/);
});

test("blocked, switched off, bluetoothd beside us", () => {
  const blocked = (soft: string, hard: string) =>
    system({
      "sys/class/bluetooth/hci0/address": "",
      "sys/class/rfkill/rfkill1/type": "bluetooth\n",
      "sys/class/rfkill/rfkill1/name": "hci0\n",
      "sys/class/rfkill/rfkill1/soft": soft,
      "sys/class/rfkill/rfkill1/hard": hard,
      "proc/self/status": rawOnly,
      "proc/812/comm": "bluetoothd\n",
    });
  expect(say(blocked("1", "0")).join("\n")).toMatch(/false hci0 is blocked sudo rfkill unblock bluetooth/);
  expect(say(blocked("0", "1")).join("\n")).toMatch(/false hci0 is switched off by a switch/);
  expect(say(blocked("0", "0")).join("\n")).toMatch(/true bluetoothd is running.*systemctl stop bluetooth/);
});

describe("up or down, as the kernel says", () => {
  const adapters = [
    { name: "hci0", address: "00:00:00:00:00:01", isUp: false },
    { name: "hci1", address: "00:00:00:00:00:02", isUp: true },
  ];
  const lines = (wishes: Partial<Wishes>) =>
    inspectSystem(system({ "sys/class/bluetooth/hci0/x": "" }), { needsAdmin: false, ...wishes })
      .filter(({ what }) => /hci\d (\(|is not)|cannot be read/.test(what))
      .map(({ ok, what, hint }) => `${ok} ${what} ${hint ?? ""}`.trim());

  test("one that fits is enough", () => {
    expect(lines({ known: adapters })).toEqual([
      "true hci0 (00:00:00:00:00:01) is down",
      "true hci1 (00:00:00:00:00:02) is up",
    ]);
    expect(lines({ known: adapters, needsAdmin: true }).every((line) => line.startsWith("true"))).toBe(true);
  });

  test("the chosen one is named, with what to type", () => {
    expect(lines({ known: adapters, adapter: 0 })).toEqual([
      "false hci0 (00:00:00:00:00:01) is down the channel raw needs it up: sudo hciconfig hci0 up",
    ]);
    expect(lines({ known: adapters, adapter: 1, needsAdmin: true })).toEqual([
      "false hci1 (00:00:00:00:00:02) is up the channel user needs it down: sudo hciconfig hci1 down",
    ]);
    expect(lines({ known: adapters, adapter: 3 })[0]).toMatch(/^false hci3 is not there/);
  });

  test("what cannot be read is not guessed", () => {
    expect(lines({ known: undefined })[0]).toMatch(/^true whether an adapter is up cannot be read here/);
    expect(lines({ known: [] })).toEqual([]);
  });
});
