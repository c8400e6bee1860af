// Octets of heap for each topic filter in the tree of a shared connection, if each client has its own filters. The client's session and the
// filter's entry are not counted. Usage: node --expose-gc scripts/memory-figures.mjs [filters] [folder of another version]    (after npm
// run build)
import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";

const count = Number(process.argv[2] ?? 100_000);
const version = resolve(process.argv[3] ?? join(import.meta.dirname, ".."));
const { FilterTrie } = await import(join(version, "dist/core/state/filter-trie.js"));

const used = () => {
  for (let i = 0; i < 3; i++) globalThis.gc();
  return process.memoryUsage().heapUsed;
};
const shapes = {
  "one filter for each client, `site/<client>/set`": (i) => [`site/dev-${i}/set`],
  "one filter for each client, `site/<client>/#`": (i) => [`site/dev-${i}/#`],
  "two for each client, `site/<client>/set` and `site/<client>/config`": (i) => [
    `site/dev-${i}/set`,
    `site/dev-${i}/config`,
  ],
  "one level alone, `dev-<client>`": (i) => [`dev-${i}`],
};
if (process.argv[4] === undefined) {
  console.log("| filters | octets for each |\n| --- | --- |");
  // A process for each: what one leaves behind is not another's.
  for (const name of Object.keys(shapes))
    execFileSync(process.execPath, ["--expose-gc", process.argv[1], String(count), version, name], {
      stdio: "inherit",
    });
} else measure(process.argv[4]);

function measure(name) {
  const entries = [];
  for (let i = 0; entries.length < count; i++) for (const filter of shapes[name](i)) entries.push({ filter });
  const texts = new Set(entries.map(({ filter }) => filter)); // makes each text one piece
  const trie = new FilterTrie();
  const before = used();
  for (const entry of entries) trie.add(entry);
  console.log(`| ${name} | ${Math.round((used() - before) / entries.length)} |`);
  if (trie.size !== texts.size) throw new Error("some are missing");
}
