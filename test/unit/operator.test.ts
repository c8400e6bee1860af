/** What the operator is shown of messages that wait, and of those that were dropped. */
import { expect, test } from "vitest";
import { threeForTwo } from "../helpers/waiting.ts";

test("how many wait for whom, how long the oldest does, and what was dropped and why", async () => {
  const { sources } = threeForTwo();
  const waiting = { clientId: "c1", state: "asleep", messages: 2, waitingSeconds: 20, dropped: 1 };
  expect(await sources.queue()).toMatchObject({
    forClients: { messages: 2, clients: [waiting] },
    deadLetters: 1,
    dropped: { "buffer-full": 1 },
  });
  expect(sources.session("c1")).toMatchObject({ waitingMessages: 2, waitingSeconds: 20, droppedMessages: 1 });
});

test("what is sent once more is counted, also where it pushes another out; what is gone is not sent again", async () => {
  const { sources } = threeForTwo();
  expect(await sources.republish([1])).toBe(1);
  expect(await sources.queue()).toMatchObject({
    forClients: { messages: 2 },
    deadLetters: 1,
    dropped: { "buffer-full": 2 },
  });
  expect(await sources.republish([1])).toBe(0);
});
