import { defineConfig } from "vitest/config";

/** Against programs that nobody here wrote. Slower, and they must be there: see CONTRIBUTING.md. */
export default defineConfig({
  test: {
    include: ["test/interop/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    fileParallelism: false,
    maxConcurrency: 16,
  },
});
