import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { ownConfigFile } from "../../src/cli/own-config.ts";

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

test("the variable names it, else it lies here, else there is none", () => {
  const folder = mkdtempSync(join(tmpdir(), "own-config-"));
  const before = process.cwd();
  try {
    process.chdir(folder);
    vi.stubEnv("MQTT_SN_GATEWAY_CONFIG", "");
    expect(ownConfigFile()).toBeUndefined();
    writeFileSync("gateway.config.json", "{}");
    expect(ownConfigFile()).toBe("gateway.config.json");
    vi.stubEnv("MQTT_SN_GATEWAY_CONFIG", "/etc/mqtt-sn-gateway/gateway.config.json");
    expect(ownConfigFile()).toBe("/etc/mqtt-sn-gateway/gateway.config.json");
  } finally {
    process.chdir(before);
    rmSync(folder, { recursive: true });
  }
});
