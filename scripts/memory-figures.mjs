// Octets of heap for each topic filter of a shared connection, if each client has its own filters: its entry, and its place in the index.
// The client's session and the text of the filter, which the session has too, are not counted. Usage: node --expose-gc
// scripts/memory-figures.mjs [filters] [folder of another version]    (after npm run build)
import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";

const count = Number(process.argv[2] ?? 100_000);
const version = resolve(process.argv[3] ?? join(import.meta.dirname, ".."));
const { SharedConnection } = await import(join(version, "dist/core/state/shared-connection.js"));
const { joinLane } = await import(join(version, "dist/core/broker/shared-subscriptions.js"));

const used = () => {
  for (let i = 0; i < 3; i++) globalThis.gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};
const shapes = {
  "one filter for each client, `site/<client>/set`": (i) => [`site/dev-${i}/set`],
  "one filter for each client, `d/<client>/+`": (i) => [`d/dev-${i}/+`],
  "one filter for each client, `cmd/<client>/#`": (i) => [`cmd/dev-${i}/#`],
  "two for each client, `site/<client>/set` and `site/<client>/config`": (i) => [
    `site/dev-${i}/set`,
    `site/dev-${i}/config`,
  ],
  "two for each client, `d/<client>/+` and `cmd/<client>/#`": (i) => [`d/dev-${i}/+`, `cmd/dev-${i}/#`],
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
  const wanted = [];
  for (let i = 0; wanted.length < count; i++) {
    const client = { clientId: `dev-${i}`, row: i };
    for (const filter of shapes[name](i)) wanted.push({ client, filter });
  }
  const texts = new Set(wanted.map(({ filter }) => filter)); // makes each text one piece
  const shared = new SharedConnection({ name: "", options: { clientIdPrefix: "" } }, 0, 1);
  const before = used();
  for (const { client, filter } of wanted) joinLane(shared, client, filter, 1);
  console.log(`| ${name} | ${Math.round((used() - before) / wanted.length)} |`);
  if (shared.filters.size !== texts.size) throw new Error("some are missing");
}
