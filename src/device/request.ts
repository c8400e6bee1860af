/**
 * The requests of a device to a gateway. One request is open at a time and is repeated until it is answered, like in
 * the standard's client. [MQTT-SN 1.2 §6.13]
 */
import type { QoS, TopicIdType } from "../wire/fields.ts";

export interface DeviceWill {
  readonly topicName: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
}

/**
 * How messages name a topic. `name` is registered first; `short` is two octets; `predefined` is an id that both sides
 * know beforehand.
 */
export type TopicNaming =
  | { readonly by: "name"; readonly topicName: string }
  | { readonly by: "short"; readonly topicName: string }
  | { readonly by: "predefined"; readonly topicId: number };

export type Request =
  | {
      readonly kind: "connect";
      readonly clean: boolean;
      readonly keepAliveSeconds: number;
      readonly will: DeviceWill | undefined;
      stage: "connect" | "willTopic" | "willMsg";
    }
  | { readonly kind: "register"; readonly topicName: string; readonly msgId: number }
  | {
      readonly kind: "publish";
      readonly topic: TopicNaming;
      readonly payload: Uint8Array;
      readonly qos: QoS;
      readonly retain: boolean;
      readonly ref: number;
      msgId: number;
      stage: "publish" | "release";
      registeredAgain: boolean;
    }
  | {
      readonly kind: "subscribe";
      readonly topic: TopicNaming;
      readonly qos: QoS;
      readonly msgId: number;
      readonly ref: number;
    }
  | { readonly kind: "unsubscribe"; readonly topic: TopicNaming; readonly msgId: number; readonly ref: number }
  | { readonly kind: "willTopic"; readonly will: Omit<DeviceWill, "payload"> | undefined }
  | { readonly kind: "willMessage"; readonly payload: Uint8Array }
  | { readonly kind: "sleep"; readonly seconds: number }
  | { readonly kind: "wake" }
  | { readonly kind: "ping" }
  | { readonly kind: "disconnect" };

/** Events for the owner of the device. */
export type DeviceEvent =
  | { readonly event: "connected" }
  /**
   * The gateway refused the request, or did not answer until the retries ended (`returnCode` undefined). The request is
   * over.
   */
  | { readonly event: "failed"; readonly request: Request; readonly returnCode: number | undefined }
  | { readonly event: "published"; readonly ref: number }
  | { readonly event: "subscribed"; readonly ref: number; readonly qos: QoS; readonly topicId: number }
  | { readonly event: "unsubscribed"; readonly ref: number }
  | { readonly event: "willUpdated" }
  | { readonly event: "asleep"; readonly seconds: number }
  /** PINGRESP after a wake: everything that waited has come. */
  | { readonly event: "drained" }
  | { readonly event: "pong" }
  | { readonly event: "disconnected"; readonly asked: boolean }
  | {
      readonly event: "message";
      readonly topicName: string;
      readonly topicIdType: TopicIdType;
      readonly topicId: number;
      readonly payload: Uint8Array;
      readonly qos: QoS;
      readonly retain: boolean;
      readonly dup: boolean;
    }
  | { readonly event: "gateway"; readonly gwId: number };
