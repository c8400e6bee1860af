/** The control socket as programs and `curl --unix-socket` see it. */

import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type ControlLimits, ControlServer } from "../../src/api/control.ts";
import { ask, askForOctets } from "../../src/cli/ask.ts";
import { GatewayError } from "../../src/errors.ts";
import { noSession } from "../../src/runtime/command-shapes.ts";
import type { InputOf, JsonCommandName } from "../../src/runtime/commands.ts";
import { type AuditEntry, OperatorDesk } from "../../src/runtime/desk.ts";
import { threeForTwo } from "../helpers/waiting.ts";

async function served(limits: Partial<ControlLimits> = {}) {
  const gateway = threeForTwo();
  const folder = mkdtempSync(join(tmpdir(), "control-"));
  const socketPath = join(folder, "control.sock");
  const audited: AuditEntry[] = [];
  const desk = new OperatorDesk(gateway.operator, (entry) => audited.push(entry));
  const server = new ControlServer(socketPath, desk, limits);
  await server.start();
  onTestFinished(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  const curl = (line: string, headers: Record<string, string> = {}, body = "") =>
    new Promise<{ status: number | undefined; type: string | undefined; body: string }>((resolve, reject) => {
      const [method, path] = line.split(" ");
      const asking = request({ socketPath, method, path, headers }, async (response) => {
        const parts: Buffer[] = [];
        for await (const part of response) parts.push(part as Buffer);
        const { statusCode: status, headers } = response;
        resolve({ status, type: headers["content-type"], body: Buffer.concat(parts).toString() });
      });
      asking.once("error", reject);
      asking.end(body);
    });
  const json = async (line: string) => {
    const { status, body } = await curl(line);
    return [status, JSON.parse(body)] as const;
  };
  return { ...gateway, audited, socketPath, curl, json };
}

const facts = { clientId: "c1", state: "asleep", waitingMessages: 2, droppedMessages: 1, linkUp: true };

test("sessions: all, one, an unknown one; one is ended", async () => {
  const { json } = await served();
  expect(await json("GET /sessions")).toEqual([200, [expect.objectContaining(facts)]]);
  const [status, one] = await json("GET /session?client=c1");
  expect([status, one]).toEqual([
    200,
    expect.objectContaining({
      ...facts,
      topics: expect.any(Array),
      subscriptions: [expect.objectContaining({ filter: "t" })],
    }),
  ]);
  expect(await json("GET /session?client=nobody")).toEqual([404, { error: 'there is no session of "nobody"' }]);
  expect(await json("DELETE /session?client=nobody")).toEqual([404, { error: 'there is no session of "nobody"' }]);
  expect(await json("DELETE /session?client=c1")).toEqual([200, { dropped: "c1" }]);
  expect(await json("GET /sessions")).toEqual([200, []]);
});

test("while sessions are still read, the answer about an unknown one says that it may come", () => {
  const say = (isRestoring: boolean) => noSession("c9", { isRestoring: () => isRestoring }).say;
  expect(say(false)).toBe('there is no session of "c9"');
  expect(say(true)).toMatch(/^there is no session of "c9"; this gateway still reads the sessions of its last run/);
});

test("what waits, and dead letters: seen, sent once more, deleted", async () => {
  const { json } = await served();
  const [, queue] = await json("GET /queue");
  expect(queue).toEqual({
    forBroker: { messages: 0, bytes: 0, clients: [] },
    forClients: {
      messages: 2,
      bytes: expect.any(Number),
      clients: [
        { clientId: "c1", state: "asleep", messages: 2, bytes: expect.any(Number), waitingSeconds: 20, dropped: 1 },
      ],
    },
    deadLetters: 1,
    dropped: { "buffer-full": 1 },
    storeFails: false,
  });
  expect(await json("GET /letters")).toEqual([
    200,
    [
      {
        id: 1,
        clientId: "c1",
        direction: "down",
        reason: "buffer-full",
        topic: "t",
        qos: 1,
        retain: false,
        bytes: 1,
        at: expect.any(Number),
        payload: Buffer.from("1").toString("base64"),
      },
    ],
  ]);
  expect(await json("POST /letters?ids=7,8")).toEqual([200, { republished: 0 }]);
  expect(await json("DELETE /letters?ids=7")).toEqual([200, { purged: 0 }]);
  expect(await json("POST /letters?ids=1")).toEqual([200, { republished: 1 }]);
  expect(await json("POST /letters")).toEqual([200, { republished: 0 }]);
});

test("all dead letters are deleted where no number is given", async () => {
  const { json } = await served();
  expect(await json("DELETE /letters")).toEqual([200, { purged: 1 }]);
});

test("a backup is octets", async () => {
  const { store, curl } = await served();
  store.snapshot = async function* () {
    yield ["key", new Uint8Array([1, 2])] as const;
  };
  const { status, type, body } = await curl("GET /backup");
  expect([status, type]).toEqual([200, "application/octet-stream"]);
  expect(body).toContain('{"kind":"mqtt-sn-gateway backup","format":1}\n');
});

test("what there is not", async () => {
  const { json } = await served();
  expect(await json("GET /nothing")).toEqual([404, { error: "not found" }]);
});

test.each([
  ["DELETE /letters?id=1", "id: there is no such input"],
  ["DELETE /letters?ids=", "ids: numbers of dead letters with commas between them, as in 3,4,7"],
  ["POST /letters?ids=1,x", "ids: numbers of dead letters with commas between them, as in 3,4,7"],
  ["DELETE /letters?ids=0", "ids: numbers of dead letters begin at 1"],
  ["DELETE /letters?ids=1&ids=2", "ids: this input is there more than once"],
  ["DELETE /session", "client: say which client"],
  ["GET /session?client=", "client: say which client"],
  ["GET /queue?all=1&__proto__=2", "all: there is no such input; __proto__: there is no such input"],
])("%s is refused with what is wrong, and nothing is done", async (line, error) => {
  const { json } = await served();
  expect(await json(line)).toEqual([400, { error }]);
  expect((await json("GET /queue"))[1]).toMatchObject({ deadLetters: 1, forClients: { messages: 2 } });
  expect((await json("GET /sessions"))[1]).toHaveLength(1);
});

test("what is no question: a body, another method, too much of it, no path", async () => {
  const { curl, json } = await served();
  expect(await curl("DELETE /letters", { "content-length": "2" }, "{}")).toMatchObject({ status: 413 });
  expect(await curl("DELETE /letters", { "transfer-encoding": "chunked" }, "{}")).toMatchObject({ status: 413 });
  expect(await json("PUT /letters")).toEqual([405, { error: "/letters takes GET, POST, DELETE" }]);
  expect(await curl(`GET /session?client=${"x".repeat(20_000)}`)).toMatchObject({ status: 414 });
  expect(await curl("GET /queue", { "x-large": "x".repeat(40_000) })).toMatchObject({ status: 431 });
  expect(await json("GET //")).toEqual([400, { error: "not a path" }]);
  expect(await json("GET /queue")).toMatchObject([200, { deadLetters: 1 }]);
});

test("a fault of ours is a sentence, and no stack", async () => {
  const { curl, store } = await served();
  store.letters = () => Promise.reject(new Error("the disk is gone"));
  expect(await curl("DELETE /letters")).toMatchObject({ status: 500, body: '{"error":"the disk is gone"}\n' });
});

test("no more than eight ask at a time; who does not finish his question is cut off", async () => {
  const { socketPath, json } = await served({ questionMs: 100 });
  const open = () => connect(socketPath).on("error", () => {});
  const slow = Array.from({ length: 8 }, open);
  await Promise.all(slow.map((socket) => once(socket, "connect")));
  for (const socket of slow) socket.resume().write("GET /queue HTTP/1.1\r\n");
  const ninth = open();
  await once(ninth, "close");
  await expect(ask(socketPath, "queue.depth", {})).rejects.toThrow("it answers eight other commands");
  await Promise.all(slow.map((socket) => once(socket, "close")));
  expect(await json("GET /queue")).toMatchObject([200, { deadLetters: 1 }]);
});

test("who goes away in the middle of a backup, or does not read it, leaves nothing open", async () => {
  const { audited, socketPath, store } = await served({ idleMs: 200 });
  for (const goes of [true, false]) {
    const ended = new Promise<void>((resolve) => {
      store.snapshot = async function* () {
        try {
          for (;;) yield ["key", new Uint8Array(65_536)] as const;
        } finally {
          resolve();
        }
      };
    });
    const asking = request({ socketPath, path: "/backup" }).on("error", () => {});
    asking.end();
    const [response] = await once(asking, "response");
    response.on("error", () => {});
    if (goes) asking.destroy();
    await ended;
    asking.destroy();
  }
  await expect
    .poll(() => audited.map(({ outcome }) => outcome.replace(/\d+/, "N")))
    .toEqual(["cut off, N octets", "cut off, N octets"]);
});

test("what changes something, or hands out all, is noted: who, what, with which input, and what came of it", async () => {
  const { curl, audited, store } = await served();
  store.snapshot = async function* () {
    yield ["key", new Uint8Array([1, 2])] as const;
  };
  const lines = [
    "GET /sessions",
    "GET /session?client=c1",
    "GET /queue",
    "GET /letters",
    "DELETE /letters",
    "POST /letters?ids=1",
    "DELETE /letters?id=1",
    "GET /backup",
    "DELETE /session?client=c1",
    `DELETE /session?client=${"x".repeat(300)}`,
  ];
  for (const line of lines) await curl(line);
  expect(audited.every(({ who }) => who === "control socket")).toBe(true);
  expect(audited.map(({ command, input, outcome }) => `${command} ${input}: ${outcome}`)).toEqual([
    'queue.purge {}: done {"purged":1}',
    'queue.republish {"ids":"1"}: done {"republished":0}',
    'queue.purge {"id":"1"}: refused: id: there is no such input',
    expect.stringMatching(/^backup \{\}: done, \d+ octets$/),
    'sessions.drop {"client":"c1"}: done {"dropped":"c1"}',
    expect.stringMatching(/^sessions\.drop \{"client":"x{188}…: refused: there is no session of "x+…$/),
  ]);
});

test("the command line asks from the same list, and gets values", async () => {
  const { socketPath, store } = await served();
  const [one] = await ask(socketPath, "sessions.list", {});
  expect(one).toMatchObject(facts);
  expect(await ask(socketPath, "queue.purge", { ids: [7, 8] })).toEqual({ purged: 0 });
  expect(await ask(socketPath, "queue.purge", {})).toEqual({ purged: 1 });
  store.snapshot = async function* () {
    yield ["key", new Uint8Array([1, 2])] as const;
  };
  let bytes = 0;
  for await (const part of askForOctets(socketPath, "backup", {})) bytes += part.byteLength;
  expect(bytes).toBeGreaterThan(60);
});

test("the command line says in a sentence what is wrong", async () => {
  const { operator, socketPath } = await served();
  const says = (name: JsonCommandName, input: InputOf<JsonCommandName>, path = socketPath) =>
    ask(path, name, input as never).then(
      () => "nothing",
      (error: unknown) => (error instanceof GatewayError ? `${error.code} ${error.message}` : error),
    );
  expect(await says("sessions.drop", { client: "x y&z" })).toBe('ERR_CONTROL there is no session of "x y&z"');
  expect(await says("sessions.show", { client: "" })).toBe("ERR_CONTROL client: say which client");
  expect(await says("queue.purge", { ids: [0] })).toBe("ERR_CONTROL ids: numbers of dead letters begin at 1");
  expect(await says("queue.purge", { ids: Array(2_001).fill(1) })).toMatch(/no more than 2000 at a time/);
  expect(await says("queue.depth", {}, `${socketPath}.none`)).toMatch(/^ERR_CONTROL no gateway runs with the store/);
  operator.dropSession = () => {
    throw new Error("broken");
  };
  expect(await says("sessions.drop", { client: "c1" })).toBe("ERR_CONTROL broken");
  operator.queue = () => Promise.resolve({} as never);
  expect(await says("queue.depth", {})).toMatch(/does the gateway have another version/);
});

test.each([
  ["closes at once", (socket: Socket) => socket.destroy(), /closed the connection without an answer/],
  [
    "ends in the middle of its answer",
    (socket: Socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[");
      setImmediate(() => socket.destroy());
    },
    /before its answer was complete/,
  ],
])("a gateway that %s is a sentence on the command line", async (_what, act, words) => {
  const folder = mkdtempSync(join(tmpdir(), "control-"));
  const socketPath = join(folder, "control.sock");
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => act(socket));
  });
  server.listen(socketPath);
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const error = await ask(socketPath, "queue.depth", {}).catch((failure: unknown) => failure);
  expect(error).toBeInstanceOf(GatewayError);
  expect((error as GatewayError).message).toMatch(words);
});
