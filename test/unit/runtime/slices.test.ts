/** Work over all sessions, in slices: devices are served in between. */
import { once } from "node:events";
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tell } from "../../../src/api/answers.ts";
import { FirstOf } from "../../../src/runtime/first-of.ts";
import { emptyInstallation } from "../../../src/runtime/installation.ts";
import { inSlices } from "../../../src/runtime/slices.ts";
import { createViews } from "../../../src/runtime/views.ts";
import { a, b } from "../../helpers/aggregating-bench.ts";
import { connect, wake } from "../../helpers/bench.ts";
import { asleep, parked, soonMs } from "../../helpers/parked-bench.ts";

describe("work in slices", () => {
  test("every item is visited, and other events have their turn in between", async () => {
    const visited: number[] = [];
    let turns = 0;
    const ticking = () => {
      turns++;
      if (visited.length < 200) setImmediate(ticking);
    };
    setImmediate(ticking);
    const slow = (item: number) => {
      visited.push(item);
      for (const until = performance.now() + 0.5; performance.now() < until; );
    };
    const workedMs = await inSlices(
      Array.from({ length: 200 }, (_, i) => i),
      slow,
    );
    expect(visited).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(workedMs).toBeGreaterThanOrEqual(100);
    expect(turns).toBeGreaterThan(5);
  });

  test("what fails in between is thrown", async () => {
    const failing = inSlices([1, 2], () => {
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
  });
});

test("the first of many are those of a sorted list", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(9), fc.nat(99))), fc.nat(30), (items, max) => {
      const compare = ([x]: [number, number], [y]: [number, number]) => x - y;
      const first = new FirstOf<[number, number]>(max, compare);
      for (const item of items) first.add(item);
      expect(first.items).toEqual(items.toSorted(compare).slice(0, max));
    }),
  );
});

describe("all sessions, read step by step", () => {
  const idsOf = (found: readonly { readonly clientId: string }[]) => found.map(({ clientId }) => clientId).sort();

  test("one that wakes or is parked between two steps appears once", () => {
    const gateway = asleep(asleep(), b, "b");
    gateway.client(connect({ clientId: "c", cleanSession: false }), "udp/192.0.2.3:3").gets("CONNACK");
    const iterator = gateway.core.sessions();
    const found = [iterator.next().value];
    gateway.client(wake("a"), a).gets("PINGRESP");
    gateway.client(wake("b"), b).gets("PINGRESP");
    expect(parked(gateway)).toBe(0);
    found.push(iterator.next().value);
    gateway.after(2 * soonMs);
    expect(parked(gateway)).toBe(2);
    found.push(...iterator);
    expect(idsOf(found)).toEqual(["a", "b", "c"]);
  });
});

describe("views", () => {
  const query = { search: undefined, state: undefined, sort: "client", order: "up", offset: 0, limit: 100 } as const;

  function twoAsleep() {
    const gateway = asleep(asleep(), b, "b");
    return { gateway, views: createViews(gateway.core, () => gateway.now, emptyInstallation) };
  }

  test("who asks for the same within a second gets the same, and who asks later gets another one", async () => {
    const { gateway, views } = twoAsleep();
    const [one, two] = [views.devices(query), views.devices(query)];
    expect(await two).toBe(await one);
    expect(await views.devices(query)).toBe(await one);
    expect(await views.devices({ ...query, limit: 1 })).not.toBe(await one);
    gateway.after(60_000);
    expect(await views.devices(query)).not.toBe(await one);
  });

  test("a page begins where the one before ends, and each has the sums of all", async () => {
    const { views } = twoAsleep();
    const pages = [await views.devices({ ...query, limit: 1 }), await views.devices({ ...query, offset: 1, limit: 1 })];
    expect(pages.map(({ devices }) => devices.map(({ clientId }) => clientId))).toEqual([["a"], ["b"]]);
    expect(pages).toMatchObject([0, 1].map(() => ({ total: 2, matched: 2, byState: { asleep: 2, active: 0 } })));
    expect(await views.devices({ ...query, search: "B" })).toMatchObject({
      total: 2,
      matched: 1,
      devices: [{ clientId: "b" }],
    });
    expect((await views.overview(true)).sessions).toMatchObject({ total: 2, asleep: 2 });
  });
});

test.each([0, 1, 250, 251, 1_000])("a list of %i rows is written as one JSON text", async (count) => {
  const rows = Array.from({ length: count }, (_, i) => ({ clientId: `"${i}"`, absent: undefined, number: i }));
  const server = createServer((_request, response) => void tell(response, { kind: "done", output: rows }));
  await once(server.listen(0, "127.0.0.1"), "listening");
  try {
    const request = get({ port: (server.address() as AddressInfo).port });
    const [response] = await once(request, "response");
    expect(response.headers["content-type"]).toBe("application/json");
    expect(await text(response)).toBe(`${JSON.stringify(rows)}\n`);
  } finally {
    server.close();
  }
});
