/** The configuration as the core wants it. */
import type { AccessPolicy } from "../core/access.ts";
import type { PredefinedTopics } from "../core/input.ts";
import type { CoreOptions, UplinkPolicy } from "../core/options.ts";
import type { UplinkOptions } from "../storage/options.ts";
import { globToRegExp } from "../upstream/credentials.ts";
import type { GatewayConfig } from "./schema.ts";

export function coreOptions(config: GatewayConfig, access: AccessPolicy): CoreOptions {
  const { gateway, clients, topics, buffer, retry, upstream, uplink } = config;
  return {
    gatewayId: gateway.id,
    retry: {
      retryIntervalSeconds: retry.intervalSeconds,
      retryLimit: retry.limit,
      congestionPauseSeconds: retry.congestionPauseSeconds,
    },
    advertise: { intervalSeconds: gateway.advertiseSeconds, gwinfo: gateway.gwinfo, radius: gateway.radius },
    clients,
    topics: { predefined: predefinedTopics(topics), idsPerClientMax: topics.idsPerClientMax },
    buffer,
    upstream: {
      protocol: upstream.protocol,
      clientIdPrefix: upstream.clientIdPrefix,
      topicPrefix: upstream.topicPrefix,
      serviceClientId: upstream.serviceClientId,
      will: upstream.will,
      payloadBytesMax: upstream.payloadBytesMax,
      receiveMaximum: upstream.receiveMaximum,
    },
    uplink: {
      messagesMax: uplink.totalMessagesMax,
      bytesMax: uplink.totalBytesMax,
      drainPerSecond: uplink.drainPerSecond,
      policyOf: uplinkPolicies(uplink),
    },
    deadLetters: { max: config.deadLetters.max, topic: config.deadLetters.topic },
    status: { topic: config.status.topic },
    strangerAnswersPerSecondMax: 1_000,
    shutdown: config.shutdown,
    longNameQoSMinusOne: config.extensions.longNameQoSMinusOne,
    durable: config.store.kind === "disk",
    access,
  };
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

export function predefinedTopics(topics: GatewayConfig["topics"]): PredefinedTopics {
  const table = (ids: Readonly<Record<string, string>>) =>
    new Map(Object.entries(ids).map(([id, name]) => [Number(id), name]));
  return {
    forAll: table(topics.predefined),
    byClientId: new Map(Object.entries(topics.predefinedFor).map(([clientId, ids]) => [clientId, table(ids)])),
  };
}
