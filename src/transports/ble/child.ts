/**
 * The process with the adapter: it gets commands from the gateway, and reports events. It decides nothing, and its
 * state is not needed after its end.
 */
import { performance } from "node:perf_hooks";
import process from "node:process";
import { StallWatch, stallCheckMs } from "../stall-watch.ts";
import type { CentralCommand, ChildOptions, ChildReport } from "./central.ts";
import { loadDriver, loadPackage } from "./driver.ts";
import { DropWatch } from "./drop-watch.ts";
import { loadHciNative } from "./hci-native.ts";
import { missingPiece } from "./missing.ts";
import { NobleCentral } from "./noble-central.ts";

const aliveMs = 1_000;

const stalls = new StallWatch(performance.now());
const drops = new DropWatch(loadHciNative());

function tell(report: ChildReport): void {
  if (report.is === "ready" || report.is === "alive") drops.find();
  noteStall();
  send(report);
}

/** Called before received data are handled, because a buffer may have overflowed. */
function noteStall(): void {
  const ms = stalls.note(performance.now());
  const dropped = drops.take();
  if (ms > 0 || (dropped ?? 0) > 0) send({ is: "stalled", ms, ...(dropped !== undefined && { dropped }) });
}

function send(report: ChildReport): void {
  if (process.connected) process.send?.(report);
}

async function run(options: ChildOptions): Promise<void> {
  // noble leaves promises pending or rejects them when a link ends at the wrong moment.
  process.on("unhandledRejection", (reason) => console.error(`unhandled: ${String(reason)}`));
  process.on("uncaughtException", (error) => {
    const why = missingPiece(error, options.driver);
    if (why !== undefined) return tell({ is: "unavailable", why });
    console.error(`uncaught: ${error.stack ?? error.message}`);
  });
  process.on("disconnect", () => process.exit(0)); // the gateway has ended
  process.on("SIGINT", () => {}); // from the terminal; the gateway ends this process
  process.on("SIGTERM", () => process.exit(0));
  setInterval(noteStall, stallCheckMs);
  let central: NobleCentral | undefined;
  setInterval(() => {
    const { advertisements, addresses } = central ?? { advertisements: 0, addresses: 0 };
    tell({ is: "alive", rssBytes: process.memoryUsage.rss(), advertisements, addresses });
  }, aliveMs);
  const loaded = await loadDriver(options.driver, (driver) => loadPackage(driver, options.extended));
  if ("unavailable" in loaded) return tell({ is: "unavailable", why: loaded.unavailable });
  const { noble, driver, because } = loaded;
  central = new NobleCentral(noble, { ...options, driver }, (report) =>
    tell(report.is === "ready" ? { ...report, driver: `${driver} (${because})` } : report),
  );
  process.on("message", (command) => central?.carryOut(command as CentralCommand));
}

await run(JSON.parse(process.argv[2] ?? "{}") as ChildOptions);
