import { availableParallelism } from "node:os";
import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";

const { env } = process;
/** Factor on the time limits of the Bluetooth tests, for slow machines. */
const patience = Number(env["PATIENCE"] ?? 1);

/** One after another: each file uses programs, ports or the whole machine. */
const inTurn = { fileParallelism: false } as const;
/** Vitest leaves a core free: on two cores that would be one file after another. These wait for no clock but a virtual one. */
const sideBySide = { maxWorkers: Math.max(2, availableParallelism() - 1) } as const;

const minutesLong = ["test/hardware/{minutes,simulated}.test.ts"];

/** The kinds of tests, by the folder of `test/` each has. `npm test` runs the first three: they need nothing but Node. */
const kinds: Record<string, TestProjectInlineConfiguration["test"]> = {
  unit: {
    ...sideBySide,
    include: ["test/{unit,vectors,conformance,property,architecture}/**/*.test.ts"],
    testTimeout: 60_000,
  },
  /** The whole gateway on virtual time. SIM_FIRST, SIM_SEEDS, SIM_TRACE: see test/simulation/README.md. */
  simulation: { ...sideBySide, include: ["test/simulation/**/*.test.ts"], testTimeout: 120_000 },
  /** Whole gateways in real time. They mostly wait, so two files at a time leave enough of two cores. */
  e2e: { ...sideBySide, include: ["test/e2e/**/*.test.ts"], testTimeout: 60_000 },
  /** Against programs that nobody here wrote: see CONTRIBUTING.md for what must be there. */
  interop: {
    ...inTurn,
    include: ["test/interop/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxConcurrency: 16,
  },
  /** With emulated Bluetooth controllers, built into .cache/tools. SOAK=1: the long runs with figures (npm run soak:ble). */
  ble: {
    ...inTurn,
    include: env["SOAK"]
      ? ["test/ble/soak.ts", "test/ble/throughput.ts", "test/ble/busy.ts"]
      : ["test/ble/**/*.test.ts"],
    testTimeout: 120_000 * patience,
    hookTimeout: 120_000 * patience,
  },
  /** The device side: C, built for this machine, against the real gateway. Needs a C compiler. */
  hardware: {
    ...inTurn,
    include: ["test/hardware/**/*.test.ts"],
    exclude: minutesLong,
    testTimeout: 120_000,
    hookTimeout: 300_000,
  },
  /** Two of them take minutes: one waits in real time, and one computes. */
  "hardware-minutes": {
    include: minutesLong,
    maxWorkers: 2,
    sequence: { groupOrder: 1 },
    globalSetup: "test/hardware/made.ts",
    testTimeout: 120_000,
    hookTimeout: 300_000,
  },
  /** The page in a real Chromium: an installed one, or Debian's, unpacked into .cache/tools. */
  console: { ...inTurn, include: ["test/console/**/*.test.ts"], testTimeout: 60_000, hookTimeout: 120_000 },
  /** The real gateway, killed again and again. ROUNDS=2000 for the long version. */
  crash: { ...inTurn, include: ["test/crash/**/*.test.ts"], hookTimeout: 60_000, maxConcurrency: 3 },
  /** The bench on a small scale; with BENCH set, the bench (npm run bench). Both need a C compiler and mosquitto. */
  bench: {
    include: env["BENCH"] ? [`test/bench/${env["BENCH"] === "quick" ? "quick" : "run"}.ts`] : ["test/bench/*.test.ts"],
    testTimeout: env["BENCH"] ? 7_200_000 : 30_000,
    hookTimeout: 30_000,
    disableConsoleIntercept: true,
  },
};

/** The short way round, without processes of its own: npm run test:quick. */
const quick: typeof kinds = {
  quick: {
    include: ["test/{unit,vectors,property,architecture}/**/*.test.ts", "test/simulation/simulation.test.ts"],
    exclude: [
      "test/unit/upstream/password-command.test.ts", // starts programs
      // A quarter of a second of CPU each, or more; of what is on the way of a message, half a second.
      "test/property/{capture-file,filter-index,mqtt-packets,payloads,secure,store-records}.test.ts",
      "test/unit/{check,console-answers,console-api,console-ingress,console-tokens,control,documented-commands}.test.ts",
      "test/unit/{fleet-deployment,managed,observe,operator,pair-deployment,payloads,secure-store,settings,topic-rights}.test.ts",
      "test/unit/cli/{doctor-machine,manual,try-device}.test.ts",
      "test/unit/core/{asked-again,check,lanes,limits,moved,parked-tools,poison,poison-shared}.test.ts",
      "test/unit/core/{suspects-trial,topic-rights}.test.ts",
      "test/unit/fleet/{between,dropped-gateway,front,shard,way-in}.test.ts",
      "test/unit/home-assistant/{home,add-on}.test.ts",
      "test/unit/payload/bthome.test.ts",
      "test/unit/runtime/tap.test.ts",
      "test/unit/script/sandbox.test.ts",
      "test/unit/secure/{certificates,context,flood,handshake}.test.ts",
      "test/unit/storage/lease.test.ts",
      "test/unit/transports/{dtls-certificates,dtls-flood,udp-batch}.test.ts",
      "test/unit/transports/ble/hub.test.ts",
    ],
    setupFiles: ["test/helpers/few-runs.ts"],
    isolate: false,
    // What runs for so short is not worth compiling twice: a fifth of the CPU went there.
    execArgv: ["--interrupt-budget=1000000", "--sparkplug", "--max-semi-space-size=64"],
    testTimeout: 60_000,
  },
};

export default defineConfig({
  test: {
    projects: Object.entries(env["QUICK"] ? quick : kinds).map(([name, test]) => ({ test: { ...test, name } })),
    // What was compiled for one run is there for the next, found by its content: the virtual machine of the Bluetooth tests
    // would spend a minute on it.
    experimental: { fsModuleCache: true },
  },
});
