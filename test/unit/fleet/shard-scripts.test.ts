/** Two gateways of shards in one process, and the one process of scripts that they share. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { readScripts } from "../../../src/config/scripts.ts";
import { ScriptProcess } from "../../../src/gateway-scripts.ts";
import { encode } from "../../../src/wire/v12/codec.ts";
import { octets, publish } from "../../helpers/bench.ts";
import { RecordingBroker } from "../../helpers/recording-broker.ts";
import { connectOf, shardConfigOf, shardGateway } from "../../helpers/shard-gateway.ts";
import { until } from "../../helpers/test-gateway.ts";

/** A payload that begins with "loop" is never decoded. */
const script = `
  function decodeUplink({ bytes, variables }) {
    if (String.fromCharCode(...bytes).startsWith("loop")) for (;;);
    return { data: { of: variables.client, octets: bytes.length } };
  }`;

const says = (payload: string, msgId: number) =>
  encode(publish({ topicIdType: "short", topicId: 0x7878, msgId, data: octets(payload) }));

async function twoShards(withScripts = true) {
  const folder = mkdtempSync(join(tmpdir(), "shards-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "x.js");
  writeFileSync(file, script);
  const broker = await RecordingBroker.start();
  onTestFinished(() => broker.close());
  const sections = (serviceClientId: string, payloads: unknown[]) => ({
    upstream: { url: broker.url, serviceClientId },
    // Shorter than a question waits for its turn, so one behind a payload that is never decoded is still asked.
    scripts: { runMsMax: 200 },
    payloads,
  });
  const declared = [{ topics: "xx", script: file }];
  const payloads = withScripts ? declared : [];
  const scripts = new ScriptProcess(shardConfigOf(broker.url, sections("g", payloads)), () => {});
  onTestFinished(() => scripts.close());
  await scripts.start(readScripts(shardConfigOf(broker.url, sections("g", payloads)).payloads));
  const shard = async (name: string) => {
    const made = await shardGateway(broker.url, { config: sections(name, payloads), scripts });
    onTestFinished(() => made.gateway.abandon());
    made.hear(connectOf(`c-${name}`));
    await until("it is connected", () => made.net.sent.includes("030500"));
    return { ...made, reloaded: () => shardConfigOf(broker.url, sections(name, declared)) };
  };
  const [one, other] = [await shard("s00"), await shard("s01")];
  return { file, broker, scripts, one, other };
}

/** On a machine that does other things, too, the script may be late for one message; its sender sends another one then. */
async function isServed(shard: { hear(bytes: Uint8Array): void }, broker: RecordingBroker, name: string) {
  let msgId = 100;
  await until(`${name} is served`, async () => {
    if (msgId++ % 50 === 0) shard.hear(says("a", msgId));
    return broker.saved.has(made(name, 1));
  });
}

const made = (name: string, length: number) => JSON.stringify({ of: `c-${name}`, octets: length });

describe("the gateways of two shards", () => {
  test("have their scripts run in one process, and each counts nothing of it", async () => {
    const { broker, scripts, one, other } = await twoShards();
    one.hear(says("a", 1));
    other.hear(says("bb", 1));
    await until("both are decoded", () => broker.saved.has(made("s00", 1)) && broker.saved.has(made("s01", 2)));
    expect(scripts.counters).toMatchObject({ asked: 2, restarts: 0 });
    for (const { gateway } of [one, other]) expect(gateway.vitals.serviceSources().scripts()).toBeUndefined();
    expect(scripts.values.of("in", "c-s01", "xx", octets("bb"))).toBe(made("s01", 2));
  });

  test("one is dropped while its message is with the script: nothing of it is published, and the other is served", async () => {
    const { broker, scripts, one, other } = await twoShards();
    const { pid } = scripts.runner;
    one.hear(says("loop", 1));
    one.hear(says("behind", 2));
    other.hear(says("a", 1));
    await until("the question is asked", () => scripts.counters?.asked === 1);
    expect(scripts.waiting.messages).toBe(3);
    one.lease.isOurs = false;
    one.gateway.abandon();
    expect(scripts.waiting.messages).toBe(1);
    await isServed(other, broker, "s01");
    await until("nothing waits", () => scripts.waiting.messages === 0);
    expect(scripts.waiting).toEqual({ messages: 0, bytes: 0, strangers: 0 });
    expect(scripts.runner.pid).toBe(pid);
    expect(broker.saved.has("loop"), "not without its script either").toBe(false);
    expect(broker.saved.has("behind")).toBe(false);
  });

  test("one ends in order: the process continues, also if the ended one reads the configuration again", async () => {
    const { broker, scripts, one, other } = await twoShards();
    const { pid } = scripts.runner;
    one.hear(says("loop", 1));
    await one.gateway.stop();
    one.gateway.reload(one.config);
    one.hear(says("late", 2));
    expect(scripts.waiting.messages).toBe(0);
    await isServed(other, broker, "s01");
    expect(scripts.runner.pid).toBe(pid);
  });

  test("take up scripts that come with a reload, which are read once, not by each of them", async () => {
    const { file, broker, scripts, one, other } = await twoShards(false);
    one.hear(says("a", 1));
    await until("it goes as it is", () => broker.saved.has("a"));
    expect(scripts.counters).toBeUndefined();
    expect(scripts.runner.pid).toBeUndefined();
    scripts.load(readScripts(one.reloaded().payloads));
    rmSync(file);
    for (const each of [one, other]) each.gateway.reload(each.reloaded());
    await until("the process runs", () => scripts.runner.scripts.length === 1);
    one.hear(says("a", 2));
    other.hear(says("a", 1));
    await until("both are decoded", () => broker.saved.has(made("s00", 1)) && broker.saved.has(made("s01", 1)));
  });
});
