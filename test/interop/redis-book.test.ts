/** The address book of a fleet at a redis-server: values by key for a time, and what becomes of questions when the server is away. */
import { afterAll, expect, test } from "vitest";
import { addressSeconds, RedisAddressBook } from "../../src/fleet/address-book.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { RedisBook } from "../../src/storage/redis-book.ts";
import { RedisConnection } from "../../src/storage/redis-connection.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { until } from "../helpers/test-gateway.ts";

const program = findRedis();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);
const opened: { close(): unknown }[] = [];
afterAll(async () => {
  for (const each of opened.reverse()) await each.close();
});

test.skipIf(missing !== undefined)(
  "an address is kept for two days, found, and after an end of the server again",
  async () => {
    if ("missing" in program) throw new Error(program.missing);
    const server = await RedisServer.create(program);
    opened.push(server);
    const { redis } = storeOptions.parse({ kind: "redis", redis: { url: server.url } });
    const connection = await RedisConnection.open(redis, undefined, 1_000);
    opened.push(connection);
    let tries = 0;
    const book = new RedisAddressBook({
      prefix: "fleet",
      server: new RedisBook(async () => {
        if (tries++ === 0) throw new Error("not yet");
        return connection;
      }),
    });
    await expect(book.find("udp/192.0.2.1:1")).rejects.toThrow("not yet");
    book.keep("udp/192.0.2.1:1", { shard: 7, front: "barn" });
    book.keep("udp/192.0.2.2:1", { shard: 255, front: "" });
    await until("they are written", () => book.counters.kept === 2);
    expect(await Promise.all([1, 2, 3].map((n) => book.find(`udp/192.0.2.${n}:1`)))).toEqual([
      { shard: 7, front: "barn" },
      { shard: 255, front: "" },
      undefined,
    ]);
    const client = server.client();
    const left = await client.ttl("{fleet}:addr:udp/192.0.2.1:1");
    client.disconnect();
    expect(left).toBeGreaterThan(addressSeconds - 60);
    expect(left).toBeLessThanOrEqual(addressSeconds);

    await server.end("SIGKILL");
    await expect(book.find("udp/192.0.2.1:1")).rejects.toThrow();
    book.keep("udp/192.0.2.3:1", { shard: 1, front: "" });
    await until("that is not kept", () => book.counters.notKept === 1);
    await server.start();
    await until("it is found again", async () => {
      const facts = await book.find("udp/192.0.2.2:1").catch(() => undefined);
      return facts?.shard === 255;
    });
  },
);
