import { z } from "zod";

/** Serial lines: one device each, or a radio module that passes on many nodes (forwarder encapsulation). */
export const serialOptions = z.strictObject({
  type: z.literal("serial").describe("Kind of transport."),
  name: z
    .string()
    .regex(/^[a-z0-9-]+$/, "may hold a to z, 0 to 9 and -")
    .default("serial")
    .describe("The name is unique among the transports, and is the first part of every peer's name in the log."),
  ports: z
    .array(
      z
        .string()
        .min(1)
        .max(200)
        .regex(/^[^#\s]+$/, "must not hold a blank or #"),
    )
    .min(1)
    .max(64)
    .refine((ports) => new Set(ports).size === ports.length, "must be different ones")
    .describe("The serial lines, for example /dev/serial/by-id/…, which stays the same for each port of the machine."),
  baudRate: z.int().min(50).max(4_000_000).default(115_200).describe("The speed of all lines; 8 data bits."),
  parity: z.enum(["none", "even", "odd"]).default("none").describe("Parity bit."),
  flowControl: z.boolean().default(false).describe("RTS and CTS are wired."),
  maxMessageBytes: z
    .int()
    .min(20)
    .max(65_535)
    .default(1_024)
    .describe("Largest message in both directions. A longer one from a device counts as noise."),
  resyncSeconds: z
    .number()
    .min(0.01)
    .max(60)
    .default(0.5)
    .describe("After this silence in the middle of a message, the part that was received is discarded."),
  sendBufferBytesMax: z
    .int()
    .min(100)
    .max(1_048_576)
    .default(8_192)
    .describe("Octets that wait for one slow line. Beyond this limit, a message counts as a lost datagram."),
});

export type SerialOptions = z.infer<typeof serialOptions>;
