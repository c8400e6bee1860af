/** Changing the configuration's file: comments and order stay, what is wrong is not saved, secrets do not come back. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { difference, edited, versionOf } from "../../src/config/edit.ts";
import { parseJson } from "../../src/config/json.ts";
import { loadConfig, parseConfig } from "../../src/config/load.ts";
import { needRestart } from "../../src/config/restart.ts";
import { exported, SettingsFile } from "../../src/config/settings-file.ts";
import { isSecretReference } from "../../src/config/shown.ts";
import { kindOf } from "../../src/console/settings-rows.ts";
import { everySetting } from "../helpers/setting-values.ts";

test("each setting that is a secret is treated as one: masked where it is shown, and kept in a file of its own", () => {
  const secrets = everySetting().filter(({ node }) => kindOf(node).kind === "secret");
  expect(secrets.length).toBeGreaterThan(3);
  expect(secrets.filter(({ key }) => !isSecretReference(key.split("."))).map(({ key }) => key)).toEqual([]);
});

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "settings-"));
  file = join(folder, "gateway.config.json");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function settingsOf(text: string): SettingsFile {
  writeFileSync(file, text);
  const running = loadConfig(file);
  return new SettingsFile(file, () => running);
}

const written = `// Ours.
{
  "upstream": {
    // The broker in the cellar.
    "url": "mqtt://user:hunter2@127.0.0.1:1884", "protocol": "5" /* it can */
  },
  "log": { "level": "info" }
}
`;

describe("the text", () => {
  test("a key is changed where it stands, a new one comes behind, one is taken out: comments and order stay", () => {
    const after = edited(written, [
      { path: ["upstream", "protocol"], value: "3.1.1" },
      { path: ["api", "port"], value: 80 },
      { path: ["log", "level"] },
      { path: ["retry", "limit"] },
    ]);
    expect(after).toContain("// Ours.");
    expect(after).toContain("// The broker in the cellar.");
    expect(after).toContain('"protocol": "3.1.1" /* it can */');
    expect(parseJson(Buffer.from(after), "f")).toEqual({
      value: {
        upstream: { url: "mqtt://user:hunter2@127.0.0.1:1884", protocol: "3.1.1" },
        log: {},
        api: { port: 80 },
      },
    });
    expect(difference(written, after).filter(({ kind }) => kind === "out")).toHaveLength(2);
  });

  test("whatever the value and the indent: what is written is what is read, and the comment is there", () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.constantFrom("  ", "    ", "\t"),
        fc.constantFrom("\n", "\r\n"),
        (value, indent, eol) => {
          const text = ["{", `${indent}// a note`, `${indent}"first": 1,`, `${indent}"key": null`, "}", ""].join(eol);
          const after = edited(text, [
            { path: ["key"], value },
            { path: ["new", "one"], value },
          ]);
          expect(after).toContain("// a note");
          const plain: unknown = JSON.parse(JSON.stringify(value));
          expect(parseJson(Buffer.from(after), "f")).toEqual({ value: { first: 1, key: plain, new: { one: plain } } });
        },
      ),
    );
  });

  test("every line of both is in the difference, or is the same", () => {
    const lines = fc.array(fc.constantFrom("a", "b", "c", ""), { maxLength: 12 });
    fc.assert(
      fc.property(lines, lines, (before, after) => {
        const found = difference(before.join("\n"), after.join("\n"));
        const count = (kind: string) => found.filter((line) => line.kind === kind).length;
        const [old, now] = [before.join("\n").split("\n"), after.join("\n").split("\n")];
        expect(count("in") - count("out")).toBe(now.length - old.length);
        if (before.join("\n") === after.join("\n")) expect(found).toEqual([]);
      }),
    );
  });

  test("every key of the schema goes in, and check knows it", () => {
    for (const { key, value } of everySetting()) {
      const { problems } = settingsOf(written).attempt([{ path: key.split("."), value }]);
      const unknown = problems.filter((say) => /no such key|must be/.test(say) && say.startsWith(`${key}:`));
      expect(unknown, key).toEqual([]);
    }
  });
});

describe("the file", () => {
  test("it is judged as check does, and nothing wrong is saved", async () => {
    const settings = settingsOf(written);
    const wrong = [{ path: ["api", "port"], value: "80" }];
    expect(settings.attempt(wrong).problems).toEqual([
      'api.port: must be a number: type 80, without quotes (found "80")',
    ]);
    await expect(settings.save(wrong, settings.written().version)).rejects.toThrow();
    expect(readFileSync(file, "utf8")).toBe(written);
  });

  test("what is saved is read back, what was there stays as .bak, with its rights", async () => {
    const settings = settingsOf(written);
    chmodSync(file, 0o640);
    const changes = [
      { path: ["log", "level"], value: "debug" },
      { path: ["api", "port"], value: 9_465 },
    ];
    expect(settings.attempt(changes).restart).toEqual(["api"]);
    const config = await settings.save(changes, settings.written().version);
    expect(config.log.level).toBe("debug");
    expect(loadConfig(file)).toEqual(config);
    expect(readFileSync(`${file}.bak`, "utf8")).toBe(written);
    expect(statSync(file).mode & 0o777).toBe(0o640);
    expect(settings.written().restart).toEqual(["api"]);
  });

  test("whoever changed it meanwhile is not written over", async () => {
    const settings = settingsOf(written);
    const { version } = settings.written();
    writeFileSync(file, `${written}\n`);
    await expect(settings.save([{ path: ["api", "port"], value: 81 }], version)).rejects.toThrow(/changed elsewhere/);
    expect(version).toBe(versionOf(written));
  });

  test("a password in it is not shown, and stays what it was when what is around it is changed", async () => {
    const settings = settingsOf(written);
    const { values, version } = settings.written();
    expect(JSON.stringify(values)).not.toContain("hunter2");
    const upstream = { url: "mqtt://***@127.0.0.1:1884", protocol: "3.1.1" };
    const tried = settings.attempt([{ path: ["upstream"], value: upstream }]);
    expect(tried.problems).toEqual([]);
    expect(JSON.stringify(tried)).not.toContain("hunter2");
    const saved = await settings.save([{ path: ["upstream"], value: upstream }], version);
    expect(saved.upstream.url).toContain("hunter2");
    const moved = [{ path: ["upstream", "url"], value: "mqtt://***@127.0.0.1:9999" }];
    expect(() => settings.attempt(moved)).toThrow();
  });

  test("a secret goes into a file of its own, for its key alone", async () => {
    const settings = settingsOf(written);
    const reference = await settings.keepSecret("upstream.password", "s3cret");
    expect(reference).toEqual({ file: "data/secrets/upstream.password" });
    expect(readFileSync(join(folder, reference.file), "utf8")).toBe("s3cret");
    expect(statSync(join(folder, reference.file)).mode & 0o777).toBe(0o600);
    await expect(settings.keepSecret("api.host", "x")).rejects.toThrow(/no secret/);
    await expect(settings.keepSecret("../../password", "x")).rejects.toThrow(/no secret/);
  });

  test("where it may not be written it is said", () => {
    expect(new SettingsFile(undefined, () => parseConfig({})).written().readOnly).toContain("without a file");
    const shipped = join(import.meta.dirname, "../../gateway.config.json");
    expect(new SettingsFile(shipped, () => loadConfig(shipped)).written().readOnly).toContain("comes with the package");
  });

  test("the export can be started, has who was admitted by hand, and no secret", () => {
    writeFileSync(file, written);
    const text = exported(loadConfig(file), [{ clientId: "meter", from: "192.0.2.1" }, { clientId: "*" }]);
    expect(text).not.toContain("hunter2");
    writeFileSync(file, text);
    const again = loadConfig(file);
    expect(again.access.rules).toEqual([{ allow: "meter", from: ["192.0.2.1"] }]);
    expect(again.upstream.protocol).toBe("5");
    expect(needRestart(loadConfig(file), again)).toEqual([]);
    expect(text).toContain('["*"]');
  });
});
