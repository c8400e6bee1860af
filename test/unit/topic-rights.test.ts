/** The rules of `access` as rights of one client: placeholders, the first rule, defaults, and which filter holds which. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createAccessPolicy } from "../../src/config/access.ts";
import { accessOptions } from "../../src/config/access-options.ts";
import type { PeerId } from "../../src/core/types.ts";
import { covers, matches } from "../../src/wire/topic.ts";

const hostOf = (peer: PeerId) => peer.split(/[/:]/)[1] ?? "";
const peer: PeerId = "udp/192.0.2.1:5";
function rightsOf(access: unknown, clientId: string | undefined, at: PeerId | undefined = peer) {
  const identity = at && ({ name: hostOf(at), by: "address", verified: false } as const);
  return createAccessPolicy(accessOptions.parse(access), hostOf).rightsOf({ clientId, peer: at, identity });
}

test("a client chooses its id: one that is a wildcard, or more than a level, gets nothing by it", () => {
  const access = { rules: [{ allow: "*", publish: ["dev/{clientId}/#"], subscribe: ["dev/{clientId}/#"] }] };
  expect(rightsOf(access, "c1")?.mayPublish("dev/c1/x")).toBe(true);
  for (const id of ["#", "+", "c1/..", "a/c1", "+/c1", "", "c1\0"]) {
    const rights = rightsOf(access, id);
    for (const topic of ["dev/c1/x", "dev/x", "dev/c1", `dev/${id}/x`, `dev/${id}`]) {
      expect(rights?.mayPublish(topic), `${id} ${topic}`).toBe(false);
      expect(rights?.maySubscribe(topic), `${id} ${topic}`).toBe(false);
    }
  }
  expect(rightsOf(access, "$&")?.mayPublish("dev/$&/x")).toBe(true); // no pattern of replacements
});

test("the first allow rule that names the client counts, then what stands beside the rules", () => {
  const access = {
    publish: ["other/#"],
    rules: [
      { deny: "c9" },
      { allow: "c*", from: ["198.51.100.0/24"], publish: ["far/#"] },
      { allow: "c*", publish: ["dev/{identity}/x"] },
      { allow: "d*" },
    ],
  };
  expect(rightsOf(access, "c1")?.mayPublish("dev/192.0.2.1/x")).toBe(true);
  expect(rightsOf(access, "c1", "udp/198.51.100.7:1")?.mayPublish("far/x")).toBe(true);
  expect(rightsOf(access, "c1", "udp/198.51.100.7:1")?.mayPublish("dev/198.51.100.7/x")).toBe(false);
  expect(rightsOf(access, "d1")?.mayPublish("other/x")).toBe(true);
  expect(rightsOf(access, "e1")?.hint("publish", "a/b")).toBe('access.publish: add "a/b"');
  expect(rightsOf(access, "c1")?.hint("receive", "a/b")).toBe('access.rules.2.subscribe: add "a/b"');
  expect(rightsOf(access, "c1")?.maySubscribe("#")).toBe(true);
});

test("without a connection: everything while nothing is limited, else nothing but what is said", () => {
  expect(rightsOf({}, undefined)?.mayPublish("x") ?? true).toBe(true);
  expect(rightsOf({ rules: [{ allow: "a", publish: ["a"] }] }, undefined)?.mayPublish("a")).toBe(false);
  const said = {
    rules: [{ allow: "a", publish: ["a"] }],
    qosMinusOne: { publish: ["b", "by/{identity}", "of/{clientId}"] },
  };
  expect(rightsOf(said, undefined)?.mayPublish("b")).toBe(true);
  expect(rightsOf(said, undefined)?.mayPublish("by/192.0.2.1")).toBe(true);
  expect(rightsOf(said, undefined)?.mayPublish("of/{clientId}")).toBe(false);
});

test("where nothing is limited there are no rights to ask", () => {
  expect(rightsOf({ rules: [{ allow: "*" }] }, "c1")).toBe(undefined);
});

test("what a schema refuses", () => {
  for (const filter of ["a/#/b", "", "a/{clientid}", "$share/g/a", "{x}"])
    expect(() => accessOptions.parse({ publish: [filter] }), filter).toThrow();
});

test("a filter holds another exactly where every name of the other is one of its own", () => {
  const levels = ["a", "b", "+", "#", ""];
  const all: string[] = [];
  for (const one of levels) {
    all.push(one, `$${one}`);
    for (const two of levels)
      for (const three of ["", ...levels.map((level) => `/${level}`)]) all.push(`${one}/${two}${three}`);
  }
  const filters = all.filter(
    (filter) =>
      filter !== "" &&
      filter.split("/").every((level, i, { length }) => (level !== "#" || i === length - 1) && !/^\$[+#]/.test(level)),
  );
  const names = ["a", "b", "", "z", "$a"].flatMap((one) => [
    one,
    ...["a", "b", "", "z"].flatMap((two) => [
      `${one}/${two}`,
      ...["a", "b", "", "z"].flatMap((three) => [`${one}/${two}/${three}`, `${one}/${two}/${three}/z`]),
    ]),
  ]);
  for (const right of filters)
    for (const filter of filters) {
      const own = names.filter((name) => name !== "" && matches(filter, name));
      const isHeld = own.every((name) => matches(right, name));
      if (covers(right, filter)) expect(isHeld, `${right} holds ${filter}`).toBe(true);
      // `/#` also stands for the empty name, which is none; `+/#` holds all that `#` does, in other words.
      else if (isHeld && own.length > 0 && filter !== "/#" && !right.endsWith("+/#"))
        expect([right, filter]).toEqual(["never", "here"]);
    }
});

test("an answer does not depend on what was asked before, however many topics there are", () => {
  const publish = ["dev/{clientId}/#", "all/+/x", "one"];
  const rights = rightsOf({ rules: [{ allow: "*", publish }] }, "c1");
  const isAllowed = (topic: string) => /^dev\/c1(\/|$)|^all\/[^/]*\/x$|^one$/.test(topic);
  const long = "x".repeat(300);
  const topics = fc.constantFrom(
    "one",
    "two",
    "dev/c1/a",
    "dev/c2/a",
    "all/1/x",
    "all/2/y",
    "",
    long,
    `dev/c1/${long}`,
  );
  const names = fc.oneof(
    topics,
    fc.integer({ min: 0, max: 30 }).map((i) => `${i % 2 ? "dev/c1" : "dev"}/${i}`),
  );
  fc.assert(
    fc.property(fc.array(names, { maxLength: 60 }), (asked) => {
      for (const topic of asked) expect(rights?.mayPublish(topic), topic).toBe(isAllowed(topic));
    }),
    { numRuns: 200 },
  );
});
