/** Imports point inwards: see ARCHITECTURE.md, "Who may import whom". */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { circlesIn, graphOf, importsOf, joined } from "./import-graph.ts";

const src = resolve(dirname(fileURLToPath(import.meta.url)), "../../src");

/**
 * Folder (or file) of src -> what it may import: folders, or single files of one. `types:x` = only `import type`. `pkg` =
 * packages and node built-ins.
 */
const rules: Record<string, readonly string[]> = {
  wire: [],
  // A table of ids, for any part that assigns or receives them.
  "id-map.ts": [],
  // A child process and the pauses between two of them, for any part that has one.
  "watched-child.ts": ["types:transports", "pkg"],
  core: ["id-map.ts", "wire", "node:assert"],
  device: ["wire", "secure", "types:core"],
  // Contents of messages, in formats of others: they know nothing of MQTT-SN or of the gateway.
  payload: ["node:crypto", "cborg"],
  // Scripts for payloads, in a separate process.
  script: ["watched-child.ts", "types:core", "types:transports", "pkg"],
  // A file format: it knows nothing of the gateway.
  capture: [],
  // DTLS, as pure as the core: cryptography is handed in.
  secure: [],
  // Pairing of Bluetooth LE, in the same way.
  pairing: [],
  transports: ["errors.ts", "watched-child.ts", "payload", "pairing", "secure", "types:core", "pkg"],
  upstream: ["errors.ts", "durations.ts", "id-map.ts", "types:core", "pkg"],
  storage: ["errors.ts", "wire", "types:core", "pkg"],
  // Several gateways with one set of sessions: who owns what, and how a datagram reaches its owner.
  fleet: [
    "errors.ts",
    "core/peer-id.ts",
    "secure/window.ts",
    "transports/recent-map.ts",
    "types:core",
    "types:transports",
    "types:storage",
    "pkg",
  ],
  // live.ts decodes what passes, for people.
  // What is said to Home Assistant: of the gateway it knows what it is asked to know.
  "home-assistant": ["payload", "types:core", "pkg"],
  // Commands by MQTT: made from the list of commands and the table of events, as the API is.
  remote: [
    "roles.ts",
    "observe",
    "runtime/commands.ts",
    "wire",
    "types:runtime",
    "types:upstream",
    "types:core",
    "pkg",
  ],
  observe: [
    "errors.ts",
    "roles.ts",
    "durations.ts",
    "wire",
    "core/peer-id.ts",
    "types:core",
    "types:transports",
    "pkg",
  ],
  config: [
    "errors.ts",
    "roles.ts",
    "wire",
    "transports",
    "upstream",
    "storage",
    "observe",
    "payload",
    "types:script",
    "types:core",
    "core/peer-id.ts",
    "core/own-ids.ts",
    "fleet/shard.ts",
    "pkg",
  ],
  runtime: [
    "roles.ts",
    "durations.ts",
    "capture",
    "core",
    "wire",
    "types:script",
    "types:transports",
    "types:upstream",
    "types:storage",
    "pkg",
  ],
  api: ["errors.ts", "types:roles.ts", "types:runtime", "types:core", "types:observe", "pkg"],
  // Of runtime the list of commands, and what is known of the clock: the command line asks a gateway in another process, and loads no core for it.
  cli: [
    "gateway.ts",
    "gateway-fleet.ts",
    "gateway-way-in.ts",
    "config",
    "capture",
    "payload",
    "script",
    "storage",
    "transports",
    "upstream",
    "wire",
    "device",
    "secure",
    "errors.ts",
    "observe",
    "runtime/commands.ts",
    // The words for how long something lasts.
    "runtime/state-words.ts",
    "runtime/wall-clock.ts",
    "pkg",
  ],
  // The page: it shares types with what it asks, and the words for how a device is.
  console: ["types:runtime", "types:observe", "runtime/state-words.ts", "pkg"],
  "gateway.ts": ["*"],
  "gateway-brokers.ts": ["*"],
  "gateway-console.ts": ["*"],
  "gateway-desk.ts": ["*"],
  "gateway-fleet.ts": ["*"],
  "gateway-fleet-desk.ts": ["*"],
  "gateway-fleet-dtls.ts": ["*"],
  "gateway-fleet-lookout.ts": ["*"],
  "gateway-fleet-service.ts": ["*"],
  "gateway-fleet-service-totals.ts": ["*"],
  "gateway-fleet-status.ts": ["*"],
  "gateway-fleet-totals.ts": ["*"],
  "gateway-home.ts": ["*"],
  "gateway-own-connections.ts": ["*"],
  "gateway-pair.ts": ["*"],
  "gateway-parts.ts": ["*"],
  "gateway-remote.ts": ["*"],
  "gateway-scripts.ts": ["*"],
  "gateway-settings.ts": ["*"],
  "gateway-shard.ts": ["*"],
  "gateway-store.ts": ["*"],
  "gateway-vitals.ts": ["*"],
  "gateway-way-in.ts": ["*"],
  "tryout-broker.ts": ["errors.ts", "pkg"],
  "main.ts": ["cli", "errors.ts", "pkg"],
  "errors.ts": [],
  "roles.ts": [],
  "durations.ts": [],
};

const words = ["words"];
const state = ["state", ...words];
const context = ["context.ts", ...state];
const session = ["session", "broker", ...context];

/**
 * The layers of core, and what each may stand on. `words`: the files directly in core, which know no client. A procedure lies
 * in the layer of what it calls, so no import goes up and there is no cycle. See ARCHITECTURE.md, "The core has five layers".
 */
const layers: Record<string, readonly string[]> = {
  words,
  state,
  "context.ts": context,
  broker: ["broker", ...context],
  session,
  inputs: ["inputs", ...session],
  dialects: ["dialects", "session", ...context],
  "core-view.ts": ["dialects", ...session],
  "gateway-core.ts": ["core-view.ts", "inputs", "dialects", ...session],
};

const files: ReadonlyMap<string, string> = new Map(
  readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => [name.split(sep).join("/"), readFileSync(join(src, name), "utf8")]),
);

test("imports point inwards", () => {
  const wrong: string[] = [];
  for (const [file, text] of files) {
    const from = area(file);
    const allowed = rules[from];
    if (!allowed) {
      wrong.push(`${file}: no rule for ${from}`);
      continue;
    }
    if (allowed.includes("*")) continue;
    for (const { target, typeOnly } of importsOf(text)) {
      if (!target.startsWith(".")) {
        if (!allowed.includes("pkg") && !allowed.includes(target)) wrong.push(`${file}: package ${target}`);
        continue;
      }
      const to = area(joined(file, target));
      if (to === from || allowed.includes(to) || allowed.includes(joined(file, target))) continue;
      if (typeOnly && allowed.includes(`types:${to}`)) continue;
      wrong.push(`${file}: ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("no file of src reaches itself by its imports, types included", () => {
  expect(circlesIn(graphOf(files))).toEqual([]);
});

test("core stands on its layers: no file imports one of a layer above", () => {
  expect([...files].flatMap(([file, text]) => importsUpwards(file, text))).toEqual([]);
});

test("a version of the wire is known in core/dialects, to the device side and to what explains datagrams, and to nobody else", () => {
  expect([...files].flatMap(([file, text]) => importsOfVersion(file, text))).toEqual([]);
});

test("ioredis is optional: one file names it, and loads it when it is needed", () => {
  const naming = [...files].filter(([, text]) => /["']ioredis["']/.test(text));
  expect(naming.filter(([file]) => !/^storage\/redis[^/]*\.ts$/.test(file)).map(([file]) => file)).toEqual([]);
  expect(naming.length).toBeGreaterThan(0);
  for (const [, text] of naming) expect(text).not.toMatch(/^import (?!type )[^;]*["']ioredis["']/m);
});

test("wire and core take no time, dice or timers from the machine", () => {
  const impure =
    /\b(Date\.now|new Date\(|performance\.now|setTimeout|setInterval|setImmediate|queueMicrotask|Math\.random|process\.|console\.|async\s|await\s|new Promise)/;
  const wrong = [...files]
    .filter(([file]) => ["wire", "core", "device", "payload", "capture", "secure"].includes(area(file)))
    .flatMap(([file, text]) =>
      text
        .split("\n")
        .filter((line) => !/^\s*(\*|\/\/|\/\*)/.test(line) && impure.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
  expect(wrong).toEqual([]);
});

describe("the check itself", () => {
  const planted = (lines: Record<string, string>) => circlesIn(graphOf(new Map(Object.entries(lines))));

  test("names the files of a circle, over folders and with types only", () => {
    expect(
      planted({
        "a/one.ts": 'import { two } from "../b/two.ts";',
        "b/two.ts": 'import type { Three } from "./three.ts";',
        "b/three.ts": 'export { one } from "../a/one.ts";',
        "b/four.ts": 'import { one } from "../a/one.ts";',
      }),
    ).toEqual(["a/one.ts -> b/two.ts -> b/three.ts -> a/one.ts"]);
  });

  test("finds a circle that goes over a dynamic import, and a file that imports itself", () => {
    expect(planted({ "one.ts": 'const two = await import("./two.ts");', "two.ts": 'import "./one.ts";' })).toEqual([
      "one.ts -> two.ts -> one.ts",
    ]);
    expect(planted({ "one.ts": 'import type { One } from "./one.ts";' })).toEqual(["one.ts -> one.ts"]);
  });

  test("names the pair where an import goes up a layer, also of a type", () => {
    expect(importsUpwards("core/broker/links.ts", 'import type { Session } from "../session/connect.ts";')).toEqual([
      "core/broker/links.ts -> core/session/connect.ts",
    ]);
    expect(importsUpwards("core/state/shared-connection.ts", 'import { Context } from "../context.ts";')).toHaveLength(
      1,
    );
    expect(importsUpwards("core/deadlines.ts", 'import { Outbox } from "./state/outbox.ts";')).toHaveLength(1);
    expect(importsUpwards("core/dialects/v12.ts", 'import { openLink } from "../broker/links.ts";')).toHaveLength(1);
    expect(importsUpwards("core/inputs/link.ts", 'import { connect } from "../session/connect.ts";')).toEqual([]);
    expect(importsUpwards("core/new-room/a.ts", 'import { connect } from "../session/connect.ts";')).toEqual([
      "core/new-room/a.ts: no layer for new-room",
    ]);
  });

  test("finds an import of a version of the wire, also of a type, and one that goes by a dialect", () => {
    const message = 'import type { Message } from "../../wire/v12/messages.ts";';
    expect(importsOfVersion("core/session/sleep.ts", message)).toEqual([
      "core/session/sleep.ts -> wire/v12/messages.ts",
    ]);
    expect(importsOfVersion("runtime/perform.ts", 'import { encode } from "../wire/v12/codec.ts";')).toHaveLength(1);
    expect(importsOfVersion("transports/udp.ts", 'import { decode } from "../wire/v12/codec.ts";')).toHaveLength(1);
    expect(importsOfVersion("core/session/sleep.ts", 'import { v12 } from "../dialects/v12.ts";')).toHaveLength(1);
    expect(importsOfVersion("core/dialects/v12.ts", message)).toEqual([]);
    expect(importsOfVersion("core/gateway-core.ts", 'import { v12 } from "./dialects/v12.ts";')).toEqual([]);
    expect(importsOfVersion("core/session/sleep.ts", 'import type { Text } from "../../wire/fields.ts";')).toEqual([]);
  });

  test("says nothing where two files share a third", () => {
    expect(planted({ "one.ts": 'import "./three.ts";', "two.ts": 'import "./three.ts";', "three.ts": "" })).toEqual([]);
  });
});

function importsUpwards(file: string, text: string): readonly string[] {
  if (area(file) !== "core") return [];
  const allowed = layers[layerOf(file)];
  if (!allowed) return [`${file}: no layer for ${layerOf(file)}`];
  return importsOf(text)
    .filter(({ target }) => target.startsWith("."))
    .map(({ target }) => joined(file, target))
    .filter((target) => area(target) === "core" && !allowed.includes(layerOf(target)))
    .map((target) => `${file} -> ${target}`);
}

/** The files that may know a version: its dialect, the other side of the wire, and the tools. */
const knowVersions = ["wire/", "core/dialects/", "device/", "cli/", "observe/live.ts"];

function importsOfVersion(file: string, text: string): readonly string[] {
  if (knowVersions.some((folder) => file.startsWith(folder))) return [];
  const isVersion = (target: string) =>
    target.startsWith("wire/v") || (target === "core/dialects/v12.ts" && file !== "core/gateway-core.ts");
  return importsOf(text)
    .filter(({ target }) => target.startsWith("."))
    .map(({ target }) => joined(file, target))
    .filter(isVersion)
    .map((target) => `${file} -> ${target}`);
}

/** A folder of core, one of the two files that are a layer of their own, or `words`. */
function layerOf(path: string): string {
  const [, name = "", ...deeper] = path.split("/");
  return deeper.length > 0 || name in layers ? name : "words";
}

function area(path: string): string {
  return path.split("/")[0] ?? path;
}
