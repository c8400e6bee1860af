/** One run of the virtual machine: a script of bash inside, and what came of it. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { findVm } from "./find-vm.mjs";

type Vm = Exclude<ReturnType<typeof findVm>, { missing: string }>;

export interface VmRun {
  readonly output: string;
  /** The script's exit code; empty: it did not come to its end. */
  readonly exit: string;
  /** What it, the kernel and qemu said. */
  readonly said: string;
  /** A file that the script left in /mnt/job; empty if there is none. */
  read(name: string): string;
  /** Removes what is kept of the run. */
  forget(): void;
}

export async function runInVm(vm: Vm, script: string, limitMs: number): Promise<VmRun> {
  const job = mkdtempSync(join(tmpdir(), "vm-"));
  writeFileSync(join(job, "run"), script);
  const qemu = spawn(
    vm.qemu,
    [
      ...vm.arguments,
      ...["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max", "-smp", "2", "-m", "2048"],
      ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
      ...["-kernel", vm.kernel, "-initrd", vm.initrd],
      ...["-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check random.trust_cpu=on"],
      ...["-serial", `file:${join(job, "kernel.log")}`, "-serial", `file:${join(job, "output")}`],
      ...["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"],
      ...["-virtfs", `local,path=${job},mount_tag=job,security_model=none`, "-device", "virtio-rng-pci"],
    ],
    { env: { ...process.env, ...vm.env }, stdio: ["ignore", "ignore", "pipe"] },
  );
  let complaints = "";
  qemu.stderr.on("data", (text) => {
    complaints += text;
  });
  const timer = setTimeout(() => qemu.kill("SIGKILL"), limitMs);
  await new Promise((done) => qemu.once("exit", done));
  clearTimeout(timer);
  const read = (name: string) => {
    try {
      return readFileSync(join(job, name), "utf8");
    } catch {
      return "";
    }
  };
  return {
    output: read("output"),
    exit: read("exit").trim(),
    said: `${read("output")}\n${read("kernel.log")}\n${complaints}`,
    read,
    forget: () => rmSync(job, { recursive: true }),
  };
}
