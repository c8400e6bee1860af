/** What is kept of devices' encryption: over restarts, in no backup, and not where the store may have lost its last commits. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { backupOctets, restoreBackup, writeBackup } from "../../src/storage/backup.ts";
import { DiskStore } from "../../src/storage/disk.ts";
import { encodeRecord } from "../../src/storage/encoding.ts";
import { keyOf } from "../../src/storage/keys.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { secureKeeper } from "../../src/storage/secure-keeper.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "secure-store-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const octets = (text: string) => Uint8Array.from(Buffer.from(text));

async function opened(boot: string, durability: "group" | "none" = "group") {
  const store = new DiskStore(storeOptions.parse({ folder, durability, groupMilliseconds: 0 }), () => {}, boot);
  const { notices } = await store.open();
  const keeper = (transport: string) =>
    secureKeeper(transport, store, (changes, done) => store.commit(changes, (error) => done(error)));
  const keep = (transport: string, identity: string, text: string | undefined) =>
    new Promise<boolean>((done) =>
      keeper(transport).keep([{ identity, record: text === undefined ? undefined : octets(text) }], done),
    );
  const kept = async (transport: string) =>
    (await keeper(transport).kept()).map((each) => Buffer.from(each).toString());
  return { store, notices, keep, kept };
}

test("is there in the next run, by transport, without what was deleted; it is no session and no notice", async () => {
  const one = await opened("boot 1");
  for (const identity of ["dev/1", "dev2", "gone"]) expect(await one.keep("dtls", identity, identity)).toBe(true);
  await one.keep("dtls-b", "dev2", "other");
  await one.keep("dtls", "gone", undefined);
  await one.store.close();
  const two = await opened("boot 2");
  expect(await two.kept("dtls")).toEqual(["dev/1", "dev2"]);
  expect(await two.kept("dtls-b")).toEqual(["other"]);
  expect([two.notices, await two.store.sessions(undefined, 10)]).toEqual([[], []]);
  await two.store.close();
});

test("more than are read at once", async () => {
  const { store, keep, kept } = await opened("boot 1");
  await Promise.all(Array.from({ length: 2_500 }, (_, i) => keep("dtls", `dev${i}`, `${i}`)));
  expect(await kept("dtls")).toHaveLength(2_500);
  await store.close();
});

test("is in no backup, and not restored from a file that has it all the same", async () => {
  const { store, keep } = await opened("boot 1");
  await keep("dtls", "dev1", "secret state");
  const seen: string[] = [];
  for await (const [key, value] of store.snapshot()) seen.push(`${key} ${Buffer.from(value).toString("latin1")}`);
  expect(seen.join()).not.toContain("secret");
  expect(seen.join()).not.toContain("dtls");
  await store.close();

  const change = { of: "secure", clientId: "dtls/dev1", id: 0, record: { state: octets("old state") } } as const;
  async function* forged(): AsyncGenerator<readonly [string, Uint8Array]> {
    yield [keyOf(change), encodeRecord(change, 1)];
  }
  const file = join(folder, "forged.backup");
  await writeBackup(file, backupOctets(forged()));
  await restoreBackup(file, folder);
  const two = await opened("boot 1");
  expect(await two.kept("dtls")).toEqual([]);
  await two.store.close();
});

test("durability none: is there after kill -9, and gone where the system went down", async () => {
  const { store, keep } = await opened("boot 1", "none");
  await keep("dtls", "dev1", "state");
  // A copy of the open store's files is what a kill leaves.
  const killed = mkdtempSync(join(tmpdir(), "secure-store-"));
  cpSync(folder, killed, { recursive: true });
  await store.close();
  for (const [boot, left] of [
    ["boot 1", ["state"]],
    ["boot 2", []],
  ] as const) {
    rmSync(folder, { recursive: true });
    cpSync(killed, folder, { recursive: true });
    const next = await opened(boot, "none");
    expect(await next.kept("dtls")).toEqual(left);
    expect(next.notices).toHaveLength(left.length === 0 ? 1 : 0);
    await next.store.close();
  }
  rmSync(killed, { recursive: true });
});
