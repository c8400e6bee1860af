/** Makes the CONNECT packet of a link. */
import type { IClientOptions } from "mqtt";
import type { LinkRequest } from "../core/effect.ts";
import type { Will } from "../core/types.ts";
import type { ConnectWords } from "./connection.ts";
import { keepAliveOf, type UpstreamOptions } from "./options.ts";

export interface Connecting {
  /** The broker has a session that this connection continues, or may have one. */
  readonly isKnown: boolean;
  /** The will as the broker accepts it. */
  readonly will: Will | undefined;
  readonly identity: Pick<IClientOptions, "username" | "password">;
}

export function connectWords(
  request: LinkRequest,
  options: UpstreamOptions,
  { isKnown, will: atBroker, identity: { username, password } }: Connecting,
): ConnectWords {
  const { connectTimeoutSeconds, sessionExpirySeconds, receiveMaximum, will } = options;
  const isV5 = options.protocol === "5";
  const willDelay = Math.min(will.delaySeconds, sessionExpirySeconds);
  // MQTT 5 distinguishes "begin a new session" from "end the session with the connection". A clean session is begun
  // once, and survives the loss of a connection. It ends when the core requests it, with an expiry of 0 in DISCONNECT.
  const clean = request.clean && !(isV5 && isKnown);
  return {
    timeoutMs: connectTimeoutSeconds * 1_000,
    isPinging: options.keepAliveMaxSeconds === undefined,
    packet: {
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: isV5 ? 5 : 4,
      clientId: request.mqttClientId,
      clean,
      keepalive: keepAliveOf(options),
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password: Buffer.from(password) }),
      ...(isV5 && { properties: { sessionExpiryInterval: sessionExpirySeconds, receiveMaximum } }),
      ...(atBroker && {
        will: {
          topic: atBroker.topicName,
          payload: Buffer.from(atBroker.payload),
          qos: atBroker.qos,
          retain: atBroker.retain,
          ...(isV5 && willDelay > 0 && { properties: { willDelayInterval: willDelay } }),
        },
      }),
    },
  };
}
