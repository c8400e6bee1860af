/**
 * The power fails: the real store's calls to the system are recorded, and the disk is built as it could be at many
 * moments of the recording. The store must open each, and hold what had been acknowledged, or say what is missing.
 * POWER_CUTS says how many per durability (48), POWER_SEED where the dice begin.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";
import { DiskStore } from "../../src/storage/disk.ts";
import { decodeRecord } from "../../src/storage/encoding.ts";
import { storeOptions } from "../../src/storage/options.ts";
import type { StoreReport } from "../../src/storage/store.ts";
import { commit, session, stored } from "../conformance/store-suite.ts";
import { type Cruelty, cruelties, DiskModel } from "./power/disk-model.ts";
import { findStrace } from "./power/find-strace.mjs";
import { type Content, isSame, keyOf, Promised } from "./power/promise.ts";
import { type Happening, record } from "./power/recording.ts";
import { commitOf, dice } from "./power/workload.mjs";

const cuts = Number(process.env["POWER_CUTS"] ?? 48);
const firstSeed = Number(process.env["POWER_SEED"] ?? 1);
const writer = resolve(import.meta.dirname, "power/writer.mjs");

const strace = findStrace();
if ("missing" in strace && process.env["CI"]) throw new Error(strace.missing);
const why = "missing" in strace ? ` (skipped: ${strace.missing})` : "";

const folder = mkdtempSync(join(tmpdir(), "power-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Durability = "group" | "each" | "none";
interface GatewayRun {
  readonly durability: Durability;
  readonly seed: number;
  readonly first: number;
  readonly count: number;
  readonly ending: "close" | "kill";
}

async function live(place: string, { seed, durability, first, count, ending }: GatewayRun): Promise<Happening[]> {
  if ("missing" in strace) return [];
  const command = [process.execPath, writer, join(place, "data"), seed, durability, first, count, ending].map(String);
  let said = "";
  const happenings = await record(strace, place, command, (text) => {
    said += text;
  });
  const acknowledged = happenings.filter(({ what }) => what === "acknowledged").length;
  // A kill does not wait for the last ones.
  expect(acknowledged, said).toBeGreaterThanOrEqual(ending === "kill" ? count - 30 : count);
  return happenings;
}

async function contentOf(store: DiskStore): Promise<Content> {
  const content = new Map<string, number>();
  for await (const [key, value] of store.snapshot()) {
    if (key.startsWith("c")) continue; // a commit's mark
    const decoded = decodeRecord(key, value);
    if (decoded.is === "wrong") throw new Error(`damaged: ${key}`);
    if (decoded.is === "later") continue; // the format and the like
    const { change } = decoded;
    const commitNumber = commitOf(change.record);
    if (commitNumber > 0) content.set(keyOf(change), commitNumber); // the store's stand-ins have none
  }
  return content;
}

/**
 * The last commit answered when the power failed, and the last one that was acknowledged before a sync: with `none`,
 * what LevelDB has put into tables. Each log is a table of the synced manifest when it is removed; a manifest that is
 * new with this start counts only once a sync of the folder has made the new name in CURRENT certain.
 */
function acknowledgedAt(
  happenings: readonly Happening[],
  end: number,
  before: number,
  durability: Durability,
): { answered: number; acknowledged: number } {
  let answered = before;
  const tables = new TablesOnDisk(before);
  for (const happening of happenings.slice(0, end)) {
    if (happening.what === "acknowledged") answered = Math.max(answered, happening.commit);
    tables.take(happening, answered);
  }
  return { answered, acknowledged: durability === "none" ? tables.safe : answered };
}

/** Follows LevelDB's files: up to which commit everything is in tables that no power cut can take. */
class TablesOnDisk {
  safe: number;
  /** In tables, but CURRENT may name the manifest before, which does not know them. */
  #unnamed: number;
  /** What had been acknowledged when each log was begun: all of it is in older logs. */
  readonly #begun: { readonly name: string; readonly acknowledged: number }[] = [];
  #isNameCertain = true;
  readonly #folders = new Set<number>();
  /** Folder syncs in progress that began after the last change of CURRENT. */
  readonly #syncs = new Set<number>();

  constructor(before: number) {
    this.safe = before;
    this.#unnamed = before;
  }

  take(happening: Happening, acknowledged: number): void {
    switch (happening.what) {
      case "openFolder":
        this.#folders.add(happening.fd);
        return;
      case "open":
        this.#folders.delete(happening.fd);
        if (happening.name.endsWith(".log")) this.#begun.push({ name: happening.name, acknowledged });
        return;
      case "rename":
        if (!happening.to.endsWith("/CURRENT")) return;
        this.#isNameCertain = false;
        this.#syncs.clear();
        return;
      case "syncBegins":
        if (this.#folders.has(happening.fd)) this.#syncs.add(happening.id);
        return;
      case "syncEnds":
        if (!this.#syncs.delete(happening.id)) return;
        this.#isNameCertain = true;
        this.safe = this.#unnamed;
        return;
      case "remove": {
        const at = this.#begun.findIndex(({ name }) => name === happening.name);
        this.#unnamed = Math.max(this.#unnamed, this.#begun[at + 1]?.acknowledged ?? 0);
        if (at >= 0 && this.#isNameCertain) this.safe = this.#unnamed;
        return;
      }
      case "end":
        this.#folders.clear();
        this.#syncs.clear();
    }
  }
}

interface Findings {
  cuts: number;
  repaired: number;
  reported: number;
  revived: number;
}

/** The workload has clients without a session; this is reported, and has no meaning here. */
const complaintsOf = ({ notices }: StoreReport) => notices.filter((each) => !each.startsWith("the session of "));

/** Opens a disk after the cut and compares; answers what was found, for a next run. */
async function judge(
  place: string,
  run: GatewayRun,
  promised: Promised,
  { answered, acknowledged }: { readonly answered: number; readonly acknowledged: number },
  findings: Findings,
): Promise<Content> {
  const options = storeOptions.parse({
    folder: join(place, "data"),
    durability: run.durability,
    groupMilliseconds: 0,
  });
  const store = new DiskStore(options, () => {}, "the system's next run");
  const notices = complaintsOf(await store.open());
  const content = await contentOf(store);
  const { lost, revived } = promised.compare(content, acknowledged);
  const isRepaired = notices.some((notice) => notice.includes("it was repaired"));
  findings.cuts++;
  if (isRepaired) findings.repaired++;
  // LevelDB does not flush the manifest of a new database: only a first start that is cut leaves something to repair.
  if (isRepaired) expect(answered, notices.join("; ")).toBe(0);
  if (notices.length > 0) findings.reported++;
  findings.revived += revived.length;
  expect(lost).toEqual([]);
  if (!isRepaired) expect(revived).toEqual([]);
  if (notices.length === 0)
    expect(promised.isExactly(content, answered), "nothing is missing without a word").toBe(true);
  await stored(store); // every record can be read
  await commit(store, session("after"));
  await store.close();
  const again = new DiskStore(options, () => {}, "the system's next run");
  expect(complaintsOf(await again.open())).toEqual([]);
  expect(isSame(await contentOf(again), withAfter(content))).toBe(true);
  await again.close();
  return content;
}

/** With the session that every judgement adds, to see that the store takes more. */
const withAfter = (content: Content): Content => new Map([...content, [keyOf(session("after")), 600]]);

interface Moment {
  readonly at: number;
  readonly cruelty: Cruelty;
}

/**
 * Moments to cut at: half of them anywhere, half where files come, go and change names; and after the removal of a log
 * everything that is not certain is lost, for that is when a store may believe too early that its tables hold all.
 */
function moments(happenings: readonly Happening[], count: number, seed: number): Moment[] {
  const roll = dice(seed);
  const turning = happenings.flatMap(({ what }, i) => (/open|make|remove|rename|link|end/.test(what) ? [i] : []));
  const chosen = Array.from({ length: count }, (_, i) =>
    i % 2 === 0 ? roll(happenings.length + 1) : (turning[roll(turning.length)] ?? 0) + roll(4),
  );
  const anywhere = chosen
    .sort((a, b) => a - b)
    .map((at, i) => ({ at, cruelty: cruelties[i % cruelties.length] as Cruelty }));
  const afterLogs = happenings.flatMap((each, i) =>
    each.what === "remove" && each.name.endsWith(".log") ? [{ at: i + 1, cruelty: "all lost" as const }] : [],
  );
  return [...anywhere, ...afterLogs, ...starts(happenings)]
    .map(({ at, cruelty }) => ({ at: Math.min(at, happenings.length), cruelty }))
    .sort((a, b) => a.at - b.at);
}

/** A start changes CURRENT and removes files without a flush between: each of these changes may be lost and the next one kept. */
function starts(happenings: readonly Happening[]): Moment[] {
  let isRenamed = false;
  return happenings.flatMap((each, i) => {
    if (each.what === "rename" && each.to.endsWith("/CURRENT")) isRenamed = true;
    else if (each.what === "syncEnds") isRenamed = false;
    if (!isRenamed || each.what !== "remove") return [];
    return Array.from({ length: 4 }, () => ({ at: i + 1, cruelty: "names torn" as const }));
  });
}

/** Cuts the power `count` times in the course of what happened to a disk. */
async function cutAll(
  start: DiskModel,
  happenings: readonly Happening[],
  count: number,
  run: GatewayRun,
  promised: Promised,
  findings: Findings,
  then?: (place: string, content: Content, cut: number) => Promise<void>,
): Promise<void> {
  let done = 0;
  for (const [cut, { at: moment, cruelty }] of moments(happenings, count, run.seed + 17).entries()) {
    for (; done < moment; done++) start.apply(happenings[done] as Happening);
    const place = join(folder, `${run.durability}-${run.seed}-${run.first}-${cut}`);
    mkdirSync(place);
    start.writeTo(place, cruelty, run.seed * 7_919 + cut);
    const acknowledged = acknowledgedAt(happenings, moment, run.first - 1, run.durability);
    const where = `seed ${run.seed}, ${run.durability}, cut ${cut} (${cruelty}) after ${moment} of ${happenings.length} calls`;
    const content = await judge(place, run, promised, acknowledged, findings).catch((cause: unknown) => {
      throw new Error(`${where}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    });
    await then?.(place, content, cut);
    rmSync(place, { recursive: true });
  }
}

const newFindings = (): Findings => ({ cuts: 0, repaired: 0, reported: 0, revived: 0 });

const sayFindings = ({ cuts: n, repaired, reported, revived }: Findings) =>
  `${n} power cuts: 0 acknowledged lost, ${reported} with a word to the operator, ${repaired} repaired (${revived} deletions undone by that)`;

test.skipIf("missing" in strace).each(["group", "each", "none"] as const)(
  `durability %s: the power fails at ${cuts} moments${why}`,
  async (durability) => {
    const seed = firstSeed;
    const place = join(folder, `${durability}-recorded`);
    mkdirSync(place);
    const happenings: Happening[] = [];
    const runs = [
      { seed, durability, first: 1, count: 1_600, ending: "kill" },
      { seed, durability, first: 1_601, count: 1_600, ending: "close" },
      { seed, durability, first: 3_201, count: 800, ending: "kill" },
    ] as const;
    for (const run of runs) happenings.push(...(await live(place, run)));
    const whole: GatewayRun = { seed, durability, first: 1, count: 4_000, ending: "kill" };
    const findings = newFindings();
    const again = newFindings();
    await cutAll(
      new DiskModel(),
      happenings,
      cuts,
      whole,
      new Promised(seed, new Map(), 1, whole.count),
      findings,
      async (after, content, cut) => {
        if (cut % 20 !== 11) return;
        // The power is back, and fails again while the store that it left is taken up.
        const next: GatewayRun = {
          seed: seed + 1_000 * (cut + 1),
          durability,
          first: 10_000,
          count: 300,
          ending: "kill",
        };
        const before = withAfter(content);
        const disk = DiskModel.from(after);
        const more = await live(after, next);
        await cutAll(disk, more, Math.ceil(cuts / 12), next, new Promised(next.seed, before, 10_000, 10_299), again);
      },
    );
    console.log(
      `durability ${durability}, seed ${seed}: ${sayFindings(findings)}; again after that: ${sayFindings(again)}`,
    );
  },
  60_000 + cuts * 3_000,
);
