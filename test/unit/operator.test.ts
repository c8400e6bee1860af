/** What the operator is shown of messages that wait, and of those that were dropped. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { z } from "zod";
import { statusLines } from "../../src/cli/status.ts";
import type { Role } from "../../src/roles.ts";
import {
  type CommandName,
  commands,
  type InputOf,
  type JsonCommandName,
  type OutputOf,
} from "../../src/runtime/commands.ts";
import { OperatorDesk } from "../../src/runtime/desk.ts";
import { emptyInstallation, type Installation } from "../../src/runtime/installation.ts";
import { Knocks } from "../../src/runtime/knocks.ts";
import { TotalsOfTheHour } from "../../src/runtime/totals.ts";
import { threeForTwo } from "../helpers/waiting.ts";

test("how many wait for whom, how long the oldest does, and what was dropped and why", async () => {
  const { operator } = threeForTwo();
  const waiting = { clientId: "c1", state: "asleep", messages: 2, waitingSeconds: 20, dropped: 1 };
  expect(await operator.queue()).toMatchObject({
    forClients: { messages: 2, clients: [waiting] },
    deadLetters: 1,
    dropped: { "buffer-full": 1 },
  });
  expect(operator.session("c1")).toMatchObject({ waitingMessages: 2, waitingSeconds: 20, droppedMessages: 1 });
});

test("what is sent once more is counted, also where it pushes another out; what is gone is not sent again", async () => {
  const { operator } = threeForTwo();
  expect(await operator.republish([1])).toBe(1);
  expect(await operator.queue()).toMatchObject({
    forClients: { messages: 2 },
    deadLetters: 1,
    dropped: { "buffer-full": 2 },
  });
  expect(await operator.republish([1])).toBe(0);
});

const inputs: { readonly [Name in JsonCommandName]: InputOf<Name> } = {
  "sessions.list": {},
  "sessions.show": { client: "c1" },
  "queue.depth": {},
  "queue.show": { client: "c1" },
  "queue.clear": { topic: "nothing/of/it" },
  "queue.dead": {},
  "queue.republish": { ids: [1] },
  "queue.purge": { ids: [1, 2] },
  "overview.show": {},
  "totals.show": {},
  "fleet.show": {},
  "fleet.drain": {},
  "fleet.members": {},
  "fleet.leave": {},
  "devices.list": { search: "c", limit: 10 },
  "devices.show": { client: "c1" },
  "devices.send": { client: "c1", topic: "a/b", payload: "x", qos: "1" },
  "devices.clear": { client: "c1" },
  "knocking.list": {},
  "knocking.admit": { client: "stranger", from: "anywhere" },
  "join.open": { seconds: 120 },
  "join.show": {},
  "device.list": {},
  "device.add": { name: "dev1" },
  "device.rotate": { name: "dev1" },
  "device.remove": { name: "dev1" },
  "admitted.remove": { client: "stranger" },
  "topics.list": {},
  "topics.add": { id: 7, name: "a/b", client: "c1" },
  "topics.remove": { id: 7 },
  "radio.show": {},
  "settings.show": {},
  "settings.try": { changes: [{ path: ["api", "port"], value: 80 }] },
  "settings.save": { changes: [{ path: ["api", "port"] }], version: "v" },
  "settings.secret": { key: "upstream.password", secret: "s" },
  "console.link": { role: "viewer" },
  "token.list": {},
  "token.add": { name: "graphs", role: "viewer", hash: "a1".repeat(32) },
  "token.remove": { name: "graphs" },
  "console.password": { hash: `scrypt$${"x".repeat(40)}` },
  "sessions.drop": { client: "c1" },
  "ble.links": {},
  "ble.forget": { address: "C0:00:00:00:00:01" },
  "ble.bonds": {},
  "ble.unbond": { address: "C0:00:00:00:00:01" },
};
const outputs: { readonly [Name in JsonCommandName]: { readonly output: z.ZodType<OutputOf<Name>> } } = commands;

/** Something of everything. */
function fullHouse(): Installation {
  const knocks = new Knocks(() => 1_000);
  const peer = "udp/192.0.2.9:1";
  knocks.note({ event: "not_admitted", what: "client", clientId: "stranger", peer, hint: "access.rules: …" });
  const totals = new TotalsOfTheHour();
  const counted = { published: 0, delivered: 0, heard: 0, sent: 0, dropped: 0 };
  totals.note(0, counted);
  totals.note(10_000, { ...counted, published: 25 });
  const stats = { datagramsIn: 1, datagramsOut: 2, bytesIn: 3, bytesOut: 4, sendErrors: 5, kernelDrops: 6 };
  const device = {
    peer,
    name: "n",
    linked: true,
    rssi: -70,
    secondsSinceSeen: 1,
    failures: 0,
    lastFailure: "",
  } as const;
  const links = { up: false, condition: "no adapter", counters: { made: 1 }, devices: [device] };
  const octets = [
    { date: "2026-11-29", in: 7, out: 12_345 },
    { date: "2026-11-28", in: 8, out: 9 },
    { date: "2026-11-27", in: 1, out: 1 },
  ];
  return {
    ...emptyInstallation,
    knocks,
    totals,
    brokers: () => [{ name: "", url: "mqtt://b", isThere: false, sinceSeconds: 3, why: "ECONNREFUSED", octets }],
    transports: () => [{ name: "ble", place: "hci0", stats, links }],
    identityOf: (of) => ({ name: of, by: "address", verified: false }),
    wakingsOf: () => [{ secondsAgo: 3, awakeSeconds: 0.25 }],
    predefined: () => ({ forAll: { "1": "a" }, byClient: { c1: { "2": "b" } }, byHand: [{ id: 1, name: "a" }] }),
    predefine: async () => undefined,
    endPredefined: async () => true,
    admit: async () => undefined,
    withdraw: async () => true,
    joining: () => ({ seconds: 90, left: 99, admitted: ["c7"] }),
    newKey: async () => ({ key: "00".repeat(16) }),
    removeKey: async () => true,
    withKeys: () => [{ name: "dev1", added: "2026-11-28T10:00:00.000Z" }],
    trySettings: async () => ({
      problems: ["p"],
      warnings: ["w"],
      difference: [{ kind: "in", text: "x" }],
      restart: ["api"],
    }),
    saveSettings: async () => ({ restart: ["api"], version: "v2" }),
    keepSecret: async () => ({ file: "f" }),
    link: () => ["http://127.0.0.1:9464/#token=x"],
    setPassword: async () => undefined,
    tokens: () => [{ name: "graphs", role: "viewer", added: "2026-11-28T10:00:00.000Z", isManaged: true }],
    addToken: async () => undefined,
    removeToken: async () => true,
    pair: () => ({
      role: "active",
      name: "barn-a",
      owner: "barn-a",
      epoch: 4,
      leaseSeconds: 3,
      leaseLeftSeconds: 2.1,
      sinceSeconds: 60,
      trouble: "",
      other: { name: "barn-b", version: "1.0.0", secondsAgo: 0.4 },
      handover: { from: "barn-b", cause: "drained", secondsAgo: 60 },
    }),
    drain: async () => ({ from: "barn-a", to: "barn-b", epoch: 5, milliseconds: 150 }),
    fleet: () => ({
      name: "gw-a",
      leaseSeconds: 3,
      shards: 2,
      trouble: "",
      members: [
        {
          name: "gw-a",
          version: "1.0.0",
          place: "192.0.2.1:1884",
          isDraining: false,
          secondsAgo: 0,
          sinceSeconds: 60,
          shards: 1,
        },
      ],
      owners: [
        { shard: 0, owner: "gw-a", epoch: 1, here: "serving" },
        { shard: 1, owner: "", epoch: 4 },
      ],
      counters: { claimed: { first: 1, drained: 0, ended: 0, silent: 0 }, handedOver: 0, lost: 0, failed: 0 },
    }),
    leave: async () => ({ shards: 1 }),
  };
}

/** As it is sent: without what JSON leaves out. */
const sent = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

function queryOf<Name extends JsonCommandName>(name: Name): URLSearchParams {
  return new URLSearchParams(z.encode(commands[name].input, inputs[name]) as Record<string, string>);
}

test("every command answers what its schema says, and nothing besides", async () => {
  const { operator } = threeForTwo(fullHouse());
  const desk = new OperatorDesk(operator, () => {});
  for (const name of Object.keys(inputs) as JsonCommandName[]) {
    const answer = await desk.ask({ name: "test", role: "operator", isLocal: true }, name, queryOf(name));
    if (answer.kind !== "done") throw new Error(`${name}: ${JSON.stringify(answer)}`);
    const output = sent(answer.output);
    expect(outputs[name].output.parse(output), name).toEqual(output);
  }
});

test("a viewer sees, and changes nothing", async () => {
  const { operator } = threeForTwo();
  const desk = new OperatorDesk(operator, () => {});
  const kinds: Partial<Record<CommandName, string>> = {};
  for (const name of Object.keys(inputs) as JsonCommandName[]) {
    kinds[name] = (await desk.ask({ name: "test", role: "viewer" }, name, queryOf(name))).kind;
  }
  expect(kinds).toEqual({
    "sessions.list": "done",
    "sessions.show": "done",
    "queue.depth": "done",
    "queue.show": "done",
    "queue.clear": "not-allowed",
    "queue.dead": "not-allowed", // it shows payloads
    "queue.republish": "not-allowed",
    "queue.purge": "not-allowed",
    "sessions.drop": "not-allowed",
    "ble.links": "done",
    "ble.forget": "not-allowed",
    "ble.bonds": "done",
    "ble.unbond": "not-allowed",
    "overview.show": "done",
    "totals.show": "done",
    "fleet.show": "not-there", // it is alone
    "fleet.drain": "not-allowed",
    "fleet.members": "not-there",
    "fleet.leave": "not-allowed",
    "devices.list": "done",
    "devices.show": "done",
    "devices.send": "not-allowed",
    "devices.clear": "not-allowed",
    "knocking.list": "not-allowed", // a refused client chose its name itself
    "knocking.admit": "not-allowed",
    "admitted.remove": "not-allowed",
    "join.open": "not-allowed",
    "join.show": "not-allowed",
    "device.list": "not-allowed",
    "device.add": "not-allowed",
    "device.rotate": "not-allowed",
    "device.remove": "not-allowed",
    "topics.list": "done",
    "topics.add": "not-allowed",
    "topics.remove": "not-allowed",
    "radio.show": "done",
    "settings.show": "not-allowed",
    "settings.try": "not-allowed",
    "settings.save": "not-allowed",
    "settings.secret": "not-allowed",
    "token.list": "not-allowed",
    "token.add": "not-allowed",
    "token.remove": "not-allowed",
    "console.link": "not-allowed",
    "console.password": "not-allowed",
  });
  expect(await operator.queue()).toMatchObject({ forClients: { messages: 2 }, deadLetters: 1 });
});

test("one of a pair that stands by answers for itself, and sends to the other one for all else", async () => {
  const { operator } = threeForTwo(fullHouse());
  let say: string | undefined = "barn-a is active, ask there";
  const desk = new OperatorDesk(
    operator,
    () => {},
    () => say,
  );
  const local = { name: "control socket", role: "operator", isLocal: true } as const;
  const asked = async (name: CommandName) => (await desk.ask(local, name, new URLSearchParams())).kind;
  const names = Object.keys(commands) as CommandName[];
  const own = names.filter((name) => /^(overview|totals|radio|settings|console|token|fleet)\./.test(name));
  for (const name of names)
    if (!own.includes(name))
      expect(await desk.ask(local, name, new URLSearchParams())).toEqual({ kind: "not-possible", say });
  expect(await asked("overview.show")).toBe("done");
  expect(await asked("settings.show")).toBe("done");
  say = undefined;
  expect(await asked("sessions.list")).toBe("done");
});

test("why a gateway does not hand over is an answer, and noted with who asked", async () => {
  const { operator } = threeForTwo({ ...fullHouse(), drain: async () => "no gateway stands by" });
  const audited: unknown[] = [];
  const desk = new OperatorDesk(operator, (entry) => audited.push(entry));
  const asked = await desk.ask({ name: "console", role: "operator" }, "fleet.drain", new URLSearchParams());
  expect(asked).toEqual({ kind: "not-possible", say: "no gateway stands by" });
  expect(audited).toEqual([
    { who: "console", command: "fleet.drain", input: "{}", outcome: "refused: no gateway stands by" },
  ]);
});

test("a viewer hears that the broker is away, not where it is and what it says", async () => {
  const { operator } = threeForTwo(fullHouse());
  const desk = new OperatorDesk(operator, () => {});
  const asked = async (role: Role) =>
    JSON.stringify(await desk.ask({ name: "test", role }, "overview.show", new URLSearchParams()));
  expect(await asked("operator")).toMatch(/The broker mqtt:\/\/b has been away for 3 s \(ECONNREFUSED\)\./);
  const seen = await asked("viewer");
  expect(seen).toMatch(/The broker has been away for 3 s\./);
  expect(seen).not.toMatch(/mqtt:|ECONNREFUSED/);
});

test("status says what went to and from a broker today and yesterday", async () => {
  const { operator } = threeForTwo(fullHouse());
  expect(statusLines(await operator.overview(true))).toContain(
    "broker: mqtt://b away; 2026-11-29: 12345 octets out, 7 in; 2026-11-28: 9 octets out, 8 in",
  );
});

test("a link and a password's hash are noted nowhere; that they were asked for is", async () => {
  const { operator } = threeForTwo(fullHouse());
  const audited: unknown[] = [];
  const desk = new OperatorDesk(operator, (entry) => audited.push(entry));
  const local = { name: "control socket", role: "operator", isLocal: true } as const;
  await desk.ask(local, "console.link", queryOf("console.link"));
  await desk.ask(local, "console.password", queryOf("console.password"));
  expect(audited).toEqual([
    { who: "control socket", command: "console.link", input: "{}", outcome: "done" },
    { who: "control socket", command: "console.password", input: "{}", outcome: "done" },
  ]);
});

test("a key goes only where nobody reads on the way, and is noted nowhere", async () => {
  const { operator } = threeForTwo(fullHouse());
  const audited: unknown[] = [];
  const desk = new OperatorDesk(operator, (entry) => audited.push(entry));
  const named = { name: "console", role: "operator" } as const;
  for (const command of ["device.add", "device.rotate"] as const) {
    const asked = async (more: object) => (await desk.ask({ ...named, ...more }, command, queryOf(command))).kind;
    expect([await asked({}), await asked({ isPrivate: true }), await asked({ isLocal: true })]).toEqual([
      "not-allowed",
      "done",
      "done",
    ]);
    expect(await asked({ isPrivate: true, role: "viewer" })).toBe("not-allowed");
  }
  expect(audited).toHaveLength(8);
  expect(JSON.stringify(audited)).not.toMatch(/00000000|dev1/);
});

test("the list: each command has a place of its own, what changes something is the operator's and audited", () => {
  const { "settings.try": tried, ...others } = commands;
  const all = Object.values(others);
  expect([tried.role, tried.audited]).toEqual(["operator", false]); // it changes nothing: asked at every letter
  expect(new Set(all.map(({ method, path }) => `${method} ${path}`)).size).toBe(all.length);
  for (const { method, role, audited } of all) {
    if (method !== "GET") expect([role, audited]).toEqual(["operator", true]);
  }
});

test("the manual has every command with its inputs", () => {
  const manual = readFileSync(new URL("../../docs/guide/operations.md", import.meta.url), "utf8");
  for (const { method, path, input } of Object.values(commands)) {
    const row = manual.split("\n").find((line) => line.startsWith(`| \`${method} ${path}\` |`));
    expect(row, `${method} ${path}`).toBeDefined();
    for (const name of Object.keys(input.shape)) expect(row).toContain(`\`${name}\``);
  }
});

test("every input and output can be said as a JSON schema, for an HTTP interface", () => {
  for (const command of Object.values(commands)) {
    expect(z.toJSONSchema(command.input, { io: "input" })).toMatchObject({ additionalProperties: false });
    if ("output" in command) expect(z.toJSONSchema(command.output)).toHaveProperty("type");
  }
});
