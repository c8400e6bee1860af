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
    .describe("Unique among the transports; begins every peer's name in the log."),
  driver: z
    .enum(["auto", ...drivers])
    .default("auto")
    .describe(
      "The package that speaks to the adapter. auto: the first one if its native part was compiled, otherwise the second, which brings it; the log and `ble check` say which.",
    ),
  adapter: z.int().min(0).max(255).optional().describe("Number of the adapter: 0 for hci0. Absent: the first one."),
  channel: z
    .enum(["raw", "user"])
    .default("raw")
    .describe(
      "raw: shares the adapter with the system. user: has it alone; it must be down, and the right CAP_NET_ADMIN is needed too.",
    ),
  extendedAdvertising: z
    .boolean()
    .default(false)
    .describe(
      "Hears extended advertising too, so that a broadcast may have 255 octets instead of 31. Needs an adapter of Bluetooth 5 that has it: many have not, and then hear nothing.",
    ),
  allow: z
    .array(match)
    .optional()
    .describe("Which devices the gateway connects to: one entry must fit. Absent: all that advertise the service."),
  deny: z.array(match).default([]).describe("Which it never connects to, whatever allow says."),
  rssiMin: z.int().min(-127).max(20).default(-127).describe("Weaker devices are left alone, in dBm."),
  service: uuid.default(nordicUartService).describe("Service with the two characteristics; the Nordic UART's."),
  linksMax: atLeastOne(32)
    .default(4)
    .describe("Devices connected at once. Adapters end between 3 and 10; more devices than links take turns."),
  devicesMax: atLeastOne(10_000).default(500).describe("Devices remembered. Beyond: the longest unseen is forgotten."),
  maxMessageBytes: z
    .int()
    .min(20)
    .max(65_535)
    .default(1_024)
    .describe("Largest message, either way. Longer ones from a device count as noise."),
  resyncSeconds: seconds(0.1, 60)
    .default(8)
    .describe(
      "Silence in the middle of a message after which what came of it is thrown away. Always a second more than " +
        "supervisionSeconds at least: a radio that is silent for less loses nothing.",
    ),
  connectSeconds: seconds(1, 60).default(10).describe("Time for a connection to stand."),
  setUpSeconds: seconds(1, 60).default(10).describe("Time for finding the service and subscribing to it."),
  supervisionSeconds: seconds(0.1, 32).default(4).describe("Silence of the radio after which a link counts as lost."),
  connection: connectionOptions,
  pairing: pairingKind
    .default("none")
    .describe(
      "Whether the links are encrypted. none: no. just-works: a device is paired at its first connection and known by its bond " +
        "from then on; an attacker between the two sides at that first time is not noticed. passkey: the same with six digits that both sides " +
        "know (bonding.passkey). A device that does not pair gets no session.",
    ),
  bonding: bondingOptions,
  lingerSeconds: seconds(0, 60)
    .default(1)
    .describe("How long the link of a client is kept that has gone to sleep or has disconnected."),
  turnSeconds: seconds(1, 3_600)
    .default(15)
    .describe("When devices wait for a link: one that was silent for so long gives up its own."),
  turnSecondsMax: seconds(1, 86_400).default(60).describe("The same for one that is not silent."),
  holdSeconds: seconds(0, 3_600)
    .default(10)
    .describe("How long a message waits for the device to be connected again. Then it counts as a lost datagram."),
  scan: z
    .strictObject({
      onSeconds: seconds(0.3, 3_600).default(3).describe("Listening …"),
      offSeconds: seconds(0, 3_600)
        .default(0.5)
        .describe("… and not. Raise it where Wi-Fi on the same radio suffers; a device waits so much longer."),
    })
    .prefault({})
    .describe("Duty cycle of scanning."),
  broadcast: z
    .strictObject({
      enabled: z.boolean().default(true).describe("Take PUBLISH at QoS -1 out of advertisements."),
      companyId: z
        .int()
        .min(0)
        .max(65_535)
        .nullable()
        .default(0xffff)
        .describe("Company id of the manufacturer data; null: not there. 65535 is for tests and closed networks."),
      serviceUuid: uuid.nullable().default(null).describe("UUID of the service data; null: not there."),
      sendersMax: atLeastOne(100_000)
        .default(1_000)
        .describe("Senders remembered. Beyond: the longest silent one goes."),
      perMinuteMax: atLeastOne(60_000).default(60).describe("Messages per sender and minute. Beyond: dropped."),
      unknownSenders: z
        .boolean()
        .default(true)
        .describe("Also from senders without a key. false: only authenticated messages."),
      bthome: bthomeOptions,
      keys: sensorKeys
        .default({})
        .describe(
          "Key per sender's address: 32 to 128 hexadecimal digits in a file or a variable. Its messages must be authenticated; with 32 digits they may be encrypted.",
        ),
      countersFile: z
        .string()
        .min(1)
        .optional()
        .describe("Keeps the counters of authenticated senders, so that a restart lets nothing old through."),
    })
    .prefault({})
    .describe("Sensors that broadcast."),
  supervision: z
    .strictObject({
      silenceSeconds: seconds(1, 120)
        .default(10)
        .describe("The Bluetooth process says nothing for so long: it is ended and started again."),
      memoryMegabytesMax: z.int().min(80).max(4_096).default(200).describe("It has grown beyond: the same."),
      quietMinutes: seconds(1, 1_440)
        .default(15)
        .describe(
          "No advertisement at all for so long, and nothing from a device, though there were advertisements: the same.",
        ),
      pauseSecondsMax: seconds(1, 3_600).default(60).describe("Longest pause before it is started again."),
    })
    .prefault({})
    .describe("Watch over the process that has the adapter."),
});

export type BleOptions = z.infer<typeof bleOptions>;
