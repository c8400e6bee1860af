import { z } from "zod";

const port = z.int().min(0).max(65_535);

/** One UDP socket. There may be several transports of this kind, each with its own name. */
export const udpOptions = z.strictObject({
  type: z.literal("udp").describe("Kind of transport."),
  name: z
    .string()
    .regex(/^[a-z0-9-]+$/, "may hold a to z, 0 to 9 and -")
    .default("udp")
    .describe("Unique among the transports; begins every peer's name in the log."),
  host: z
    .string()
    .min(1)
    .default("0.0.0.0")
    .describe("Address to listen on: 0.0.0.0 (all IPv4), :: (all IPv6), or one of this host's."),
  port: port.default(1883).describe("UDP port; 0 takes any free one."),
  receiveBufferBytes: z
    .int()
    .min(4_096)
    .default(4 * 1024 * 1024)
    .describe("Asked of the kernel, which may give less (sysctl net.core.rmem_max). A burst beyond it is lost."),
  gatherMilliseconds: z
    .int()
    .min(0)
    .max(20)
    .default(0)
    .describe(
      "While datagrams come one after the other, they are read once in so many milliseconds: less CPU for each, and " +
        "later by up to twice that. Linux, with the compiled part. 0: at once.",
    ),
  maxMessageBytes: z
    .int()
    .min(60)
    .max(65_507)
    .default(1_024)
    .describe(
      "Largest message to a client. Above 1472 (IPv4) or 1232 (IPv6) datagrams are fragmented on most networks.",
    ),
  multicast: z
    .strictObject({
      group: z.string().min(1).describe("Multicast group, or any address to which ADVERTISE is to go."),
      port: port.min(1).describe("Port of the group."),
      interfaces: z
        .array(z.string().min(1))
        .default([])
        .describe("Where to join: IPv4 addresses, or names of interfaces for IPv6. Empty: the system's choice."),
      hopLimit: z
        .int()
        .min(1)
        .max(255)
        .default(1)
        .describe("How far a broadcast goes; a radius asked for cannot exceed it."),
      loopback: z.boolean().default(true).describe("Also heard by programs on this host."),
    })
    .optional()
    .describe("For ADVERTISE, GWINFO and SEARCHGW. Absent: discovery by unicast only."),
});

export type UdpOptions = z.infer<typeof udpOptions>;
