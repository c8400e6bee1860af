/**
 * Limits of brokers with MQTT 3.1.1, which has no way to announce them: such a broker closes the connection instead. A
 * preset is what the broker's documentation states; settings in the configuration have priority.
 */
import type { Copies, QoS } from "../core/types.ts";

/** The limits of a broker, beyond those that the broker announces. */
export interface BrokerWays {
  readonly qosMax: QoS;
  readonly retain: boolean;
  /** Octets of a packet; undefined = no limit known. */
  readonly packetBytesMax: number | undefined;
  /** MQTT 3.1.1. */
  readonly qos2InFlightMax: number;
  /**
   * How often a connection of MQTT 3.1.1 gets a message that matches several of its filters: undefined = the gateway
   * finds it out when needed.
   */
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
    why: "AWS IoT Core answers neither PUBLISH nor SUBSCRIBE at QoS 2. A payload may have 128 KB at most.",
  },
  "azure-event-grid": {
    sets: { qosMax: 1, retain: false, packetBytesMax: 512 * kib },
    why:
      "Azure Event Grid closes the connection for QoS 2, and for a retained message if the namespace does not " +
      "have MQTT Retain (if it has, set retain to true). A packet may have 512 KiB at most.",
  },
  "hivemq-cloud": {
    sets: { qos2InFlightMax: 10 },
    why:
      "HiveMQ accepts QoS 2, retained messages and every size that the gateway can send. It accepts 10 " +
      "publications at a time (its server receive maximum).",
  },
  nats: {
    sets: { qosMax: 1, packetBytesMax: 1_024 * kib, copies: "each" },
    why:
      "NATS sends a message once for each filter that matches it. Before 2.10 it closes the connection for QoS 2 " +
      "(from 2.10 on, set qosMax to 2). Its max_payload is 1 MB unless configured otherwise.",
  },
  rabbitmq: {
    sets: { qosMax: 1, packetBytesMax: 16 * kib * kib },
    why:
      "RabbitMQ answers a PUBLISH at QoS 2 as if it had QoS 1, or closes the connection. A packet may have 16 MiB " +
      "at most (4.1).",
  },
  mosquitto: {
    sets: { qos2InFlightMax: 20 },
    why:
      "The max_inflight_messages of mosquitto is 20. Its operator sets max_qos, retain_available and " +
      "max_packet_size: set them here too.",
  },
} as const satisfies Record<string, Preset>;

export type PresetName = keyof typeof presets;
export const presetNames = Object.keys(presets) as [PresetName, ...PresetName[]];

/** The options of an upstream that concern these limits. */
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

/** The limits from the options, else from the preset, else the usual ones. */
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
