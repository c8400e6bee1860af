import { z } from "zod";

const port = z.int().min(0).max(65_535);

/** One UDP socket. There may be several transports of this kind, each with its own name. */
export const udpOptions = z.strictObject({
  type: z.literal("udp").describe("Kind of transport."),
  name: z
    .string()
    .regex(/^[a-z0-9-]+$/, "may hold a to z, 0 to 9 and -")
    .default("udp")
    .describe("The name is unique among the transports, and is the first part of every peer's name in the log."),
  host: z
    .string()
    .min(1)
    .default("0.0.0.0")
    .describe("Address to listen on: 0.0.0.0 (all IPv4), :: (all IPv6), or an address of this host."),
  port: port.default(1883).describe("UDP port; 0 uses any free one."),
  receiveBufferBytes: z
    .int()
    .min(4_096)
    .default(4 * 1024 * 1024)
    .describe(
      "The receive buffer that is requested from the kernel, which may give less (sysctl net.core.rmem_max). A " +
        "larger burst of datagrams is lost.",
    ),
  gatherMilliseconds: z
    .int()
    .min(0)
    .max(20)
    .default(0)
    .describe(
      "While datagrams arrive one after the other, they are read once in this time. This costs less CPU for each, " +
        "and they are handled later by up to twice this time. Linux, with the compiled part. 0: they are read at " +
        "once.",
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
      group: z.string().min(1).describe("Multicast group, or another address to which ADVERTISE is sent."),
      port: port.min(1).describe("Port of the group."),
      interfaces: z
        .array(z.string().min(1))
        .default([])
        .describe(
          "The interfaces on which the group is joined: IPv4 addresses, or names of interfaces for IPv6. Empty: " +
            "the system chooses.",
        ),
      hopLimit: z
        .int()
        .min(1)
        .max(255)
        .default(1)
        .describe("How many hops a broadcast may go. A requested radius cannot exceed it."),
      loopback: z.boolean().default(true).describe("Programs on this host receive broadcasts too."),
    })
    .optional()
    .describe("For ADVERTISE, GWINFO and SEARCHGW. Absent: discovery by unicast only."),
});

export type UdpOptions = z.infer<typeof udpOptions>;
