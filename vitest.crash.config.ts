import { defineConfig } from "vitest/config";

/** The real gateway, killed again and again. ROUNDS=2000 for the long version. */
export default defineConfig({
  test: { include: ["test/crash/**/*.test.ts"], hookTimeout: 60_000, fileParallelism: false, maxConcurrency: 3 },
});
