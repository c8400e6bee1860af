import { z } from "zod";
import { bondingOptions, pairingKind } from "./bonding-options.ts";
import { bthomeOptions } from "./bthome-options.ts";
import { connectionOptions } from "./connection-options.ts";
import { drivers } from "./drivers.ts";
import { sensorKeys } from "./key-options.ts";
import { matchFields, namesSomething, uuid } from "./match-options.ts";

const seconds = (least: number, most: number) => z.number().min(least).max(most);
const atLeastOne = (most: number) => z.int().min(1).max(most);

const match = z.strictObject(matchFields).refine(namesSomething, "must name an address, a name or a service");

export const nordicUartService = "6e400001-b5a3-f393-e0a9-e50e24dcca9e";

/**
 * Bluetooth LE: connections to devices, and sensors that broadcast. docs/guide/ble-profile.md describes the device's
 * side.
 */
export const bleOptions = z.strictObject({
  type: z.literal("ble").describe("Kind of transport."),
  name: z
    .string()
    .regex(/^[a-z0-9-]+$/, "may hold a to z, 0 to 9 and -")
    .default("ble")
    .describe("The name is unique among the transports, and is the first part of every peer's name in the log."),
  driver: z
    .enum(["auto", ...drivers])
    .default("auto")
    .describe(
      "The package that drives the adapter. auto: the first one if its native part was compiled, otherwise the " +
        "second one, which contains it. The log and `ble check` tell which one is used.",
    ),
  adapter: z.int().min(0).max(255).optional().describe("Number of the adapter: 0 for hci0. Absent: the first one."),
  channel: z
    .enum(["raw", "user"])
    .default("raw")
    .describe(
      "raw: the adapter is shared with the system. user: only the gateway uses the adapter; it must be down, and " +
        "the right CAP_NET_ADMIN is needed too.",
    ),
  extendedAdvertising: z
    .boolean()
    .default(false)
    .describe(
      "Extended advertising is received too, so that a broadcast may have 255 octets instead of 31. This needs an " +
        "adapter with Bluetooth 5 that supports it. Many adapters do not, and then receive nothing.",
    ),
  allow: z
    .array(match)
    .optional()
    .describe(
      "The devices to which the gateway connects: at least one entry must match. Absent: all that advertise the " +
        "service.",
    ),
  deny: z.array(match).default([]).describe("Devices to which the gateway never connects, even if `allow` names them."),
  rssiMin: z
    .int()
    .min(-127)
    .max(20)
    .default(-127)
    .describe("The gateway does not connect to devices with a weaker signal, in dBm."),
  service: uuid
    .default(nordicUartService)
    .describe("The service with the two characteristics; the default is that of the Nordic UART."),
  linksMax: atLeastOne(32)
    .default(4)
    .describe(
      "Devices that are connected at the same time. Adapters have a limit between 3 and 10. If there are more " +
        "devices than links, they take turns.",
    ),
  devicesMax: atLeastOne(10_000)
    .default(500)
    .describe(
      "Devices that are remembered. Beyond this limit, the one that was not seen for the longest time is forgotten.",
    ),
  maxMessageBytes: z
    .int()
    .min(20)
    .max(65_535)
    .default(1_024)
    .describe("Largest message in both directions. A longer one from a device counts as noise."),
  resyncSeconds: seconds(0.1, 60)
    .default(8)
    .describe(
      "After this silence in the middle of a message, the part that was received is discarded. The gateway always " +
        "uses at least one second more than supervisionSeconds, because a radio that is silent for less loses " +
        "nothing.",
    ),
  connectSeconds: seconds(1, 60).default(10).describe("Limit for making a connection."),
  setUpSeconds: seconds(1, 60).default(10).describe("Limit for finding the service and subscribing to it."),
  supervisionSeconds: seconds(0.1, 32).default(4).describe("After this silence of the radio a link counts as lost."),
  connection: connectionOptions,
  pairing: pairingKind
    .default("none")
    .describe(
      "Whether the links are encrypted. none: they are not. just-works: a device is paired at its first " +
        "connection, and from then on recognized by its bond; an attacker between the two sides at this first " +
        "connection is not noticed. passkey: as just-works, but with six digits that both sides know " +
        "(bonding.passkey). A device that does not pair gets no session.",
    ),
  bonding: bondingOptions,
  lingerSeconds: seconds(0, 60)
    .default(1)
    .describe("How long the link is kept after its client has gone to sleep or has disconnected."),
  turnSeconds: seconds(1, 3_600)
    .default(15)
    .describe("If devices wait for a link, a device that was silent for this time loses its link."),
  turnSecondsMax: seconds(1, 86_400)
    .default(60)
    .describe("If devices wait for a link, a device that is not silent loses its link after this time."),
  holdSeconds: seconds(0, 3_600)
    .default(10)
    .describe("How long a message waits for the device to be connected again. Then it counts as a lost datagram."),
  scan: z
    .strictObject({
      onSeconds: seconds(0.3, 3_600).default(3).describe("How long the adapter listens to advertisements."),
      offSeconds: seconds(0, 3_600)
        .default(0.5)
        .describe(
          "How long the adapter then does not listen. Raise this if Wi-Fi on the same radio is disturbed; a " +
            "device then waits as much longer.",
        ),
    })
    .prefault({})
    .describe("Duty cycle of scanning."),
  broadcast: z
    .strictObject({
      enabled: z.boolean().default(true).describe("Accept PUBLISH at QoS -1 in advertisements."),
      companyId: z
        .int()
        .min(0)
        .max(65_535)
        .nullable()
        .default(0xffff)
        .describe(
          "Company id of the manufacturer data; null: manufacturer data are not used. 65535 is for tests and " +
            "closed networks.",
        ),
      serviceUuid: uuid.nullable().default(null).describe("UUID of the service data; null: service data are not used."),
      sendersMax: atLeastOne(100_000)
        .default(1_000)
        .describe("Senders that are remembered. Beyond this limit, the one that was silent for longest is forgotten."),
      perMinuteMax: atLeastOne(60_000)
        .default(60)
        .describe("Messages per sender and minute. Further ones are dropped."),
      unknownSenders: z
        .boolean()
        .default(true)
        .describe("Also accept messages from senders without a key. false: only authenticated messages are accepted."),
      bthome: bthomeOptions,
      keys: sensorKeys
        .default({})
        .describe(
          "The key for each sender's address: 32 to 128 hexadecimal digits in a file or a variable. Messages of " +
            "such a sender must be authenticated; with 32 digits they may be encrypted.",
        ),
      countersFile: z
        .string()
        .min(1)
        .optional()
        .describe(
          "The file with the counters of authenticated senders, so that no old message is accepted after a restart.",
        ),
    })
    .prefault({})
    .describe("Sensors that broadcast."),
  supervision: z
    .strictObject({
      silenceSeconds: seconds(1, 120)
        .default(10)
        .describe("If the Bluetooth process sends nothing for this time, it is ended and started again."),
      memoryMegabytesMax: z
        .int()
        .min(80)
        .max(4_096)
        .default(200)
        .describe("If the Bluetooth process uses more memory than this, it is ended and started again."),
      quietMinutes: seconds(1, 1_440)
        .default(15)
        .describe(
          "If there was no advertisement and nothing from a device for this time, although there were " +
            "advertisements before, the Bluetooth process is ended and started again.",
        ),
      pauseSecondsMax: seconds(1, 3_600).default(60).describe("Longest pause before it is started again."),
    })
    .prefault({})
    .describe("Supervision of the process that uses the adapter."),
});

export type BleOptions = z.infer<typeof bleOptions>;
