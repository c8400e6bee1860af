/** What is to be seen of a fleet: on the command line, in the guide; and what a machine remembers of epochs. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { membersLines } from "../../../src/cli/fleet.ts";
import { frontDropReasons } from "../../../src/fleet/front-counters.ts";
import { EpochFile } from "../../../src/storage/epoch-file.ts";

const member = (name: string, more: object = {}) => ({
  name,
  version: "0.1.0",
  place: "192.0.2.1:1884",
  isDraining: false,
  secondsAgo: 0.4,
  sinceSeconds: 120,
  shards: 1,
  ...more,
});
const fleet = {
  name: "gw-a",
  leaseSeconds: 3,
  shards: 3,
  trouble: "",
  members: [member("gw-a"), member("gw-b", { isDraining: true }), member("gw-c", { secondsAgo: 9, shards: 0 })],
  owners: [
    { shard: 0, owner: "gw-a", epoch: 2, here: "serving" as const },
    { shard: 1, owner: "gw-b", epoch: 7 },
    { shard: 2, owner: "", epoch: 1 },
  ],
  counters: { claimed: { first: 1, drained: 2, ended: 3, silent: 4 }, handedOver: 5, lost: 6, failed: 7 },
};

test("fleet status: a line for each gateway, and what nobody owns", () => {
  const text = membersLines(fleet, false).join("\n");
  expect(text).toMatch(/^gw-a \(asked\) +1 +0\.1\.0 +now +2 min/m);
  expect(text).toMatch(/^gw-b .*hands over$/m);
  expect(text).toMatch(/^gw-c .*is silent$/m);
  expect(text).toContain("3 shards, 1 of them without an owner; lease: 3 s");
  expect(text).toContain("6 lost, 7 could not be served");
  expect(text).not.toContain("epoch");
});

test("fleet status --shards: each with its owner and epoch; and what is in the way", () => {
  const text = membersLines({ ...fleet, trouble: "no answer" }, true).join("\n");
  expect(text).toMatch(/^1 +gw-b +7/m);
  expect(text).toMatch(/^2 +none +1/m);
  expect(text).toContain("trouble: no answer");
});

test("the guide has each reason for which a front drops a datagram", () => {
  const guide = readFileSync(new URL("../../../docs/guide/fleet.md", import.meta.url), "utf8");
  for (const [reason, meaning] of Object.entries(frontDropReasons))
    expect(guide).toContain(`| \`${reason}\` | ${meaning} |`);
});

test("epochs are remembered over a restart; a file that cannot be read says nothing was seen", async () => {
  const folder = mkdtempSync(join(tmpdir(), "epochs-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "new/fleet-epochs");
  const failed: string[] = [];
  const file = new EpochFile(path, (say) => failed.push(say));
  expect(file.highest(3)).toBe(0);
  file.keep(3, 7);
  file.keep(60, 1);
  expect(file.highest(3)).toBe(7);
  await nextTurn();
  const again = new EpochFile(path, (say) => failed.push(say));
  expect([again.highest(3), again.highest(60), again.highest(4)]).toEqual([7, 1, 0]);
  expect(failed).toEqual([]);
  writeFileSync(path, "3 seven\n\0");
  expect(new EpochFile(path, () => {}).highest(3)).toBe(0);
  const nowhere = new EpochFile(join(path, "below"), (say) => failed.push(say));
  nowhere.keep(1, 1);
  await nextTurn();
  expect(failed).toHaveLength(1);
  expect(nowhere.highest(1)).toBe(1);
});
