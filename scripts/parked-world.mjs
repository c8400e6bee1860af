// A core with clients that sleep and share one connection, each with one filter and an address of its own, as a start restores them. For
// scripts that measure.
import { join } from "node:path";

/** `version`: a folder with a built gateway. `parkAfterMs`: Infinity = sessions stay objects. */
export async function parkedWorld({ version, count, parkAfterMs = 10_000 }) {
  const dist = (path) => import(join(version, "dist", path));
  const { GatewayCore } = await dist("core/gateway-core.js");
  const { coreOptions } = await dist("config/core-options.js");
  const { gatewayConfig } = await dist("config/schema.js");
  const { admitAll } = await dist("core/access.js");
  const config = gatewayConfig.parse({
    upstream: { mode: "aggregating" },
    clients: { sessionsMax: 1_000_000, sessionsPerHostMax: 0 },
  });
  const options = coreOptions(config, admitAll);
  const environment = {
    maxMessageBytes: () => 1_024,
    hostOf: (peer) => peer.slice(0, peer.lastIndexOf(":")),
    identityOf: (peer) => ({ name: peer, by: "address", verified: false }),
    wallClock: () => undefined,
    random: Math.random,
  };
  const core = new GatewayCore(
    { ...options, clients: { ...options.clients, parkAfterMs }, durable: true },
    environment,
  );
  const restore = () => {
    const slice = 1_000;
    for (let from = 0; from < count; from += slice) {
      const states = Array.from({ length: Math.min(slice, count - from) }, (_, at) => stateOf(from + at));
      core.handle({ kind: "restored", states }, 1);
    }
    if (core.sizes.sessions !== count) throw new Error("some are missing");
  };
  return { core, dist, admitAll, restore };
}

export const peerOf = (i) => flat(`udp/10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}:${1_024 + (i % 60_000)}`);

/** As it is read from octets: one piece. */
function flat(text) {
  return Buffer.from(text).toString();
}

function stateOf(i) {
  const session = {
    clientId: flat(`dev-${i}`),
    peer: peerOf(i),
    state: "asleep",
    clean: false,
    keepAliveSeconds: 60,
    sleepSeconds: 3_600,
    farewell: false,
    spoke: true,
    will: undefined,
    brokerWill: undefined,
    topics: [],
    nextTopicId: 1 + (i % 4_000),
    home: "/0",
    subscriptions: [{ filter: flat(`site/dev-${i}/set`), qos: 1, by: "name", predefinedId: 0 }],
  };
  return { session, topics: [], queued: [], uplink: [], received: [], taken: [], backlog: undefined };
}
