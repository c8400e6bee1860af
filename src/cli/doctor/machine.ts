/** Checks the machine's resources for the gateway: ports, buffers, clock, disk, unit. */
import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from "node:fs";
import { createServer, isIPv6 } from "node:net";
import { dirname, join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import type { GatewayConfig } from "../../config/schema.ts";
import { WallClock } from "../../runtime/wall-clock.ts";
import { loadHciNative, readAdapters } from "../../transports/ble/hci-native.ts";
import { inspectSystem } from "../../transports/ble/system.ts";
import { codeOf, doubtful, type Finding, messageOf, ok, skipped, wrong } from "./finding.ts";
import { lookAtRedis } from "./redis.ts";

type Transport = GatewayConfig["transports"][number];

/**
 * `isRunning`: a gateway with this store answers, so it uses the ports itself. `root`: the folder of /sys, /proc and
 * /usr of this machine.
 */
export async function lookAtTransport(transport: Transport, isRunning: boolean, root = "/"): Promise<Finding[]> {
  if (transport.type === "udp" || transport.type === "dtls") return lookAtUdp(transport, isRunning);
  const about = `transport ${transport.name}`;
  if (transport.type === "serial") {
    // Rights and lines that are not there are found with the configuration's files.
    return transport.ports.filter((line) => existsSync(line)).map((line) => ok(about, `${line} is there`));
  }
  const { adapter, channel } = transport;
  const wishes = { needsAdmin: channel === "user", adapter, known: readAdapters(loadHciNative()) };
  return inspectSystem(root, wishes).map(({ ok: isOk, what, hint }) => {
    if (!isOk) return wrong(about, what, hint ?? "see: mqtt-sn-gateway ble check");
    return hint === undefined ? ok(about, what) : doubtful(about, what, hint);
  });
}

async function lookAtUdp(
  transport: Extract<Transport, { type: "udp" | "dtls" }>,
  isRunning: boolean,
): Promise<Finding[]> {
  const about = `transport ${transport.name}`;
  const { host, port, receiveBufferBytes } = transport;
  const place = `UDP ${host}:${port}`;
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  try {
    const bound = once(socket, "listening");
    socket.bind({ port: isRunning ? 0 : port, address: host, exclusive: true });
    await bound;
    const found = [ok(about, isRunning ? `${place} is the running gateway's` : `${place} is free`)];
    socket.setRecvBufferSize(receiveBufferBytes);
    const got = socket.getRecvBufferSize() / 2; // Linux reports twice what it lets a program use
    found.push(
      got >= receiveBufferBytes
        ? ok(about, `the kernel gives a receive buffer of ${got} octets`)
        : doubtful(
            about,
            `the kernel gives a receive buffer of ${got} octets instead of ${receiveBufferBytes}: bursts may be lost`,
            `sudo sysctl -w net.core.rmem_max=${receiveBufferBytes}`,
          ),
    );
    return found;
  } catch (error) {
    return [wrong(about, `${place}: ${inWords(error)}`, hintOf(error, port, `sudo ss -lunp 'sport = :${port}'`))];
  } finally {
    socket.close();
  }
}

export async function lookAtApi({ api }: GatewayConfig, isRunning: boolean): Promise<Finding[]> {
  const about = "health and metrics";
  if (!api.enabled) return [skipped(about, "switched off by api.enabled")];
  const place = `TCP ${api.host}:${api.port}`;
  if (isRunning) return [ok(about, `${place} is the running gateway's`)];
  const server = createServer();
  try {
    const listening = once(server, "listening");
    server.listen(api.port, api.host);
    await listening;
    return [ok(about, `${place} is free`)];
  } catch (error) {
    return [
      doubtful(
        about,
        `${place}: ${inWords(error)}; the gateway would run without it`,
        hintOf(error, api.port, `sudo ss -ltnp 'sport = :${api.port}'`),
      ),
    ];
  } finally {
    if (server.listening) server.close();
  }
}

function inWords(error: unknown): string {
  switch (codeOf(error)) {
    case "EADDRINUSE":
      return "another program has this port";
    case "EACCES":
      return "no right to this port";
    case "EADDRNOTAVAIL":
      return "this machine does not have this address";
    default:
      return messageOf(error);
  }
}

function hintOf(error: unknown, port: number, who: string): string {
  switch (codeOf(error)) {
    case "EADDRINUSE":
      return `to see which: ${who}; end it, or choose another port`;
    case "EACCES":
      return `choose a port above 1023 instead of ${port}, or give the service AmbientCapabilities=CAP_NET_BIND_SERVICE`;
    case "EADDRNOTAVAIL":
      return "see: ip address; or choose 0.0.0.0";
    default:
      return "see docs/guide/errors.md";
  }
}

export function lookAtClock(clock = new WallClock()): Finding {
  const says = new Date(clock.now()).toISOString();
  if (clock.trusted() !== undefined) return ok("clock", `it says ${says}`);
  return wrong(
    "clock",
    `it says ${says}, and was not set: certificates cannot be checked`,
    "sudo timedatectl set-ntp true; or: sudo date -u -s TIME",
  );
}

/** With less free space than this, the disk is nearly full. */
const freeBytesMin = 100 * 2 ** 20;
const commits = 15;
/** If a commit takes longer than this, every acknowledgement is late. */
const commitMsMax = 100;

/** `measured`: free octets in a folder, and the time for a commit there. */
export async function lookAtStore(config: GatewayConfig, measured = measuredOnDisk): Promise<Finding[]> {
  return config.store.kind === "redis" ? lookAtRedis(config.store) : lookAtDisk(config, measured);
}

interface Measured {
  freeBytes(folder: string): number;
  commitMs(folder: string): number;
}

const measuredOnDisk: Measured = {
  freeBytes: (folder) => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  },
  commitMs,
};

function lookAtDisk({ store }: GatewayConfig, measured: Measured): Finding[] {
  const about = "store";
  if (store.kind === "memory") return [skipped(about, "nothing is stored on disk (store.kind)")];
  let folder = resolve(store.folder);
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  if (!statSync(folder).isDirectory()) return []; // reported together with the configuration's files
  try {
    const free = measured.freeBytes(folder);
    const megabytes = Math.round(free / 2 ** 20);
    const space =
      free >= freeBytesMin
        ? ok(about, `${megabytes} MB are free in ${folder}`)
        : wrong(
            about,
            `only ${megabytes} MB are free in ${folder}`,
            `make room; see: sudo du -xh --max-depth=2 ${folder} | sort -h`,
          );
    const ms = measured.commitMs(folder);
    const speed =
      ms <= commitMsMax
        ? ok(about, `a commit takes ${ms.toFixed(1)} ms there`)
        : doubtful(
            about,
            `a commit takes ${ms.toFixed(0)} ms there: acknowledgements at QoS 1 and 2 are delayed by this time`,
            'choose a faster disk for store.folder, or "groupMilliseconds": 100 for fewer commits',
          );
    return [space, speed];
  } catch (error) {
    return [
      wrong(
        about,
        `nothing can be written in ${folder}: ${messageOf(error)}`,
        "name another store.folder, or see: df -h; mount | grep ro,",
      ),
    ];
  }
}

/** The median time of some commits, made as the store makes them: written, and flushed to the disk. */
function commitMs(folder: string): number {
  const own = mkdtempSync(join(folder, ".doctor-"));
  try {
    const file = openSync(join(own, "commit"), "w");
    const took: number[] = [];
    try {
      for (let i = 0; i < commits; i++) {
        const from = performance.now();
        writeSync(file, Buffer.alloc(512, i));
        fsyncSync(file);
        took.push(performance.now() - from);
      }
    } finally {
      closeSync(file);
    }
    return took.sort((a, b) => a - b)[Math.floor(commits / 2)] ?? 0;
  } finally {
    rmSync(own, { recursive: true, force: true });
  }
}

const unit = "mqtt-sn-gateway";

/** `show`: the output of `systemctl show` for the unit; undefined: systemd does not run. */
export async function lookAtUnit(show = systemctlShow): Promise<Finding> {
  const text = await show();
  if (text === undefined) return skipped("unit", "systemd does not run here");
  const facts = new Map(text.split("\n").map((line) => [line.split("=")[0] ?? "", line.slice(line.indexOf("=") + 1)]));
  if (facts.get("LoadState") !== "loaded") return skipped("unit", `there is no service ${unit}`);
  const state = `${unit} is ${facts.get("ActiveState")} (${facts.get("SubState")}), started again ${facts.get("NRestarts")} times`;
  if (facts.get("ActiveState") !== "active")
    return wrong("unit", state, `journalctl -u ${unit} -n 50; then: sudo systemctl restart ${unit}`);
  if (Number(facts.get("NRestarts")) > 3) return doubtful("unit", state, `journalctl -u ${unit} -p warning -n 50`);
  if (facts.get("UnitFileState") === "disabled")
    return doubtful("unit", `${state}; it does not start with the machine`, `sudo systemctl enable ${unit}`);
  return ok("unit", state);
}

async function systemctlShow(): Promise<string | undefined> {
  if (!existsSync("/run/systemd/system")) return undefined;
  return new Promise<string>((done) =>
    execFile(
      "systemctl",
      ["show", unit, "-p", "LoadState,ActiveState,SubState,NRestarts,UnitFileState"],
      { timeout: 5_000 },
      (_error, out) => done(out),
    ),
  );
}
