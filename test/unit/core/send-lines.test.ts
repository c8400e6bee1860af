/** What waits to be sent over one connection. */
import { expect, test } from "vitest";
import { newSubscribe, newUnsubscribe, type SubscribeExchange } from "../../../src/core/state/exchanges.ts";
import { SendLines } from "../../../src/core/state/send-lines.ts";
import type { Session } from "../../../src/core/state/session.ts";
import { type Suspicion, Suspicions } from "../../../src/core/state/suspicion.ts";

type Request = SubscribeExchange<Session>;

function request(packetId: number): Request {
  return newSubscribe<Session>({ packetId, filter: `f/${packetId}`, qos: 1, origin: undefined });
}

function suspected(of: Request): void {
  const suspicion = new Suspicions().remember({ key: of.filter, client: "c1" });
  if (suspicion) of.suspicion = { ...suspicion, isSuspect: true } as unknown as Suspicion<Request>;
}

test("what was given up behind a suspect is not shown as waiting: it would be sent as a test, and counted for ever", () => {
  const given = new Set<unknown>();
  const lines = new SendLines<Session>(false, (exchange) => !given.has(exchange));
  const [first, second, third] = [request(1), request(2), request(3)];
  suspected(first);
  for (const each of [first, second, third]) lines.add(each);
  given.add(second);
  lines.sift();
  expect([...lines.held()]).toEqual([[first, third]]);
});

test("a request behind another one for the same filter is not shown: sent before it, it would be ended by it", () => {
  const lines = new SendLines<Session>(false, () => true);
  const unsubscribe = newUnsubscribe<Session>({ packetId: 1, filter: "a/#", origin: undefined });
  const subscribe = newSubscribe<Session>({ packetId: 2, filter: "a/#", qos: 1, origin: undefined });
  const [other, last] = [request(3), request(4)];
  for (const each of [unsubscribe, subscribe, other, last]) lines.add(each);
  expect(lines.all()).toEqual([[unsubscribe, other, last]]);
  suspected(other); // by what it is: also where the first of the line is a suspect
  lines.take(unsubscribe);
  expect(lines.all()).toEqual([[subscribe, other, last]]);
});
