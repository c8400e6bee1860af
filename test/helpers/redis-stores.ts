/** Stores at a redis-server, for tests: opened, and closed again after each of them. */
import { storeOptions } from "../../src/storage/options.ts";
import { RedisStore } from "../../src/storage/redis.ts";
import { commit, stored } from "../conformance/store-suite.ts";
import { findRedis, RedisServer } from "./redis.ts";
import { until } from "./test-gateway.ts";

const program = findRedis();
/** Why there is no redis-server here; undefined: there is one. */
export const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const answerMsMax = 400;
const servers: RedisServer[] = [];
/** Open stores; a test may add its own. */
export const stores: RedisStore[] = [];

/** A new server; `closeServers` ends it. */
export async function server(settings: Readonly<Record<string, string>> = {}): Promise<RedisServer> {
  if ("missing" in program) throw new Error(program.missing);
  const made = await RedisServer.create(program, settings);
  servers.push(made);
  return made;
}

/** A store that is not open yet; `closeStores` closes it. */
export function store(
  at: { readonly url: string },
  more: Record<string, unknown> = {},
  told: string[] = [],
): RedisStore {
  const { redis } = storeOptions.parse({ kind: "redis", redis: { url: at.url, ...more } });
  const made = new RedisStore(
    redis,
    () => undefined,
    (say) => told.push(say),
    answerMsMax,
  );
  stores.push(made);
  return made;
}

export async function opened(at: { readonly url: string }, more: Record<string, unknown> = {}): Promise<RedisStore> {
  const made = store(at, more);
  await made.open();
  return made;
}

export const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(() => undefined).catch((error: unknown) => error);
export const names = async (of: RedisStore) => (await stored(of)).map(({ session: { clientId } }) => clientId);
/** Waits until the store works again by itself: missing changes are written with the next commit that succeeds. */
export const works = (of: RedisStore) =>
  until("the store works again", async () => (await errorOf(commit(of))) === undefined);

export async function closeStores(): Promise<void> {
  for (const each of stores.splice(0)) await each.close();
}

export async function closeServers(): Promise<void> {
  for (const each of servers.splice(0)) await each.close();
}
