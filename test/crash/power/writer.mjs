// The process that is recorded: the built store, given the commits from .. from + count - 1. What is called back is said
// on standard output, `ack n`, where the recording sees it between the writes.
// Usage: node writer.mjs FOLDER SEED DURABILITY FROM COUNT close|kill
import { writeSync } from "node:fs";
import { DiskStore } from "../../../dist/storage/disk.js";
import { changesOf, dice } from "./workload.mjs";

const [folder, seed, durability, from, count, ending] = process.argv.slice(2);
const store = new DiskStore({ kind: "disk", folder, durability, groupMilliseconds: 0, records: "packed" });
const { notices } = await store.open();
for (const notice of notices) writeSync(2, `${notice}\n`);
const last = Number(from) + Number(count) - 1;
const roll = dice(Number(seed) + Number(from));
let n = Number(from);
while (n <= last) {
  // A handful at once, as the turns of a gateway come.
  const together = [];
  for (let i = 1 + roll(12); i > 0 && n <= last; i--, n++) {
    const number = n;
    together.push(
      new Promise((done) => {
        store.commit(changesOf(Number(seed), number), (error) => {
          if (error) throw error;
          writeSync(1, `ack ${number}\n`);
          done(undefined);
        });
      }),
    );
  }
  // Sometimes the next ones come while these are being written.
  if (roll(3) > 0) await Promise.all(together);
  else await Promise.race(together);
}
if (ending === "kill") process.kill(process.pid, "SIGKILL");
await store.close();
