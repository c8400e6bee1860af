/**
 * Reads from the system's files what Bluetooth needs: adapters, switches, rights, and other programs that use the
 * adapter.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Adapter } from "./hci-native.ts";

export interface Finding {
  readonly ok: boolean;
  readonly what: string;
  /** What to type, or to know. */
  readonly hint?: string;
}

const netAdmin = 12;
const netRaw = 13;

export interface Wishes {
  /** True for the channel user, which needs the adapter to be down; false: the adapter must be up. */
  readonly needsAdmin: boolean;
  /** The number of the adapter; absent: any. */
  readonly adapter?: number | undefined;
  /** The adapters that the kernel lists; undefined: the list cannot be read. */
  readonly known?: readonly Adapter[] | undefined;
}

/** `root`: the directory of the system's files; "/" by default. */
export function inspectSystem(root = "/", wishes: Wishes = { needsAdmin: false }): Finding[] {
  const there = adapters(root);
  const states = there.every(({ ok }) => ok) ? upOrDown(wishes) : [];
  return [...there, ...states, ...switches(root), rights(root, wishes.needsAdmin), ...others(root)];
}

/** Judges only adapters that the kernel has listed. */
function upOrDown({ needsAdmin, adapter, known }: Wishes): Finding[] {
  if (!known) {
    return [
      {
        ok: true,
        what: "whether an adapter is up cannot be read here",
        hint: "native/hci-socket.c was not compiled when this was installed: there was no C compiler, or npm ran no scripts",
      },
    ];
  }
  const chosen = known.filter(({ name }) => adapter === undefined || name === `hci${adapter}`);
  if (chosen.length === 0) {
    if (adapter === undefined) return [];
    return [{ ok: false, what: `hci${adapter} is not there`, hint: "choose another with adapter, or leave that out" }];
  }
  const fits = (isUp: boolean) => isUp !== needsAdmin;
  const anyFits = chosen.some(({ isUp }) => fits(isUp));
  return chosen.map(({ name, address, isUp }) => {
    const what = `${name} (${address}) is ${isUp ? "up" : "down"}`;
    if (fits(isUp) || anyFits) return { ok: true, what };
    const wanted = needsAdmin ? "down" : "up";
    return {
      ok: false,
      what,
      hint: `the channel ${needsAdmin ? "user" : "raw"} needs it ${wanted}: sudo hciconfig ${name} ${wanted}`,
    };
  });
}

function adapters(root: string): Finding[] {
  const folder = join(root, "sys/class/bluetooth");
  if (!existsSync(folder)) {
    return [
      {
        ok: false,
        what: "the kernel has no Bluetooth",
        hint: "sudo modprobe bluetooth; in a container share the host's network",
      },
    ];
  }
  const names = readdirSync(folder).filter((name) => /^hci\d+$/.test(name));
  if (names.length === 0)
    return [{ ok: false, what: "there is no adapter", hint: "plug one in; see: dmesg | grep -i blue" }];
  return [{ ok: true, what: `adapters: ${names.sort().join(", ")}` }];
}

function switches(root: string): Finding[] {
  const folder = join(root, "sys/class/rfkill");
  if (!existsSync(folder)) return [];
  const found: Finding[] = [];
  for (const name of readdirSync(folder)) {
    const read = (file: string) => readText(join(folder, name, file)).trim();
    if (read("type") !== "bluetooth") continue;
    if (read("hard") === "1") {
      found.push({
        ok: false,
        what: `${read("name")} is switched off by a switch of the device`,
        hint: "find the switch",
      });
    } else if (read("soft") === "1") {
      found.push({ ok: false, what: `${read("name")} is blocked`, hint: "sudo rfkill unblock bluetooth" });
    } else found.push({ ok: true, what: `${read("name")} is not blocked` });
  }
  return found;
}

function rights(root: string, needsAdmin: boolean): Finding {
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(readText(join(root, "proc/self/status")))?.[1] ?? "0"}`);
  const has = (bit: number) => (mask & (1n << BigInt(bit))) !== 0n;
  const wanted = needsAdmin ? "cap_net_raw,cap_net_admin" : "cap_net_raw";
  if (has(netRaw) && (!needsAdmin || has(netAdmin))) return { ok: true, what: `the right ${wanted} is there` };
  return {
    ok: false,
    what: `the right ${wanted} is missing`,
    hint: `sudo setcap ${wanted}+eip "$(readlink -f "$(which node)")"`,
  };
}

function others(root: string): Finding[] {
  const proc = join(root, "proc");
  const running = readdirSync(proc).filter(
    (name) => /^\d+$/.test(name) && readText(join(proc, name, "comm")).trim() === "bluetoothd",
  );
  if (running.length === 0) return [{ ok: true, what: "no bluetoothd competes for the adapter" }];
  return [
    {
      ok: true,
      what: "bluetoothd is running; both may use the adapter, but it can end our connections",
      hint: 'if devices drop at once: sudo systemctl stop bluetooth, or "channel": "user" with an adapter of our own',
    },
  ];
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // the file does not exist, or was removed meanwhile
  }
}
