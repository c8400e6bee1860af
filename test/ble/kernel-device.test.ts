/**
 * Encrypted links with a device whose pairing is from another project: Linux's own Security Manager is the device, in the virtual machine,
 * and the gateway has an emulated controller of the same btvirt. This file starts the machine, and runs in it. It takes minutes on a busy
 * computer, so it runs only on request: VM_DEVICE=1 npx vitest run --project ble test/ble/kernel-device.test.ts
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { missingCompiler } from "../hardware/compiler.ts";
import { findMosquitto } from "../helpers/mosquitto.ts";
import { until } from "../helpers/test-gateway.ts";
import { findBtvirt } from "./lab/find-btvirt.mjs";
import { findVm } from "./lab/find-vm.mjs";
import { BleLab } from "./lab/lab.ts";
import { runInVm } from "./lab/run-vm.ts";

const limitMs = 300_000 * Number(process.env["PATIENCE"] ?? 1);
const index = process.env["BLE_LAB_INDEX"];
const program = process.env["BLE_LAB_DEVICE"] ?? "";
const inside = index !== undefined;
const cases = 5;

const isChosen = !inside && process.env["VM_DEVICE"] !== undefined;
const [vm, btvirt, mosquitto] = isChosen ? [findVm(), findBtvirt(), findMosquitto()] : [];
const compiler = isChosen ? missingCompiler() : undefined;
const missing = [vm, btvirt, mosquitto, compiler === undefined ? undefined : { missing: compiler }]
  .flatMap((each) => (each && "missing" in each ? [each.missing] : []))
  .concat(isChosen || inside ? [] : ["VM_DEVICE=1 runs it"])
  .join("; ");
if (isChosen && missing !== "" && process.env["CI"]) throw new Error(missing);

test.skipIf(inside || missing !== "")(
  `Linux is the device that is paired with, in a virtual machine${missing === "" ? "" : ` (skipped: ${missing})`}`,
  async () => {
    if (!vm || "missing" in vm || !btvirt || "missing" in btvirt) return;
    const folder = mkdtempSync(join(tmpdir(), "kernel-device-"));
    const built = join(folder, "kernel-device");
    const source = join(import.meta.dirname, "lab/kernel-device.c");
    execFileSync("cc", ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", built, source], { stdio: "pipe" });
    const script = `
export HOME=/root TERM=dumb PATH=${process.execPath.replace(/\/[^/]*$/, "")}:$PATH CI=${process.env["CI"] ?? ""}
mkdir /run/air
cd /run/air
setsid ${btvirt.path} -L -l1 -s >/mnt/job/btvirt.log 2>&1 &
for i in $(seq 100); do name=$(ls /sys/class/bluetooth); [ "$name" ] && break; sleep 0.1; done
cd ${resolve(import.meta.dirname, "../..")}
rm -f node_modules/.vite/vitest/*/results.json
export BLE_LAB_AIR=/run/air/bt-server-le BLE_LAB_INDEX=\${name#hci} BLE_LAB_DEVICE=${built} PATIENCE=6
export BLE_DRIVER=${process.env["BLE_DRIVER"] ?? ""} TEST_LOG=${process.env["TEST_LOG"] ?? "silent"}
node node_modules/vitest/vitest.mjs run --project ble --root . test/ble/kernel-device.test.ts --reporter=verbose 2>&1 | cat
exit \${PIPESTATUS[0]}
`;
    const { output, exit, said, forget } = await runInVm(vm, script, limitMs);
    rmSync(folder, { recursive: true });
    console.log(output);
    expect(exit, said).toBe("0");
    expect(output).toMatch(new RegExp(`Tests .*${cases} passed`));
    forget();
  },
  limitMs + 20_000,
);

describe.runIf(inside)("Linux is the device", () => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  const io = { keyboardOnly: "2", noInputNoOutput: "3" } as const;
  const digits = "012345";

  /** The kernel advertises as `kernel`, and says what happens. */
  async function kernel(ability: keyof typeof io, secure: boolean): Promise<{ child: ChildProcess; said: string[] }> {
    const child = spawn(program, [index ?? "", io[ability], secure ? "1" : "0", digits, "kernel"]);
    const gone = new Promise((done) => child.once("exit", done));
    open.push({
      close: async () => {
        child.kill();
        await gone;
      },
    });
    const said: string[] = [];
    child.stdout.on("data", (text) => said.push(...String(text).trim().split("\n")));
    child.stderr.on("data", (text) => said.push(`error: ${text}`));
    await until("it advertises", () => said.includes("advertises"));
    return { child, said };
  }

  async function gateway(pairing: "just-works" | "passkey", passkey = digits): Promise<BleLab> {
    const folder = mkdtempSync(join(tmpdir(), "passkey-"));
    open.push({ close: () => rmSync(folder, { recursive: true }) });
    writeFileSync(join(folder, "passkey"), passkey);
    const bonding = pairing === "passkey" ? { passkey: { file: join(folder, "passkey") } } : {};
    const lab = await BleLab.start({ pairing, bonding });
    open.push(lab);
    return lab;
  }

  const count = (said: readonly string[], what: string) => said.filter((line) => line.startsWith(what)).length;

  test.each([
    ["just works, LE Secure Connections", "just-works", true, /paired without a passkey .*LE Secure Connections/],
    ["just works, legacy pairing", "just-works", false, /paired without a passkey .*legacy pairing/],
    ["a passkey, LE Secure Connections", "passkey", true, /paired with its passkey, by LE Secure Connections/],
    ["a passkey, legacy pairing", "passkey", false, /paired with its passkey, by legacy pairing/],
  ] as const)("%s; by the bond at its next link", async (_, pairing, secure, words) => {
    const lab = await gateway(pairing);
    const { child, said } = await kernel(pairing === "passkey" ? "keyboardOnly" : "noInputNoOutput", secure);
    const tell = () => `${said.join("\n")}\n${lab.logged().join("\n")}`;
    await until("CONNACK", () => said.includes("answered 0305")).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${tell()}`);
    });
    expect(lab.logged().join("\n")).toMatch(words);
    expect(lab.session("kernel")?.state).toBe("active");
    const keys = count(said, "key");
    expect(keys, tell()).toBeGreaterThan(0);
    child.stdin?.write("hang up\n");
    await until("its second link", () => count(said, "answered 0305") === 2).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${tell()}`);
    });
    expect(count(said, "key"), tell()).toBe(keys);
    expect(lab.gateway.links()[0]?.counters["bonded"]).toBe(1);
  });

  test("a passkey that is wrong: said on both sides, and no session", async () => {
    const lab = await gateway("passkey", "999999");
    const { said } = await kernel("keyboardOnly", true);
    await until("it says so", () => lab.logged().some((line) => /the passkey is wrong/.test(line)));
    await until("Linux says so", () => count(said, "not paired") > 0);
    expect(lab.session("kernel")).toBeUndefined();
  });
});
