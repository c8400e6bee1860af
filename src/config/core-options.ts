/** Converts the configuration to the options of the core. */
import type { AccessPolicy } from "../core/access.ts";
import type { PredefinedTopics } from "../core/input.ts";
import type { BufferPolicy, CoreOptions, UplinkPolicy, UpstreamPolicy, UpstreamsPolicy } from "../core/options.ts";
import { transportNameOf } from "../core/peer-id.ts";
import type { PeerId } from "../core/types.ts";
import type { UplinkOptions } from "../storage/options.ts";
import { isBthomePeer } from "../transports/ble/bthome-peer.ts";
import { globToRegExp } from "../upstream/credentials.ts";
import { type NamedUpstreamOptions, placesOf, type UpstreamOptions } from "../upstream/options.ts";
import { waysOf } from "../upstream/presets.ts";
import { matches } from "../wire/topic.ts";
import type { BufferOptions } from "./buffer-options.ts";
import { payloadPolicy } from "./payloads.ts";
import type { GatewayConfig } from "./schema.ts";

/** A client that sleeps, and has not come back meanwhile, takes less memory from then on. */
const parkAfterMs = 10_000;

export function coreOptions(config: GatewayConfig, access: AccessPolicy): CoreOptions {
  const { gateway, clients, topics, buffer, retry, upstream, upstreams, uplink } = config;
  // The gateway's own translation of a BTHome sensor's reading names its topic; its device could not.
  const radios = config.transports.filter(({ type }) => type === "ble").map(({ name }) => name);
  const isReading = (peer: PeerId) => radios.some((name) => isBthomePeer(name, peer));
  return {
    gatewayId: gateway.id,
    retry: {
      retryIntervalSeconds: retry.intervalSeconds,
      retryLimit: retry.limit,
      congestionPauseSeconds: retry.congestionPauseSeconds,
      policyOf: retryPolicies(retry),
    },
    advertise: { intervalSeconds: gateway.advertiseSeconds, gwinfo: gateway.gwinfo, radius: gateway.radius },
    clients: { ...clients, parkAfterMs },
    topics: {
      predefined: predefinedTopics(topics),
      timeId: topics.timeId,
      idsPerClientMax: topics.idsPerClientMax,
      bytesPerClientMax: topics.bytesPerClientMax,
    },
    buffer: bufferPolicies(buffer),
    upstream: upstreamPolicy(upstream),
    ...(upstreams.length > 0 && { upstreams: upstreamsPolicy(upstreams) }),
    uplink: {
      messagesMax: uplink.totalMessagesMax,
      bytesMax: uplink.totalBytesMax,
      drainPerSecond: uplink.drainPerSecond,
      policyOf: uplinkPolicies(uplink),
    },
    deadLetters: {
      max: config.deadLetters.max,
      topic: config.deadLetters.topic,
      superseded: config.deadLetters.superseded,
    },
    // In a fleet the gateways of shards publish the states of their clients, and the process publishes its own state.
    status: { topic: statusTopicOf(config), ofClientsOnly: config.fleet.enabled },
    strangerAnswersPerSecondMax: 1_000,
    shutdown: config.shutdown,
    longNameQoSMinusOne: (peer) => config.extensions.longNameQoSMinusOne || (peer !== undefined && isReading(peer)),
    payloads: payloadPolicy(config.payloads),
    durable: config.store.kind !== "memory",
    access,
  };
}

/** Topics of the retained states. Home Assistant learns from them which devices are there. */
export function statusTopicOf({ status, homeAssistant, upstream }: GatewayConfig): string | undefined {
  if (status.topic !== undefined || !homeAssistant.enabled) return status.topic;
  return `mqtt-sn/${upstream.serviceClientId}`;
}

function upstreamPolicy(options: UpstreamOptions): UpstreamPolicy {
  const {
    mode,
    connections,
    protocol,
    clientIdPrefix,
    topicPrefix,
    serviceClientId,
    tellsSender,
    will,
    payloadBytesMax,
    receiveMaximum,
  } = options;
  return {
    mode,
    connections,
    protocol,
    copies: waysOf(options).copies,
    places: placesOf(options),
    clientIdPrefix,
    topicPrefix,
    serviceClientId,
    tellsSender,
    will,
    payloadBytesMax,
    receiveMaximum,
  };
}

/** The upstream of each client: the first entry that fits. */
function upstreamsPolicy(options: readonly NamedUpstreamOptions[]): UpstreamsPolicy {
  const rules = options.map(({ name, clients, transports }) => ({
    name,
    patterns: clients === undefined ? undefined : [clients].flat().map(globToRegExp),
    transports: transports && new Set(transports),
  }));
  return {
    named: options.map((each) => ({ name: each.name, policy: upstreamPolicy(each) })),
    nameOf: (clientId, peer) =>
      rules.find(
        ({ patterns, transports }) =>
          (patterns === undefined || (clientId !== undefined && patterns.some((pattern) => pattern.test(clientId)))) &&
          (transports === undefined || (peer !== undefined && transports.has(transportNameOf(peer)))),
      )?.name,
  };
}

/** The retry policy for a client: the first rule that fits client and transport. */
function retryPolicies({ intervalSeconds, limit, rules }: GatewayConfig["retry"]): CoreOptions["retry"]["policyOf"] {
  const made = rules.map((rule) => ({
    fits: globToRegExp(rule.clients),
    transports: rule.transports && new Set(rule.transports),
    policy: {
      intervalMs: (rule.intervalSeconds ?? intervalSeconds) * 1_000,
      limit: rule.limit ?? limit,
    },
  }));
  if (made.length === 0) return undefined;
  return (clientId, peer) =>
    made.find(
      ({ fits, transports }) =>
        fits.test(clientId) &&
        (transports === undefined || (peer !== undefined && transports.has(transportNameOf(peer)))),
    )?.policy;
}

/** The policy of each client, by the first group that fits. */
function uplinkPolicies(options: UplinkOptions): (clientId: string) => UplinkPolicy {
  const general: UplinkPolicy = options;
  const groups = options.groups.map(({ clients, ...differs }) => ({
    fits: globToRegExp(clients),
    policy: { ...general, ...Object.fromEntries(Object.entries(differs).filter(([, value]) => value !== undefined)) },
  }));
  if (groups.length === 0) return () => general;
  return (clientId) => groups.find(({ fits }) => fits.test(clientId))?.policy ?? general;
}

/** The policy of each message, by the first rule that fits client and topic. */
function bufferPolicies(options: BufferOptions): CoreOptions["buffer"] {
  const { messagesMax, bytesMax, totalBytesMax, extraPerWakeMax } = options;
  const limits = { messagesMax, bytesMax, totalBytesMax, extraPerWakeMax };
  const none = Number.POSITIVE_INFINITY;
  const general: BufferPolicy = policyOf(options, { ...options, messagesMax: none, bytesMax: none });
  const generalPerWake = options.perWakeMax || none;
  const rules = options.rules.map((rule) => ({
    fits: globToRegExp(rule.clients),
    topics: rule.topics,
    perWakeMax: rule.perWakeMax === undefined ? undefined : rule.perWakeMax || none,
    policy: policyOf(options, rule),
  }));
  if (rules.length === 0) return { ...limits, policyOf: () => general, perWakeMaxOf: () => generalPerWake };
  return {
    ...limits,
    policyOf: (clientId, topicName) =>
      rules.find(({ fits, topics }) => fits.test(clientId) && matches(topics, topicName))?.policy ?? general,
    perWakeMaxOf: (clientId) =>
      rules.find(({ fits, perWakeMax }) => perWakeMax !== undefined && fits.test(clientId))?.perWakeMax ??
      generalPerWake,
  };
}

function policyOf(general: BufferOptions, rule: Omit<Partial<BufferOptions["rules"][number]>, "topics">): BufferPolicy {
  return {
    timeToLiveSeconds: rule.timeToLiveSeconds ?? general.timeToLiveSeconds,
    messagesMax: rule.messagesMax ?? Number.POSITIVE_INFINITY,
    bytesMax: rule.bytesMax ?? Number.POSITIVE_INFINITY,
    atLimit: rule.atLimit ?? general.atLimit,
    keep: rule.keep ?? general.keep,
    qos0WhileAsleep: rule.qos0WhileAsleep ?? general.qos0WhileAsleep,
    payloadBytesMax: "payloadBytesMax" in rule ? rule.payloadBytesMax : undefined,
  };
}

export function predefinedTopics(topics: GatewayConfig["topics"]): PredefinedTopics {
  const table = (ids: Readonly<Record<string, string>>) =>
    new Map(Object.entries(ids).map(([id, name]) => [Number(id), name]));
  return {
    forAll: table(topics.predefined),
    byClientId: new Map(Object.entries(topics.predefinedFor).map(([clientId, ids]) => [clientId, table(ids)])),
  };
}
