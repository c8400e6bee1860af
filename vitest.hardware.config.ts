import { defineConfig } from "vitest/config";

/** The device side: C, built for this machine, against the real gateway. Needs a C compiler. */
export default defineConfig({
  test: {
    include: ["test/hardware/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 300_000,
    fileParallelism: false,
  },
});
