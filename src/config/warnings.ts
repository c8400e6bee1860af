/**
 * Warns of values that are valid but should be changed, or that have another effect than expected. Each warning has its
 * key and what to type.
 */

import { parseBrokerUrl } from "../upstream/broker-url.ts";
import { holdsPassword, type UpstreamOptions, urlsOf } from "../upstream/options.ts";
import type { GatewayConfig } from "./schema.ts";

/**
 * Times that are often long. A multiple of a thousand seconds is not suspicious here; a number that is whole minutes in
 * milliseconds is.
 */
const longTimes = new Set([
  "sessionExpirySeconds",
  "timeToLiveSeconds",
  "ageSecondsMax",
  "idleSecondsMax",
  "delaySeconds",
  "passwordCommandCacheSeconds",
]);
const daySeconds = 86_400;
const minuteMs = 60_000;

export function warningsOf(config: GatewayConfig): string[] {
  const { upstream, upstreams, topics, buffer, store, uplink } = config;
  const all = [["upstream", upstream] as const, ...upstreams.map((each, i) => [`upstreams.${i}`, each] as const)];
  const warnings = all.flatMap(([path, options]) => aboutUpstream(path, options));
  warnings.push(...millisecondsMeant("", config));
  if (store.kind === "memory" && uplink.groups.some(({ whenAway }) => whenAway === "store"))
    warnings.push(
      'uplink.groups: whenAway "store" needs a disk, and store.kind is "memory": devices hear "congestion" while the broker is away; set store.kind to "disk"',
    );
  else if (store.kind === "memory" && uplink.whenAway === "store")
    warnings.push(
      'uplink.whenAway: "store" needs a disk, and store.kind is "memory": devices hear "congestion" while the broker is away; set store.kind to "disk", or this to "refuse"',
    );
  if (store.pair.enabled) warnings.push(...aboutPair(config));
  if (config.fleet.enabled) warnings.push(...aboutFleet(config));
  if (buffer.bytesMax > buffer.totalBytesMax)
    warnings.push(
      `buffer.bytesMax: one client may have ${buffer.bytesMax} octets, all together ${buffer.totalBytesMax} (totalBytesMax): raise totalBytesMax, or set this to ${buffer.totalBytesMax} at most`,
    );
  if (uplink.bytesMax > uplink.totalBytesMax)
    warnings.push(
      `uplink.bytesMax: one client may have ${uplink.bytesMax} octets, all together ${uplink.totalBytesMax} (totalBytesMax): raise totalBytesMax, or set this to ${uplink.totalBytesMax} at most`,
    );
  warnings.push(...namedTwice("topics.predefined", topics.predefined), ...aboutNetworks(config));
  return warnings;
}

/** Warns of settings that the other gateway of a pair cannot take over. */
function aboutPair({ transports, upstream, upstreams }: GatewayConfig): string[] {
  const all = [["upstream", upstream] as const, ...upstreams.map((each, i) => [`upstreams.${i}`, each] as const)];
  return [
    ...transports.flatMap(({ type, name }, i) =>
      type === "udp" || type === "dtls"
        ? []
        : [
            `transports.${i}: "${name}" is a ${type} transport: its devices are near one machine, and the other gateway of the pair cannot reach them`,
          ],
    ),
    ...all.flatMap(([path, { mode, will }]) =>
      mode === "transparent" && will.held === "broker"
        ? [
            `${path}.will.held: "broker" publishes the wills of living devices when the other one of the pair takes over (MQTT 5: if that takes longer than delaySeconds); type "gateway"`,
          ]
        : [],
    ),
  ];
}

function aboutFleet({ fleet, upstream, upstreams }: GatewayConfig): string[] {
  const all = [["upstream", upstream] as const, ...upstreams.map((each, i) => [`upstreams.${i}`, each] as const)];
  return [
    ...(fleet.key || /^(127\.|\[::1\])/.test(fleet.announce ?? fleet.listen ?? "")
      ? []
      : [
          'fleet.key: is missing, so what gateways pass to each other is not signed, and the network between them must be private; type "key": { "file": "secrets/fleet" }',
        ]),
    ...all.flatMap(([path, { mode, will }]) =>
      mode === "transparent" && will.held === "broker"
        ? [
            `${path}.will.held: "broker" publishes the wills of living devices when another gateway takes over their shard (MQTT 5: if that takes longer than delaySeconds); type "gateway"`,
          ]
        : [],
    ),
  ];
}

function aboutUpstream(path: string, options: UpstreamOptions): string[] {
  const warnings: string[] = [];
  const { topicPrefix, mode, connections, tls } = options;
  if (holdsPassword(options))
    warnings.push(`${path}: a password stands in the url; a file is safer: "password": { "file": "secrets/password" }`);
  for (const url of urlsOf(options).map(parseBrokerUrl)) {
    if (!url || url.scheme === "ws" || url.scheme === "wss") continue;
    const { pathname, search } = new URL(url.webSocketUrl);
    if (pathname.length > 1 || search !== "")
      warnings.push(
        `${path}.url: what follows host and port is not used with ${url.scheme}://; delete it, or type ${url.isSecure ? "wss" : "ws"}:// if the broker is to be reached by WebSocket`,
      );
  }
  if (topicPrefix !== "" && !topicPrefix.endsWith("/"))
    warnings.push(
      `${path}.topicPrefix: has no slash at its end: "temp" becomes "${topicPrefix}temp"; type "${topicPrefix}/" if it is to be a level of its own`,
    );
  if (mode === "transparent" && connections > 1)
    warnings.push(
      `${path}.connections: has an effect only with mode "aggregating"; type "mode": "aggregating", or delete it`,
    );
  if (tls?.verify === "off-which-is-insecure")
    warnings.push(
      `${path}.tls.verify: everybody on the way to the broker can read and change everything; set "ca" to the authority's certificate and delete this`,
    );
  return warnings;
}

/** Seconds in thousands are mostly milliseconds. */
function millisecondsMeant(path: string, value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]: [string, unknown]) => {
    const where = path === "" ? key : `${path}.${key}`;
    if (typeof each !== "number") return millisecondsMeant(where, each);
    if (!/seconds/i.test(key) || /milliseconds/i.test(key)) return [];
    const isMeant = longTimes.has(key)
      ? each >= minuteMs && each % minuteMs === 0 && each % daySeconds !== 0
      : each >= 1_000 && each % 1_000 === 0;
    return isMeant
      ? [`${where}: ${each} seconds are ${inWords(each)}; if milliseconds were meant, type ${each / 1_000}`]
      : [];
  });
}

function inWords(seconds: number): string {
  if (seconds < 7_200) return `${Math.round(seconds / 60)} minutes`;
  if (seconds < 2 * daySeconds) return `${Math.round(seconds / 360) / 10} hours`;
  return `${Math.round(seconds / daySeconds)} days`;
}

function namedTwice(path: string, table: Readonly<Record<string, string>>): string[] {
  const first = new Map<string, string>();
  return Object.entries(table).flatMap(([id, name]) => {
    const before = first.get(name);
    if (before === undefined) first.set(name, id);
    return before === undefined
      ? []
      : [
          `${path}.${id}: "${name}" has the id ${before} already; devices get its messages under one of both; delete one`,
        ];
  });
}

function aboutNetworks({ access, transports }: GatewayConfig): string[] {
  const warnings: string[] = [];
  for (const [i, { from = [] }] of access.rules.entries()) {
    for (const entry of from) {
      const name = /^transport:(.+)$/.exec(entry)?.[1];
      if (name !== undefined && !transports.some((transport) => transport.name === name))
        warnings.push(
          `access.rules.${i}.from: there is no transport "${name}", so "${entry}" admits no client; delete it, or add the transport`,
        );
      const meant = networkOf(entry);
      if (meant !== undefined && meant !== entry)
        warnings.push(
          `access.rules.${i}.from: "${entry}" means all of ${meant}; type that, or "${entry.split("/")[0]}" for the one address`,
        );
    }
  }
  return warnings;
}

/** The network of an IPv4 entry, with the host's bits at 0; undefined: the entry is no IPv4 network. */
function networkOf(entry: string): string | undefined {
  const [, address = "", bits = ""] = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(entry) ?? [];
  if (bits === "" || Number(bits) > 32) return undefined;
  const size = 2 ** (32 - Number(bits));
  const value = address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const first = Math.floor(value / size) * size;
  const parts = [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256);
  return `${parts.join(".")}/${bits}`;
}
