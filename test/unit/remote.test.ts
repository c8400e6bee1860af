/** Commands over MQTT, without a connection: what is asked, answered and told, and what is not. */
import { beforeEach, describe, expect, test } from "vitest";
import type { GatewayEvent } from "../../src/core/event.ts";
import { answerBytesMax, commandBytesMax, offered, Remote, type RemoteOptions } from "../../src/remote/remote.ts";
import type { Answer } from "../../src/runtime/command.ts";
import { commands } from "../../src/runtime/commands.ts";
import type { OwnMessage } from "../../src/upstream/own-connection.ts";

const text = new TextEncoder();
let now = 0;
let asked: { who: object; name: string; query: Record<string, string> }[];
let published: { topicName: string; body: Record<string, unknown>; correlationData?: Uint8Array | undefined }[];
let said: string[];
let answer: Answer | Error;

beforeEach(() => {
  now = 0;
  asked = [];
  published = [];
  said = [];
  answer = { kind: "done", output: [1] };
});

function remote(over: Partial<RemoteOptions> = {}): Remote {
  const options: RemoteOptions = {
    topic: "site/gw",
    role: "viewer",
    answerTopics: [],
    commandsPerSecondMax: 5,
    eventsPerSecondMax: 2,
    qos: 2,
    ...over,
  };
  const made = new Remote(options, {
    desk: {
      ask: async (who, name, query) => {
        asked.push({ who, name, query: Object.fromEntries(query) });
        if (answer instanceof Error) throw answer;
        return answer;
      },
    },
    now: () => now,
    wallClock: () => 1_700_000_000_000,
    told: (_level, say) => said.push(say),
  });
  made.connected({
    publish: (topicName, body, { correlationData }) =>
      published.push({ topicName, body: JSON.parse(body) as Record<string, unknown>, correlationData }),
  });
  return made;
}

async function command(to: Remote, topic: string, payload: unknown = "", message: Partial<OwnMessage> = {}) {
  const octets = payload instanceof Uint8Array ? payload : text.encode(payload === "" ? "" : JSON.stringify(payload));
  to.received(topic, octets, { retain: false, ...message });
  await new Promise((done) => setImmediate(done));
  return published.at(-1);
}

describe("a command", () => {
  test("is answered at the topic with its id", async () => {
    expect(await command(remote(), "site/gw/command/sessions.list/7.a")).toEqual({
      topicName: "site/gw/answer/7.a",
      body: { command: "sessions.list", outcome: "done", output: [1] },
      correlationData: undefined,
    });
    expect(asked).toEqual([{ who: { name: "MQTT site/gw", role: "viewer" }, name: "sessions.list", query: {} }]);
  });

  test("is answered at MQTT 5's response topic, with what is to stand in it", async () => {
    const correlationData = Uint8Array.of(1, 2);
    const message = { responseTopic: "site/gw/answer/me/here", correlationData };
    expect(await command(remote(), "site/gw/command/sessions.list", "", message)).toMatchObject({
      topicName: "site/gw/answer/me/here",
      correlationData,
    });
  });

  test("has its inputs as JSON: texts, numbers, truth and lists", async () => {
    await command(remote(), "site/gw/command/queue.purge/1", { ids: [3, 4], client: "a b&c", flag: true, n: 2 });
    await command(remote(), "site/gw/command/queue.purge/1", { changes: [{ path: ["api"] }] });
    expect(asked.map(({ query }) => query)).toEqual([
      { ids: "3,4", client: "a b&c", flag: "true", n: "2" },
      { changes: '[{"path":["api"]}]' },
    ]);
  });

  test("that cannot be carried out is answered with why", async () => {
    answer = { kind: "wrong-input", problems: ["client: say which client"] };
    expect((await command(remote(), "site/gw/command/sessions.show/1"))?.body).toEqual({
      command: "sessions.show",
      outcome: "refused",
      problems: ["client: say which client"],
    });
    answer = { kind: "not-allowed", say: "this needs the role operator" };
    expect((await command(remote(), "site/gw/command/sessions.drop/1"))?.body).toMatchObject({ outcome: "refused" });
    answer = new Error("inside");
    expect(JSON.stringify((await command(remote(), "site/gw/command/sessions.drop/1"))?.body)).not.toContain("inside");
    expect(said.join()).toContain("inside");
  });

  test.each([
    ["retained", "site/gw/command/sessions.list/1", "", { retain: true }],
    ["with an id that is none", "site/gw/command/sessions.list/a b", "", {}],
    ["with more levels", "site/gw/command/sessions.list/1/2", "", {}],
    ["that is not there", "site/gw/command/nothing/1", "", {}],
    ["called as something of every object", "site/gw/command/constructor/1", "", {}],
    ["no JSON", "site/gw/command/sessions.list/1", text.encode("{"), {}],
    ["no text", "site/gw/command/sessions.list/1", Uint8Array.of(0xff, 0xfe), {}],
    ["a list", "site/gw/command/sessions.list/1", [1], {}],
    ["with a table in it", "site/gw/command/sessions.list/1", { a: { b: 1 } }, {}],
    ["too long", "site/gw/command/sessions.list/1", new Uint8Array(commandBytesMax + 1), {}],
  ])("%s is refused, and nothing is asked", async (_what, topic, payload, message) => {
    expect((await command(remote(), topic, payload, message))?.body["outcome"]).toBe("refused");
    expect(asked).toEqual([]);
  });

  test("too often is refused until a while has passed", async () => {
    const to = remote({ commandsPerSecondMax: 2 });
    const outcomes: unknown[] = [];
    const send = async () => outcomes.push((await command(to, "site/gw/command/sessions.list/1"))?.body["outcome"]);
    for (let i = 0; i < 3; i++) await send();
    now = 500;
    await send();
    await send();
    expect(outcomes).toEqual(["done", "done", "refused", "done", "refused"]);
  });

  test("is not answered by a command, nor where nobody may be answered; that is said once a minute", async () => {
    const to = remote({ answerTopics: ["apps/+/replies"] });
    const at = (responseTopic: string) => command(to, "site/gw/command/sessions.list", "", { responseTopic });
    for (const topic of ["site/gw/command/sessions.list", "other/topic", "site/gw/answer/#"]) await at(topic);
    expect(published).toEqual([]);
    expect(said).toEqual([expect.stringContaining("control.answerTopics")]);
    expect(await at("apps/1/replies")).toMatchObject({ topicName: "apps/1/replies" });
  });

  test("whose answer is too long says so", async () => {
    answer = { kind: "done", output: "x".repeat(answerBytesMax) };
    expect((await command(remote(), "site/gw/command/sessions.list/1"))?.body).toMatchObject({
      command: "sessions.list",
      outcome: "refused",
      say: expect.stringContaining("use the API"),
    });
  });
});

test("what hands out a secret, or lets somebody in, is not offered; all else that answers with JSON is", () => {
  const names = offered().map(({ name }) => name);
  expect(names).not.toContain("device.add");
  expect(names).not.toContain("console.link");
  expect(names).not.toContain("settings.secret");
  expect(names).not.toContain("backup");
  expect(names).toContain("sessions.list");
  expect(names).toContain("topics.add");
  expect(names.every((name) => name in commands)).toBe(true);
});

describe("events", () => {
  const lost: GatewayEvent = { event: "client_state", clientId: "a", state: "lost", peer: undefined, why: "silent" };
  const twins: GatewayEvent = { event: "id_in_use", clientId: "a", peer: "udp/192.0.2.1:1", other: "udp/192.0.2.2:1" };

  test("are told with what the role may see", () => {
    remote().happened(twins);
    remote({ role: "operator" }).happened(twins);
    expect(published.map(({ topicName, body }) => [topicName, body])).toEqual([
      ["site/gw/event/id_in_use", { at: 1_700_000_000_000, event: "id_in_use", clientId: "a" }],
      ["site/gw/event/id_in_use", { at: 1_700_000_000_000, ...twins }],
    ]);
  });

  test("beyond the limit are left out, and counted by the next", () => {
    const to = remote();
    for (let i = 0; i < 5; i++) to.happened(lost);
    now = 1_000;
    to.happened(lost);
    expect(published.map(({ body }) => body["leftOut"])).toEqual([undefined, undefined, 3]);
  });

  test("cost nothing while there is no connection", () => {
    const to = remote();
    to.disconnected();
    to.happened(lost);
    expect(published).toEqual([]);
  });
});
