/** The control socket as programs and `curl --unix-socket` see it. */
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ControlServer } from "../../src/api/control.ts";
import { threeForTwo } from "../helpers/waiting.ts";

async function served() {
  const gateway = threeForTwo();
  const folder = mkdtempSync(join(tmpdir(), "control-"));
  const socketPath = join(folder, "control.sock");
  const server = new ControlServer(socketPath, gateway.sources);
  await server.start();
  onTestFinished(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  const ask = (line: string, headers: Record<string, string> = {}, body = "") =>
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
    const { status, body } = await ask(line);
    return [status, JSON.parse(body)] as const;
  };
  return { ...gateway, ask, json };
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
  const { store, ask } = await served();
  store.snapshot = async function* () {
    yield ["key", new Uint8Array([1, 2])] as const;
  };
  const { status, type, body } = await ask("GET /backup");
  expect([status, type]).toEqual([200, "application/octet-stream"]);
  expect(body).toContain('{"kind":"mqtt-sn-gateway backup","format":1}\n');
});

test("what there is not", async () => {
  const { json } = await served();
  expect(await json("GET /nothing")).toEqual([404, { error: "not found" }]);
});
