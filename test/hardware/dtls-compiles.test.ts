/** What is compiled only, of what hardware/ has for a device with a key: the files for an ESP32, the README's example and its sizes. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findCompiler, measurePort } from "../../hardware/device/size.mjs";
import { findMbedtls } from "../helpers/find-mbedtls.mjs";
import { hardware, missingCompiler } from "./compiler.ts";

/** The part of ESP-IDF that these files use. */
const espHeaders = {
  "sdkconfig.h": `
    #define CONFIG_SENSOR_ID "barn-1"
    #define CONFIG_SENSOR_KEY "00112233445566778899aabbccddeeff"
    #define CONFIG_SENSOR_GATEWAY "192.0.2.1"
    #define CONFIG_SENSOR_PORT 8883
  `,
  "esp_log.h": `
    void esp_said(const char *tag, const char *format, ...);
    #define ESP_LOGE(...) esp_said(__VA_ARGS__)
    #define ESP_LOGW(...) esp_said(__VA_ARGS__)
    #define ESP_LOGI(...) esp_said(__VA_ARGS__)
  `,
  "esp_random.h": "#include <stddef.h>\nvoid esp_fill_random(void *to, size_t count);\n",
  "esp_timer.h": "#include <stdint.h>\nint64_t esp_timer_get_time(void);\n",
};

const readme = () => readFileSync(join(hardware, "device/README.md"), "utf8");

const arm = findCompiler();
const noArm = "missing" in arm ? ` (skipped: ${arm.missing})` : "";
if (noArm !== "" && process.env["CI"]) throw new Error(noArm);
const noCompiler = missingCompiler();
const found = noCompiler === undefined ? findMbedtls("trixie") : { missing: noCompiler };
const missing = "missing" in found ? found.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);
const named = missing === undefined ? "" : ` (skipped: ${missing})`;

describe.skipIf(missing !== undefined)(`for a device with a key${named}`, () => {
  const compiles = (words: readonly string[], input?: string) => {
    const folders = ["device/include", "device/ports"].flatMap((each) => ["-I", join(hardware, each)]);
    const system = "missing" in found ? [] : ["-isystem", found.include];
    const all = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsyntax-only", ...folders, ...system, ...words];
    const run = spawnSync("cc", all, { encoding: "utf8", input });
    expect(run.stderr).toBe("");
    expect(run.status).toBe(0);
  };

  test("what of the ESP32's two sensors needs no ESP-IDF compiles without a warning", ({ onTestFinished }) => {
    const stubs = mkdtempSync(join(tmpdir(), "esp-"));
    onTestFinished(() => rmSync(stubs, { recursive: true }));
    for (const [name, text] of Object.entries(espHeaders)) writeFileSync(join(stubs, name), text);
    const folders = [stubs, ...["esp32-udp-sensor/main", "sensor/app"].map((each) => join(hardware, each))];
    const includes = folders.flatMap((each) => ["-I", each]);
    for (const file of ["esp32-udp-sensor/main/udp.c", "esp32-dtls-sensor/main/dtls.c", "sensor/app/secure_link.c"])
      compiles(["-std=gnu17", ...includes, join(hardware, file)]);
  });

  test("the example with a key in README.md compiles without a warning", () => {
    const examples = readme().match(/```c\n[\s\S]*?```/g) ?? [];
    const example = examples.find((each) => each.includes("mqttsn_dtls.h")) ?? "";
    expect(example.split("\n").length).toBeGreaterThan(30);
    compiles(["-std=c99", "-Wpedantic", "-xc", "-"], example.replaceAll("```c", "").replaceAll("```", ""));
  });

  test.skipIf(noArm !== "")(`the port's sizes in README.md are those of today, flash within 3 %${noArm}`, () => {
    if ("missing" in arm) throw new Error(arm.missing);
    const { text, ram } = measurePort(arm, "missing" in found ? "" : found.include);
    const said = (what: string) => Number(new RegExp(`${what}[^\\n]*\\| \\*\\*(\\d+)`).exec(readme())?.[1]);
    expect(Math.abs(said("flash, the port") / text - 1)).toBeLessThan(0.03);
    expect(said("RAM for a device")).toBe(ram);
  });
});
