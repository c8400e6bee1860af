import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClassicLevel } from "classic-level";
import { afterAll, describe, expect, test, vi } from "vitest";
import { closeQuietly, openDatabase, openOrRepair } from "../../../src/storage/database.ts";

const place = mkdtempSync(join(tmpdir(), "kept-"));
afterAll(() => rmSync(place, { recursive: true, force: true }));

const value = (text: string) => new TextEncoder().encode(text);
const keptIn = (folder: string) => readdirSync(folder).filter((name) => name.endsWith(".kept"));
const filesOf = (folder: string, pattern: RegExp) => readdirSync(folder).filter((name) => pattern.test(name));

/** A database whose log has `key`, as a kill leaves it. */
async function killed(name: string, key = "a"): Promise<string> {
  const folder = join(place, name);
  const living = await openDatabase(`${folder}-living`);
  await living.put(key, value("first"), { sync: true });
  cpSync(`${folder}-living`, folder, { recursive: true });
  rmSync(join(folder, "LOCK"), { force: true });
  await living.close();
  return folder;
}

/**
 * What a power cut may leave of a start: the old files have their second names only, CURRENT names the old manifest.
 * `after` is the folder after the start, without second names.
 */
async function torn(name: string): Promise<string> {
  const before = await killed(name);
  const after = join(place, `${name}-torn`);
  cpSync(before, after, { recursive: true });
  await (await openDatabase(after)).close();
  for (const old of filesOf(before, /\.log$|^MANIFEST/)) cpSync(join(before, old), join(after, `${old}.kept`));
  cpSync(join(before, "CURRENT"), join(after, "CURRENT"));
  return after;
}

async function contentOf(folder: string): Promise<string[]> {
  const database = await openDatabase(folder);
  const found: string[] = [];
  for await (const [key, stored] of database.iterator()) found.push(`${key}=${new TextDecoder().decode(stored)}`);
  await database.close();
  return found;
}

describe("the files of a database keep second names while it is opened", () => {
  test("the old log and the old manifest get their names back if a power cut undid the change of CURRENT", async () => {
    const folder = await torn("undone");
    expect(filesOf(folder, /^MANIFEST-\d+$/)).toHaveLength(1);
    expect(await contentOf(folder)).toEqual(["a=first"]);
    expect(keptIn(folder)).toEqual([]);
  });

  test("LevelDB alone cannot open such a folder", async () => {
    const folder = await torn("alone");
    const database = new ClassicLevel(folder);
    await expect(database.open()).rejects.toThrow();
    await closeQuietly(database as never);
  });

  test("a file that has its name back without need changes nothing", async () => {
    const before = await killed("needless");
    const folder = join(place, "needless-after");
    cpSync(before, folder, { recursive: true });
    const database = await openDatabase(folder);
    await database.put("a", value("second"), { sync: true });
    await database.close();
    for (const old of filesOf(before, /\.log$|^MANIFEST/)) cpSync(join(before, old), join(folder, `${old}.kept`));
    expect(await contentOf(folder)).toEqual(["a=second"]);
    expect(await contentOf(folder)).toEqual(["a=second"]);
    expect(keptIn(folder)).toEqual([]);
    expect(filesOf(folder, /\.log$/)).toHaveLength(1);
  });

  test("an open that fails leaves no second names, and touches none of another program", async () => {
    const folder = await killed("fails");
    writeFileSync(join(folder, "notes.kept"), "not LevelDB's");
    const first = await openDatabase(folder);
    await expect(openDatabase(folder)).rejects.toThrow();
    expect(keptIn(folder)).toEqual(["notes.kept"]);
    await first.close();
    expect(await contentOf(folder)).toEqual(["a=first"]);
  });

  test("a repair begins without second names, also if one was left", async () => {
    const before = await killed("repaired-before");
    const folder = join(place, "repaired");
    cpSync(before, folder, { recursive: true });
    const notices: string[] = [];
    let keptThen: string[] | undefined;
    const repair = ClassicLevel.repair.bind(ClassicLevel);
    const spy = vi.spyOn(ClassicLevel, "repair").mockImplementation((where: string) => {
      keptThen = keptIn(where);
      return repair(where);
    });
    let opened = 0;
    await openOrRepair(folder, notices, async (database) => {
      if (opened++ > 0) return database.close();
      await database.put("a", value("second"), { sync: true });
      for (const old of filesOf(before, /\.log$/)) cpSync(join(before, old), join(folder, `${old}.kept`));
      throw new Error("a block cannot be read");
    });
    spy.mockRestore();
    expect(notices.join()).toContain("it was repaired");
    expect(keptThen).toEqual([]);
    expect(await contentOf(folder)).toEqual(["a=second"]);
  });

  test("a database that is new has no second names", async () => {
    const folder = join(place, "new");
    await (await openDatabase(folder)).close();
    expect(existsSync(join(folder, "CURRENT"))).toBe(true);
    expect(keptIn(folder)).toEqual([]);
  });
});
