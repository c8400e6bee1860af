/** The shipped command; its store is removed under it, then it is killed: the next run has what was acknowledged. */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { connect, publish, register } from "../helpers/bench.ts";
import { freePorts } from "../helpers/ports.ts";
import { until } from "../helpers/test-gateway.ts";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "removed-"));
const running: ChildProcess[] = [];
let socket: Socket | undefined;
afterEach(async () => {
  for (const child of running.splice(0)) await killed(child);
  socket?.close();
  rmSync(folder, { recursive: true, force: true });
});

function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((done) => child.once("exit", () => done()).kill("SIGKILL"));
}

function start(): { child: ChildProcess; says: (what: string) => Promise<void> } {
  const child = spawn(process.execPath, [main, "start"], { cwd: folder });
  running.push(child);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (text += data));
  return { child, says: (what) => until(`"${what}" in: ${text}`, () => text.includes(what)) };
}

test("rm -r of the store's folder, nothing else happens, kill -9: sessions and what waits for the broker are back", async () => {
  const [udp = 0, broker = 0] = await freePorts(2);
  writeFileSync(
    join(folder, "gateway.config.json"),
    JSON.stringify({
      transports: [{ type: "udp", host: "127.0.0.1", port: udp }],
      // There is no broker: publications are stored.
      upstream: { url: `mqtt://127.0.0.1:${broker}`, mode: "aggregating" },
      api: { enabled: false },
    }),
  );
  const first = start();
  await first.says("ready");
  socket = createSocket("udp4");
  const got: Message[] = [];
  socket.on("message", (bytes) => {
    const decoded = decode(bytes);
    if (decoded.ok) got.push(decoded.message);
  });
  const say = async (message: Message, answer: Message["type"]) => {
    socket?.send(encode(message), udp, "127.0.0.1");
    await until(`${answer} to ${message.type}`, () => got.some(({ type }) => type === answer));
  };
  await say(connect({ clientId: "sensor", cleanSession: false, duration: 600 }), "CONNACK");
  await say(register("a/b"), "REGACK");
  const topicId = got.flatMap((message) => (message.type === "REGACK" ? [message.topicId] : []))[0] ?? 0;
  await say(publish({ topicIdType: "normal", topicId, msgId: 7, qos: 1 }), "PUBACK");
  expect(got.at(-1)).toMatchObject({ type: "PUBACK", returnCode: 0 });
  rmSync(join(folder, "data"), { recursive: true });
  await first.says("the folder of the store was removed while it was in use");
  await killed(first.child);
  const second = start();
  await second.says("1 sessions were restored, with 0 messages for devices and 1 for the broker");
});
