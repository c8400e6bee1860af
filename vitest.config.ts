import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/{unit,vectors,conformance,property,architecture,simulation,e2e}/**/*.test.ts"],
    testTimeout: 20_000,
  },
});
