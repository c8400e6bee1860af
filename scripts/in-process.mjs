// A gateway in the process of a figures' script: the shipped core and driver of one version, without sockets. Its broker accepts
// each connection at once; what else broker and devices do, the script says.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const nothing = () => {};
const limits = { receiveMaximum: 65_535, maximumQoS: 2, retainAvailable: true, maximumPacketBytes: undefined };
const oneHost = "192.0.2.1";

/** A module of the version in the folder `dist`. */
export const partOf = (dist, path) => import(pathToFileURL(resolve(dist, path)).href);

/**
 * @param dist folder of the version
 * @param config its parsed configuration
 * @param edges `upstream` and `transport`: functions in place of those that do nothing; `network`: the transport's name;
 *   `store` and `clock`: absent, memory and the time of the machine; `hostOf`: absent, one host for all
 * @param more further options of the core
 */
export async function inProcess(dist, config, edges, more = {}) {
  const { createAccessPolicy } = await partOf(dist, "config/access.js");
  const { coreOptions } = await partOf(dist, "config/core-options.js");
  const { GatewayCore } = await partOf(dist, "core/gateway-core.js");
  const { SystemClock } = await partOf(dist, "runtime/clock.js");
  const { Driver } = await partOf(dist, "runtime/driver.js");
  const { MemoryStore } = await partOf(dist, "storage/memory.js");
  const { hostOf = () => oneHost, network = "x", store = new MemoryStore(), clock = new SystemClock() } = edges;
  const upstream = {
    open: ({ linkId }) => setImmediate(() => driver.handle({ kind: "linkUp", linkId, sessionPresent: false, limits })),
    close: nothing,
    publish: nothing,
    release: nothing,
    subscribe: nothing,
    unsubscribe: nothing,
    ack: nothing,
    ping: nothing,
    ...edges.upstream,
  };
  const transport = { broadcast: nothing, releaseLink: nothing, ...edges.transport };
  const options = { ...coreOptions(config, createAccessPolicy(config.access, hostOf)), ...more };
  const core = new GatewayCore(options, {
    maxMessageBytes: () => 1_024,
    hostOf,
    identityOf: () => ({ name: oneHost, by: "address", verified: false }),
    random: () => 0.5,
    wallClock: () => Date.now(),
  });
  const transports = new Map([[network, transport]]);
  const driver = new Driver(core, { transports, upstream, store, report: nothing }, clock);
  return { core, driver };
}

/** Clients `c0`, `c1` … at `x/0`, `x/1` …, each with a clean session. */
export async function connectClients(count, handle, encode) {
  await new Promise((done) => setTimeout(done, 100));
  const message = { type: "CONNECT", will: false, cleanSession: true, protocolId: 1, duration: 6_000 };
  for (let i = 0; i < count; i++)
    handle({ kind: "datagram", from: `x/${i}`, bytes: encode({ ...message, clientId: `c${i}` }) });
  await new Promise((done) => setTimeout(done, 100));
}
