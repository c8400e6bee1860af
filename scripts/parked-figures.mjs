// What sessions of sleeping clients cost that share a connection, each with one filter of its own: octets of memory for each session as an
// object and parked (src/core/state/parked-sessions.ts), the CPU time of a start that restores them, and of the first PINGREQ of a
// client and its answer.
// Usage: node --expose-gc scripts/parked-figures.mjs [sessions] [folder of another version]    (after npm run build)
import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";
import { parkedWorld, peerOf } from "./parked-world.mjs";

const count = Number(process.argv[2] ?? 100_000);
const version = resolve(process.argv[3] ?? join(import.meta.dirname, ".."));
const way = process.argv[4];

if (way === undefined) {
  console.log(
    "| sessions | way | heap and buffers each | RSS in all, MB | CPU of a start, s | CPU of the first PINGREQ, us |",
  );
  console.log("| --- | --- | --- | --- | --- | --- |");
  // A process for each: what one leaves behind is not another's.
  for (const each of ["as objects", "parked"])
    execFileSync(process.execPath, ["--expose-gc", process.argv[1], String(count), version, each], {
      stdio: "inherit",
    });
} else await measure();

async function measure() {
  const parkAfterMs = way === "parked" ? 10_000 : Number.POSITIVE_INFINITY;
  const { core, dist, restore } = await parkedWorld({ version, count, parkAfterMs });
  const { encode } = await dist("wire/v12/codec.js");
  const used = () => {
    for (let i = 0; i < 3; i++) globalThis.gc();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = used();
  const began = process.cpuUsage();
  restore();
  const seconds = cpuSince(began) / 1e6;
  const each = Math.round((used() - before) / count);
  const rss = Math.round(process.memoryUsage.rss() / 1e6);
  const rounds = Math.min(count, 10_000);
  const pinged = process.cpuUsage();
  for (let i = 0; i < rounds; i++) {
    const at = Math.floor((i * count) / rounds);
    const bytes = encode({ type: "PINGREQ", clientId: `dev-${at}` });
    core.handle({ kind: "datagram", from: peerOf(at), bytes }, 1_000);
  }
  const us = cpuSince(pinged) / rounds;
  console.log(`| ${count} | ${way} | ${each} | ${rss} | ${seconds.toFixed(1)} | ${us.toFixed(1)} |`);
}

/** Microseconds of CPU, also of the garbage collector. */
function cpuSince(began) {
  const { user, system } = process.cpuUsage(began);
  return user + system;
}
