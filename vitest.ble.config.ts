import { defineConfig } from "vitest/config";

/** With emulated Bluetooth controllers; what they need is built into .cache/tools: see CONTRIBUTING.md. */
export default defineConfig({
  test: { include: ["test/ble/**/*.test.ts"], testTimeout: 120_000, hookTimeout: 120_000, fileParallelism: false },
});
