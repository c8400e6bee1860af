/**
 * The built gateway under load, configured by the JSON in its argument. Its parent asks for its memory after a forced
 * garbage collection (node --expose-gc), and ends it by closing the channel. BENCH_BURDEN=turns makes it slower on purpose,
 * by a loop before each input of the core: `npm run bench:quick -- --plant 15` must see that.
 */
import { parseConfig } from "../../dist/config/load.js";
import { Gateway } from "../../dist/gateway.js";
import { createLog } from "../../dist/observe/log.js";
import { Driver } from "../../dist/runtime/driver.js";

const burden = Number(process.env.BENCH_BURDEN ?? 0);
/** Answers something, or the compiler would leave the loop out. */
function carry(turns) {
  let idle = 1;
  for (let i = 0; i < turns; i++) idle = (Math.imul(idle, 1103515245) + 12345) | 0;
  return idle;
}
if (burden > 0) {
  const { handle } = Driver.prototype;
  Driver.prototype.handle = function burdened(input) {
    if (carry(burden) === 0) throw new Error("never");
    handle.call(this, input);
  };
}

const config = parseConfig(JSON.parse(process.argv[2] ?? "{}"));
const gateway = new Gateway(config, await createLog(config.log, 2));
await gateway.start();
process.send({ ready: gateway.places()[0] });
process.on("message", async () => {
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.();
    await new Promise((done) => setTimeout(done, 50));
  }
  process.send({ memory: process.memoryUsage() });
});
process.on("disconnect", () => gateway.stop().then(() => process.exit(0)));
