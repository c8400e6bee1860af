/** The device library in C is in layers, and what its files use lies below them: see hardware/device/README.md. */
import { readdirSync, readFileSync } from "node:fs";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { circles, forbiddenUses, readLibrary, type Use } from "./c-layers.ts";

const folder = fileURLToPath(new URL("../../hardware/device", import.meta.url));
const api = "include/mqttsn.h";

/** File -> what it may use, highest first. The public header declares what several files define, and uses nothing. */
const mayUse: Record<string, readonly string[]> = {
  "host/dtls_device.c": ["*"],
  "host/stdio_device.c": ["*"],
  "test/framing_lines.c": ["*"],
  "test/dtls_memory.c": ["*"],
  "test/fuzz.c": ["*"],
  "test/wire_lines.c": ["*"],
  // Between the client and a socket: the client does not know it, nor it the client's inside.
  "ports/mqttsn_dtls_mbedtls.c": [api],
  "src/client.c": [
    "src/control.c",
    "src/exchange.c",
    "src/receive.c",
    "src/search.c",
    "src/engine.c",
    "src/wire.c",
    api,
  ],
  "src/control.c": ["src/exchange.c", "src/topics.c", "src/engine.c", "src/wire.c", api],
  "src/exchange.c": ["src/topics.c", "src/engine.c", "src/wire.c", api],
  "src/receive.c": ["src/topics.c", "src/engine.c", "src/wire.c", api],
  "src/search.c": ["src/engine.c", "src/wire.c", api],
  "src/topics.c": ["src/engine.c", api],
  "src/engine.c": ["src/wire.c", api],
  "src/wire.c": [],
  "src/framing.c": [],
  [api]: [],
};

function sources(): Map<string, string> {
  const names = ["src", "include", "ports", "host", "test"].flatMap((part) =>
    readdirSync(join(folder, part), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.[ch]$/.test(name))
      .map((name) => `${part}/${name.split(sep).join("/")}`),
  );
  return new Map(names.map((name) => [name, readFileSync(join(folder, name), "utf8")]));
}

describe("the device library in C", () => {
  test("each file uses only what lies below it", () => {
    const all = sources();
    expect([...all.keys()].filter((name) => name.endsWith(".c") && !(name in mayUse))).toEqual([]);
    expect(forbiddenUses(readLibrary(all).uses, mayUse)).toEqual([]);
  });

  test("no circle of files, and no header of several", () => {
    const { uses, mixedHeaders } = readLibrary(sources());
    expect(circles(uses)).toEqual([]);
    expect(mixedHeaders).toEqual([]);
  });

  test("the uses that are there are seen", () => {
    const seen = readLibrary(sources()).uses.map(({ from, to, by }) => `${from} -> ${to}: ${by}`);
    expect(seen).toContain("src/control.c -> src/exchange.c: sn_exchange_resume");
    expect(seen).toContain('src/control.c -> src/exchange.c: #include "exchange.h"');
    expect(seen).toContain("src/exchange.c -> src/engine.c: mqttsn_idle");
    expect(seen).toContain("src/engine.c -> src/wire.c: sn_wire_encode");
  });

  test.each([
    [
      "a call upwards",
      "src/engine.c",
      "void sn_late(mqttsn_t *c) { sn_on_pingresp(c); }",
      "src/control.c: sn_on_pingresp",
    ],
    ["an include upwards", "src/wire.c", '#include "engine.h"', 'src/engine.c: #include "engine.h"'],
    ["an include upwards in a header", "src/exchange.h", '#include "control.h"', 'src/control.c: #include "control.h"'],
    [
      "a call to a neighbour",
      "src/search.c",
      "int x(void) { return sn_on_pubrel != 0; }",
      "src/receive.c: sn_on_pubrel",
    ],
  ])("%s is found, and named", (_, file, planted, named) => {
    const all = sources();
    all.set(file, `${all.get(file)}\n${planted}\n`);
    const user = file.replace(/\.h$/, ".c");
    expect(forbiddenUses(readLibrary(all).uses, mayUse)).toEqual([`${user} -> ${named}`]);
  });

  test("a new file needs a rule", () => {
    const all = sources().set("src/extra.c", '#include "wire.h"\n');
    expect(forbiddenUses(readLibrary(all).uses, mayUse)).toEqual(["no rule for src/extra.c"]);
  });
});

describe("what counts as a use", () => {
  const library = { "b.h": "void sn_b(int x);", "b.c": '#include "b.h"\nvoid sn_b(int x) { (void)x; }\n' };
  const usesOf = (files: Record<string, string>): Use[] => [
    ...readLibrary(new Map(Object.entries({ ...library, ...files }))).uses,
  ];
  const bySn = [{ from: "a.c", to: "b.c", by: "sn_b" }];

  test.each([
    ["a call", "void sn_a(void) { sn_b(1); }"],
    ["an address", "void (*const later)(int) = sn_b;"],
    ["a declaration without the header", "void sn_b(int x);"],
    ["a macro's text", "#define LATER(x) \\\n  sn_b(x)\n"],
  ])("%s", (_, text) => expect(usesOf({ "a.c": text })).toEqual(bySn));

  test.each([
    ["a comment", "/* sn_b(1) */ // sn_b(2)\n"],
    ["a string", 'const char *a = "sn_b(\\"1\\")";'],
    ["a static function of the same name", "static void sn_b(int x) { (void)x; }\nvoid sn_a(void) { sn_b(1); }"],
    ["a longer name", "void sn_a(void) { sn_bee(1); }"],
    ["a system header", "#include <b.h>"],
    ["an include in a comment", '/*\n#include "b.h"\n*/'],
  ])("not %s", (_, text) => expect(usesOf({ "a.c": text })).toEqual([]));

  test("programs do not use one another's main", () => {
    const main = "int main(void) { return 0; }";
    expect(usesOf({ "a.c": main, "c.c": main }).filter(({ by }) => by === "main")).toEqual([]);
  });

  test("an include is a use of the file that defines the header's functions, a header of types alone is a file", () => {
    expect(usesOf({ "a.c": '#include "b.h"' })).toEqual([{ from: "a.c", to: "b.c", by: '#include "b.h"' }]);
    expect(usesOf({ "a.c": '#include "t.h"', "t.h": "typedef struct { int x; } t_t;" })).toEqual([
      { from: "a.c", to: "t.h", by: '#include "t.h"' },
    ]);
  });

  test("a circle is named with its way round, once, however far it is", () => {
    const call = (name: string, other: string) => `void ${name}(void) { ${other}(); }`;
    const three = { "x.c": call("x", "y"), "y.c": call("y", "z"), "z.c": call("z", "x"), "top.c": call("top", "y") };
    const uses = usesOf(three);
    expect(circles(uses)).toEqual(["x.c -> y.c (y) -> z.c (z) -> x.c (x)"]);
    expect(circles(uses.filter(({ from }) => from !== "z.c"))).toEqual([]);
  });

  test("a header of several files is reported, unless it is the public one", () => {
    const files = { "src/a.c": "void a(void) {}", "src/b.c": "void b(void) {}" };
    const header = "void a(void);\nvoid b(void);";
    const mixed = (name: string) => readLibrary(new Map(Object.entries({ ...files, [name]: header }))).mixedHeaders;
    expect(mixed("src/all.h")).toEqual(["src/all.h declares functions of src/a.c, src/b.c"]);
    expect(mixed("include/all.h")).toEqual([]);
  });
});
