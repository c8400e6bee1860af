import { defineConfig } from "vitest/config";

/** The bench on a small scale; with BENCH set, the bench (npm run bench). Both need a C compiler and mosquitto. */
export default defineConfig({
  test: {
    include: process.env["BENCH"] ? ["test/bench/run.ts"] : ["test/bench/*.test.ts"],
    testTimeout: process.env["BENCH"] ? 7_200_000 : 30_000,
    hookTimeout: 30_000,
    disableConsoleIntercept: true,
  },
});
