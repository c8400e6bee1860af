/**
 * The built gateway under load, configured by the JSON in its argument. Its parent asks for its memory after a forced
 * garbage collection (node --expose-gc), and ends it by closing the channel.
 */
import { parseConfig } from "../../dist/config/load.js";
import { Gateway } from "../../dist/gateway.js";
import { createLog } from "../../dist/observe/log.js";

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
