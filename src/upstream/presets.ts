/**
 * What brokers of MQTT 3.1.1 do not take and cannot say: where one gets it all the same, it closes the connection. A
 * preset is what their documentation says, where it is looked up with the words below; settings of one's own come first.
 */
import type { Copies, QoS } from "../core/types.ts";

/** What the broker takes, beyond what it says itself. */
export interface BrokerWays {
  readonly qosMax: QoS;
  readonly retain: boolean;
  /** Octets of a packet; undefined = no limit known. */
  readonly packetBytesMax: number | undefined;
  /** MQTT 3.1.1. */
  readonly qos2InFlightMax: number;
  /** MQTT 3.1.1, to a connection several of whose filters match: undefined = it is found out when it matters. */
  readonly copies: Copies | undefined;
}

export interface Preset {
  readonly sets: Partial<BrokerWays>;
  readonly why: string;
}

const kib = 1_024;

export const presets = {
  "aws-iot": {
    sets: { qosMax: 1, packetBytesMax: 128 * kib },
    why: "AWS IoT Core answers neither PUBLISH nor SUBSCRIBE at QoS 2; a payload has at most 128 KB.",
  },
  "azure-event-grid": {
    sets: { qosMax: 1, retain: false, packetBytesMax: 512 * kib },
    why:
      "Azure Event Grid closes the connection for QoS 2, and for a retained message where the namespace does not have MQTT Retain " +
      "(where it does, set retain to true); a packet has at most 512 KiB.",
  },
  "hivemq-cloud": {
    sets: { qos2InFlightMax: 10 },
    why: "HiveMQ takes QoS 2, retained messages and every size that can come from here; 10 publications at a time (its server receive maximum).",
  },
  nats: {
    sets: { qosMax: 1, packetBytesMax: 1_024 * kib, copies: "each" },
    why: "NATS sends a message once for each filter that matches it; before 2.10 it closes the connection for QoS 2 (from 2.10 on, set qosMax to 2); its max_payload is 1 MB unless configured otherwise.",
  },
  rabbitmq: {
    sets: { qosMax: 1, packetBytesMax: 16 * kib * kib },
    why: "RabbitMQ answers a PUBLISH at QoS 2 as if it were QoS 1, or closes the connection; a packet has at most 16 MiB (4.1).",
  },
  mosquitto: {
    sets: { qos2InFlightMax: 20 },
    why: "mosquitto's max_inflight_messages is 20; max_qos, retain_available and max_packet_size are as the operator of it says: set them here too.",
  },
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof presets;
export const presetNames = Object.keys(presets) as [PresetName, ...PresetName[]];

/** Of an upstream's options, those that are about this. */
type Settings = { readonly [key in keyof BrokerWays]?: BrokerWays[key] | undefined } & {
  readonly preset?: PresetName | undefined;
};

const usual: BrokerWays = {
  qosMax: 2,
  retain: true,
  packetBytesMax: undefined,
  qos2InFlightMax: 20,
  copies: undefined,
};

/** What is set by hand, else what the preset says, else what most brokers take. */
export function waysOf(options: Settings): BrokerWays {
  const { preset, qosMax, retain, packetBytesMax, qos2InFlightMax, copies } = options;
  const from: BrokerWays = { ...usual, ...(preset && presets[preset].sets) };
  return {
    qosMax: qosMax ?? from.qosMax,
    retain: retain ?? from.retain,
    packetBytesMax: packetBytesMax ?? from.packetBytesMax,
    qos2InFlightMax: qos2InFlightMax ?? from.qos2InFlightMax,
    copies: copies ?? from.copies,
  };
}
