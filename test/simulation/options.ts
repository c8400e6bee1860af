import { admitAll } from "../../src/core/access.ts";
import type { BufferPolicy, CoreOptions } from "../../src/core/options.ts";
import { noPredefinedTopics } from "../../src/core/state/predefined-topics.ts";

/** Messages for clients wait as long as it takes. */
export const keepAll: BufferPolicy = {
  timeToLiveSeconds: 0,
  messagesMax: Number.POSITIVE_INFINITY,
  bytesMax: Number.POSITIVE_INFINITY,
  atLimit: "leave",
  keep: "all",
  qos0WhileAsleep: true,
};

/** Settings of the core for tests; override what a test is about. */
export const testOptions: CoreOptions = {
  gatewayId: 1,
  retry: { retryIntervalSeconds: 10, retryLimit: 3, congestionPauseSeconds: 30 },
  advertise: { intervalSeconds: 0, gwinfo: "unicast", radius: 0 },
  clients: {
    clientIdBytesMax: 64,
    sessionsMax: 1_000,
    sessionsPerHostMax: 0,
    unprovenFactorMax: 10,
    pendingMax: 100,
    newPerSecondMax: 0,
    newPerSecondPerHostMax: 0,
    idleSecondsMax: 86_400,
    sessionExpirySeconds: 7 * 86_400,
    roaming: true,
    uplinkInFlightMax: 8,
    subscriptionQoSMax: 2,
    subscriptionsMax: 100,
    parkAfterMs: Number.POSITIVE_INFINITY,
  },
  topics: { predefined: noPredefinedTopics, idsPerClientMax: 1_000, bytesPerClientMax: 65_536 },
  buffer: {
    messagesMax: 100,
    bytesMax: 1_000_000,
    totalBytesMax: 10_000_000,
    extraPerWakeMax: 100,
    perWakeMaxOf: () => Number.POSITIVE_INFINITY,
    policyOf: () => keepAll,
  },
  upstream: {
    mode: "transparent",
    connections: 1,
    protocol: "3.1.1",
    clientIdPrefix: "",
    topicPrefix: "",
    serviceClientId: "gateway",
    will: { held: "broker", delaySeconds: 120 },
    payloadBytesMax: 65_535,
    receiveMaximum: 16,
  },
  uplink: {
    messagesMax: 100_000,
    bytesMax: 100_000_000,
    drainPerSecond: 50,
    policyOf: () => ({
      whenAway: "refuse",
      qos0: false,
      messagesMax: 10_000,
      bytesMax: 10_000_000,
      ageSecondsMax: 0,
      atLimit: "refuse",
    }),
  },
  deadLetters: { max: 100, topic: undefined, superseded: false },
  status: { topic: undefined },
  strangerAnswersPerSecondMax: 1_000,
  shutdown: { wills: "keep" },
  longNameQoSMinusOne: () => false,
  durable: false,
  access: admitAll,
};
