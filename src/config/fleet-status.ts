/**
 * `status.topic` in a fleet. One of its levels stands for the gateway, so each gateway has a state of its own. The
 * states of clients are published without this level: a client moves between gateways with its shard, and its state
 * under another gateway's topic would never be removed.
 */
import { hostname } from "node:os";
import { topicLevel } from "../wire/topic.ts";
import type { GatewayConfig } from "./schema.ts";

/** The level that stands for the name of a gateway. */
const gatewayLevel = "{gateway}";
/** The level of the states of clients. */
const clientsLevel = "clients";

/** The name of this gateway of a fleet, as one level of a topic. It is also a part of an MQTT client id. */
export function gatewayNameLevel({ fleet }: Pick<GatewayConfig, "fleet">): string {
  return topicLevel(fleet.name ?? hostname());
}

/** The topic of the state of this gateway of a fleet. */
export function gatewayStatusTopic(topic: string, config: Pick<GatewayConfig, "fleet">): string {
  return levelsOf(topic)
    .map((level) => (level === gatewayLevel ? gatewayNameLevel(config) : level))
    .join("/");
}

/** The topic of the states of all clients of the fleet. */
export function clientsStatusTopic(topic: string): string {
  return levelsOf(topic)
    .filter((level) => level !== gatewayLevel)
    .join("/");
}

/** Finds what is wrong with `status.topic`, and with the name of the gateway in it. */
export function checkStatusTopic(config: Pick<GatewayConfig, "fleet" | "status">): string[] {
  const { fleet, status } = config;
  const { topic } = status;
  if (topic === undefined) return [];
  if (!fleet.enabled) {
    if (!topic.includes(gatewayLevel)) return [];
    return [`status.topic: ${gatewayLevel} stands for fleet.name, but this is no fleet; type a topic without it`];
  }
  const levels = levelsOf(topic);
  const isOneLevel = levels.filter((level) => level === gatewayLevel).length === 1;
  if (!isOneLevel || levels.length < 2 || topic.split(gatewayLevel).length > 2)
    return [
      `status.topic: in a fleet each gateway has a state of its own, so one level, beside others, is ${gatewayLevel}; ` +
        `type one as in "mqtt-sn/${gatewayLevel}"`,
    ];
  if (gatewayNameLevel(config) !== clientsLevel) return [];
  return [
    `fleet.name: "${clientsLevel}" is the level of the states of clients under status.topic; give the gateway another name`,
  ];
}

function levelsOf(topic: string): string[] {
  return topic.split("/");
}
