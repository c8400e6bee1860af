import { z } from "zod";

/** Serial lines: one device each, or a radio module that passes on many nodes (forwarder encapsulation). */
export const serialOptions = z.strictObject({
  type: z.literal("serial").describe("Kind of transport."),
  name: z
    .string()
    .regex(/^[a-z0-9-]+$/, "may hold a to z, 0 to 9 and -")
    .default("serial")
    .describe("Unique among the transports; begins every peer's name in the log."),
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
    .describe("The lines, e.g. /dev/serial/by-id/…, which stays the same wherever it is plugged in."),
  baudRate: z.int().min(50).max(4_000_000).default(115_200).describe("Speed of all of them; 8 data bits."),
  parity: z.enum(["none", "even", "odd"]).default("none").describe("Parity bit."),
  flowControl: z.boolean().default(false).describe("RTS and CTS are wired."),
  maxMessageBytes: z
    .int()
    .min(20)
    .max(65_535)
    .default(1_024)
    .describe("Largest message, either way. Longer ones from a device count as noise."),
  resyncSeconds: z
    .number()
    .min(0.01)
    .max(60)
    .default(0.5)
    .describe("Silence in the middle of a message after which what came of it is thrown away."),
  sendBufferBytesMax: z
    .int()
    .min(100)
    .max(1_048_576)
    .default(8_192)
    .describe("Octets that wait for a slow line, each. Beyond: the message counts as a lost datagram."),
});

export type SerialOptions = z.infer<typeof serialOptions>;
