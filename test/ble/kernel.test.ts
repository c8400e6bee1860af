/**
 * The same runs on a kernel's own Bluetooth: a virtual machine with Debian's kernel, btvirt on /dev/vhci, noble with its
 * native part on hci0. Devices stay on emulated controllers of the same btvirt.
 */
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { findMosquitto } from "../helpers/mosquitto.ts";
import { findBtvirt } from "./lab/find-btvirt.mjs";
import { findVm } from "./lab/find-vm.mjs";
import { runInVm } from "./lab/run-vm.ts";

const limitMs = 600_000 * Number(process.env["PATIENCE"] ?? 1);
/**
 * What is run in there: what the kernel and the native part may make different. VM_TESTS, names with | between them, chooses others;
 * before a release: micro:bit, the largest MTU, link is let go, lost in the middle of a message, kill -9 of the child, broadcast
 * sensors: many, asks for other parameters, channel raw.
 */
const chosen = process.env["VM_TESTS"]?.split("|") ?? [
  "5 devices at once",
  "the adapter is pulled out",
  // Of links.test.ts.
  "QoS 0 to 2 both ways, three devices",
  "is given the parameters",
  "asks for pairing",
  "nobody read in time",
  // Of pairing.test.ts.
  "just works: paired once",
  "with the other driver",
];

const vm = findVm();
const btvirt = findBtvirt();
findMosquitto(); // unpacked here: in there is no network
const missing = [vm, btvirt, native()].flatMap((each) => ("missing" in each ? [each.missing] : [])).join("; ");
if (missing !== "" && process.env["CI"]) throw new Error(missing);

/** noble's native part is there, whether or not this system has Bluetooth. */
function native(): { missing: string } | Record<string, never> {
  try {
    createRequire(import.meta.url)("@abandonware/bluetooth-hci-socket");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    if (code !== "EAFNOSUPPORT")
      return { missing: `noble's native part is not built (${String(error).split("\n")[0]})` };
  }
  return {};
}

test.skipIf(missing !== "")(
  `on the kernel's own Bluetooth, in a virtual machine${missing === "" ? "" : ` (skipped: ${missing})`}`,
  async () => {
    if ("missing" in vm || "missing" in btvirt) return;
    const project = resolve(import.meta.dirname, "../..");
    const script = `
export HOME=/root TERM=dumb PATH=${vm.tools}/bin:${vm.tools}/usr/bin:${process.execPath.replace(/\/[^/]*$/, "")}:$PATH
export LD_LIBRARY_PATH=${vm.tools}/usr/lib/x86_64-linux-gnu CI=${process.env["CI"] ?? ""}
mkdir /run/air /run/other
cat >/run/plug <<'PLUG'
#!/bin/bash
# plug in | plug out: puts the adapter in and pulls it out, with everything that is connected to it
# plug on | plug off: switches it on and off
export LD_LIBRARY_PATH=${vm.tools}/usr/lib/x86_64-linux-gnu
cd /run/air
if [ "$1" = out ]; then
  kill -9 $(cat /run/btvirt.pid); rm -f bt-server-*
  exit 0
fi
name=$(cat /run/adapter 2>/dev/null)
if [ "$1" = off ]; then
  # Who wants an adapter alone takes one that is down: there must be no other.
  if [ -e /run/other.pid ]; then kill -9 $(cat /run/other.pid); rm -f /run/other.pid; fi
  for i in $(seq 50); do [ "$(ls /sys/class/bluetooth)" = "$name" ] && break; sleep 0.1; done
  hciconfig $name down; exit
fi
if [ "$1" = on ]; then hciconfig $name up; exit; fi
if [ -e /run/btvirt.pid ]; then
  # Put back: an adapter that nobody switches on has taken the number that became free.
  (cd /run/other && exec setsid ${btvirt.path} -L -l1) >/dev/null 2>&1 &
  echo $! >/run/other.pid
  for i in $(seq 100); do [ "$(ls /sys/class/bluetooth)" ] && break; sleep 0.1; done
fi
before=$(ls /sys/class/bluetooth)
setsid ${btvirt.path} -L -l1 -s >>/mnt/job/btvirt.log 2>&1 &
echo $! >/run/btvirt.pid
for i in $(seq 100); do
  name=$(ls /sys/class/bluetooth | grep -vxF "\${before:-none}" | head -n 1); [ "$name" ] && break; sleep 0.1
done
for i in $(seq 50); do hciconfig $name up && break; sleep 0.2; done
echo $name >/run/adapter
echo "the adapter is $name" | tee -a /mnt/job/plugs
PLUG
chmod +x /run/plug
/run/plug in
unset LD_LIBRARY_PATH
cd ${project}
rm -f node_modules/.vite/vitest/*/results.json # by the times of an earlier run the files would come in another order
export BLE_LAB_AIR=/run/air/bt-server-le BLE_LAB_PLUG=/run/plug PATIENCE=6 BLE_DRIVER=${process.env["BLE_DRIVER"] ?? ""} TEST_LOG=${process.env["TEST_LOG"] ?? "silent"}
node node_modules/vitest/vitest.mjs run --project ble --root . --no-isolate test/ble/userland.test.ts test/ble/links.test.ts test/ble/hci-socket.test.ts test/ble/pairing.test.ts -t "${chosen.join("|")}" --reporter=verbose --bail 1 2>&1 | cat
exit \${PIPESTATUS[0]}
`;
    const { output, exit, said, read, forget } = await runInVm(vm, script, limitMs);
    console.log(output);
    expect(exit, said).toBe("0");
    expect(output).toMatch(new RegExp(`Tests .*${chosen.length} passed`));
    console.log(read("plugs").trim());
    forget();
  },
  limitMs + 20_000,
);
