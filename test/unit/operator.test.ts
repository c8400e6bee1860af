/** What the operator is shown of messages that wait, and of those that were dropped. */
import { expect, test } from "vitest";
import { Driver } from "../../src/runtime/driver.ts";
import { operatorSources } from "../../src/runtime/operator.ts";
import { MemoryStore } from "../../src/storage/memory.ts";
import { octets, sleep } from "../helpers/bench.ts";
import { Life } from "../helpers/life.ts";
import { keepAll, testOptions } from "../simulation/options.ts";
import { VirtualClock, VirtualTime } from "../simulation/virtual-time.ts";

/** A sleeper with room for two that was sent three. */
function threeForTwo() {
  const policy = { ...keepAll, atLimit: "oldest", messagesMax: 2 } as const;
  const life = new Life({ buffer: { ...testOptions.buffer, policyOf: () => policy } });
  const { bench } = life;
  bench.connected({ cleanSession: false }).subscribed("t");
  life.keep(bench.client(sleep(3_600)));
  for (const text of ["1", "2", "3"]) {
    life.keep(bench.link().delivers({ payload: octets(text) }));
    life.keep(bench.after(10_000));
  }
  const store = new MemoryStore();
  store.letters = async () => [...life.table.letters].map(([id, [clientId, record]]) => ({ id, clientId, record }));
  const unused = { transports: new Map(), upstream: {} as never, store, report: () => {} };
  const driver = new Driver(bench.core, unused, new VirtualClock(new VirtualTime()));
  const sources = operatorSources(
    bench.core,
    store,
    driver,
    () => bench.now,
    async function* () {},
  );
  return sources;
}

test("how many wait for whom, how long the oldest does, and what was dropped and why", async () => {
  const sources = threeForTwo();
  const waiting = { clientId: "c1", state: "asleep", messages: 2, waitingSeconds: 20, dropped: 1 };
  expect(await sources.queue()).toMatchObject({
    forClients: { messages: 2, clients: [waiting] },
    deadLetters: 1,
    dropped: { "buffer-full": 1 },
  });
  expect(sources.session("c1")).toMatchObject({ waitingMessages: 2, waitingSeconds: 20, droppedMessages: 1 });
});

test("what is sent once more is counted, also where it pushes another out; what is gone is not sent again", async () => {
  const sources = threeForTwo();
  expect(await sources.republish([1])).toBe(1);
  expect(await sources.queue()).toMatchObject({
    forClients: { messages: 2 },
    deadLetters: 1,
    dropped: { "buffer-full": 2 },
  });
  expect(await sources.republish([1])).toBe(0);
});
