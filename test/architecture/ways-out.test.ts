/** Topic rights hold because there is one way out for each thing that leaves, and the right is asked there. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const core = new URL("../../src/core/", import.meta.url);
const files = readdirSync(core, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && name !== "effect.ts")
  .map((name) => [name, readFileSync(new URL(name, core), "utf8")] as const);

test.each([
  ["PUBLISH to a broker", /kind: "publish",\s+linkId/, ["broker/sending.ts"]],
  ["SUBSCRIBE to a broker", /kind: "subscribe",\s+linkId/, ["broker/sending.ts"]],
  ["a connection with a will", /kind: "openLink"/, ["broker/links.ts"]],
  // The time is published only by the gateway itself.
  [
    "PUBLISH to a client",
    /type: "PUBLISH", dup|type: "PUBLISH",\s+dup/,
    ["session/publish-down.ts", "session/time.ts"],
  ],
])("%s leaves in one place", (_what, pattern, places) => {
  expect(files.filter(([, text]) => pattern.test(text)).map(([name]) => name)).toEqual(places);
});
