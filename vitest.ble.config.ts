import { defineConfig } from "vitest/config";

const patience = Number(process.env["PATIENCE"] ?? 1);

/** With emulated Bluetooth controllers; what they need is built into .cache/tools: see CONTRIBUTING.md. */
export default defineConfig({
  test: {
    // The long runs with figures: npm run soak:ble.
    include: process.env["SOAK"] ? ["test/ble/soak.ts", "test/ble/throughput.ts"] : ["test/ble/**/*.test.ts"],
    testTimeout: 120_000 * patience,
    hookTimeout: 120_000 * patience,
    fileParallelism: false,
  },
});
