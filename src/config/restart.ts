/** Tells which parts of a changed configuration take effect when it is read again, and which only after a restart. */
import type { UpstreamOptions } from "../upstream/options.ts";
import type { GatewayConfig } from "./schema.ts";

/** The sections of `after` that take effect only after a restart, because they differ from `before`. */
export function needRestart(before: GatewayConfig, after: GatewayConfig): string[] {
  const keys = Object.keys(after) as (keyof GatewayConfig)[];
  const isRead = new Set<keyof GatewayConfig>(["topics", "access", "payloads", "log", "upstream", "upstreams"]);
  const changed = keys.filter((key) => !isRead.has(key) && !isSame(before[key], after[key]));
  if (!isSame(before.upstream, withIdentityOf(after.upstream, before.upstream))) changed.push("upstream");
  const others = after.upstreams.map((each) => {
    const old = before.upstreams.find(({ name }) => name === each.name);
    return old ? withIdentityOf(each, old) : each;
  });
  if (!isSame(before.upstreams, others)) changed.push("upstreams");
  if (
    before.topics.timeId !== after.topics.timeId ||
    before.topics.idsPerClientMax !== after.topics.idsPerClientMax ||
    before.topics.bytesPerClientMax !== after.topics.bytesPerClientMax
  )
    changed.push("topics");
  if (before.log.format !== after.log.format) changed.push("log");
  return changed;
}

/** The effective configuration after `after` was read in a run that started with `before`. */
export function afterReload(before: GatewayConfig, after: GatewayConfig): GatewayConfig {
  return {
    ...before,
    topics: {
      ...after.topics,
      timeId: before.topics.timeId,
      idsPerClientMax: before.topics.idsPerClientMax,
      bytesPerClientMax: before.topics.bytesPerClientMax,
    },
    access: after.access,
    payloads: after.payloads,
    log: { ...after.log, format: before.log.format },
    upstream: withIdentityOf(before.upstream, after.upstream),
  };
}

/** `options` with the identity at the broker from `identity`, because changes of the identity take effect at once. */
function withIdentityOf<T extends UpstreamOptions>(options: T, identity: UpstreamOptions): T {
  const { username, password, passwordCommand, credentials, tls } = identity;
  const { passwordCommandTimeoutSeconds, passwordCommandCacheSeconds } = identity;
  return {
    ...options,
    username,
    password,
    passwordCommand,
    passwordCommandTimeoutSeconds,
    passwordCommandCacheSeconds,
    credentials,
    tls,
  };
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
