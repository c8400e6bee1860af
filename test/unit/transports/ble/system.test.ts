/** What `ble check` reads of a system, on made-up systems. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { inspectSystem } from "../../../../src/transports/ble/system.ts";

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
