import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { makeNamespaces } from "../helpers/namespaces.ts";
import { Processes } from "../helpers/processes.ts";
import { until } from "../helpers/test-gateway.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const deviceScript = join(root, "test/helpers/connected-device.mjs");
const udpPort = 1_883;
/** 20 s of a device, and what a slow machine needs to start the gateway. */
const patienceMs = 60_000;

const namespaces = makeNamespaces({
  gateway: ["10.99.0.1/24", "10.99.0.2/24", "fd99::1/64", "fd99::2/64"],
  device: ["10.99.0.9/24", "fd99::9/64"],
});
if (!namespaces && process.env["CI"]) throw new Error("network namespaces cannot be made: root, and iproute2");
if (!namespaces)
  test.skip("answers leave from the address that the device wrote to: no network namespaces here", () => {});
afterAll(() => namespaces?.remove());

const processes = new Processes("reply-address");

function run([command = "", ...before]: readonly string[], args: readonly string[]) {
  return processes.program(command, [...before, process.execPath, ...args]);
}

/** The shipped command; without the compiled part from a copy of it that has none. */
function mainWith(isCompiled: boolean): string {
  if (isCompiled) return join(root, "dist/main.js");
  const copy = join(processes.folder, "without");
  mkdirSync(copy);
  cpSync(join(root, "dist"), join(copy, "dist"), { recursive: true });
  cpSync(join(root, "package.json"), join(copy, "package.json"));
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  return join(copy, "dist/main.js");
}

describe.skipIf(!namespaces).each([
  ["the compiled part", true],
  ["node:dgram alone", false],
])("with %s", (_how, isCompiled) => {
  async function start(host: string) {
    if (!namespaces) throw new Error("no namespaces");
    writeFileSync(
      join(processes.folder, "gateway.config.json"),
      JSON.stringify({
        // Said only where the compiled part is not there: so it is known which of the two runs here.
        transports: [{ type: "udp", host, port: udpPort, gatherMilliseconds: 1 }],
        tryOutBroker: true,
        upstream: { url: "mqtt://127.0.0.1:1884" },
        api: { enabled: false },
        store: { kind: "memory" },
      }),
    );
    const gateway = run(namespaces.gateway, [mainWith(isCompiled), "start"]);
    await gateway.says("ready");
    expect(gateway.output.text.includes("needs the compiled part")).toBe(!isCompiled);
    const device = (what: string, to: string, clientId: string) =>
      run(namespaces.device, [deviceScript, what, to, String(udpPort), clientId]);
    return { namespaces, device };
  }

  /** Each is connected to its address. What one publishes reaches all of them, some time after their own last message. */
  async function meet(device: Awaited<ReturnType<typeof start>>["device"], hosts: readonly string[]) {
    const listeners = hosts.map((host, i) => device("listen", host, `listener${i}`));
    for (const listener of listeners) await listener.says("SUBACK");
    for (const [i, host] of hosts.entries()) {
      const publisher = device("publish", host, `publisher${i}`);
      await publisher.says("PUBACK");
      for (const listener of listeners) await listener.says(`PUBLISH from publisher${i}`);
    }
  }

  test(
    "IPv4: two addresses of one interface, one that comes later, and a question to all",
    async () => {
      const { namespaces, device } = await start("0.0.0.0");
      await meet(device, ["10.99.0.1", "10.99.0.2"]);
      await device("search", "10.99.0.255", "").says("GWINFO");
      namespaces.ip("addr", "add", "10.99.0.3/24", "dev", "cable");
      try {
        await meet(device, ["10.99.0.3", "10.99.0.2"]);
      } finally {
        namespaces.ip("addr", "del", "10.99.0.3/24", "dev", "cable");
      }
    },
    patienceMs,
  );

  test(
    "IPv6: two addresses of one interface, a link-local one, one that comes later, and a question to all",
    async () => {
      const { namespaces, device } = await start("::");
      await until("a link-local address", () => namespaces.linkLocal() !== "");
      await meet(device, ["fd99::1", "fd99::2", namespaces.linkLocal()]);
      await device("search", "ff02::1%cable", "").says("GWINFO");
      namespaces.ip("addr", "add", "fd99::3/64", "dev", "cable", "nodad");
      try {
        await meet(device, ["fd99::3", "fd99::2"]);
      } finally {
        namespaces.ip("addr", "del", "fd99::3/64", "dev", "cable");
      }
    },
    patienceMs,
  );
});
