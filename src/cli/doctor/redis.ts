/** Checks if the server of `store.kind` "redis" can be reached, and if it stores data durably. Nothing is written. */
import type { GatewayConfig } from "../../config/schema.ts";
import { RedisConnection, type ServerFacts } from "../../storage/redis-connection.ts";
import { readSecret } from "../../upstream/credentials.ts";
import { doubtful, type Finding, messageOf, ok, wrong } from "./finding.ts";

const about = "store";
const answerMsMax = 5_000;

export async function lookAtRedis({ redis }: GatewayConfig["store"]): Promise<Finding[]> {
  let connection: RedisConnection | undefined;
  try {
    const password = redis.password && readSecret(redis.password);
    connection = await RedisConnection.open(redis, password, answerMsMax);
    return [ok(about, `${redis.url} answers`), ...factsInWords(await connection.facts(), redis.url)];
  } catch (error) {
    const why = messageOf(error);
    return [wrong(about, `${redis.url}: ${why}`, hintOf(why, redis.url))];
  } finally {
    connection?.close();
  }
}

/** Judges what the server reports of itself; undefined: this user may not ask. */
export function factsInWords(facts: ServerFacts | undefined, url: string): Finding[] {
  if (!facts)
    return [
      doubtful(
        about,
        "this user has no right to INFO: it cannot be checked how durably the server stores data",
        "ACL SETUSER ... +info",
      ),
    ];
  const set = (name: string, value: string) => `redis-cli -u ${url} config set ${name} ${value}; and in redis.conf`;
  const found: Finding[] = [];
  if (facts.isReplica)
    found.push(wrong(about, "the server is a replica, and accepts no writes", "name its primary in store.redis.url"));
  if (!facts.hasLog)
    found.push(
      doubtful(
        about,
        "the server writes no append-only file: when it ends, acknowledged messages are lost",
        set("appendonly", "yes"),
      ),
    );
  if (facts.whenFull.startsWith("allkeys-"))
    found.push(
      wrong(
        about,
        `the server removes keys when its memory is full (${facts.whenFull})`,
        set("maxmemory-policy", "noeviction"),
      ),
    );
  return found;
}

function hintOf(why: string, url: string): string {
  if (/npm install/.test(why)) return "npm install ioredis";
  if (/WRONGPASS|NOAUTH|NOPERM/.test(why)) return "see store.redis.username and store.redis.password";
  if (/certificate|self-signed/i.test(why)) return "see store.redis.tls.ca and store.redis.tls.serverName";
  return `redis-cli -u ${url} ping`;
}
