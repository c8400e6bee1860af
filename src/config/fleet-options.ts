import { z } from "zod";
import { shardsDefault, shardsMax, shardsMin } from "../fleet/shard.ts";
import { secretReference } from "../upstream/options.ts";

/** `192.0.2.1:1884`, `[2001:db8::1]:1884`: no host names, because the sources of datagrams are compared with it. */
const place = z
  .string()
  .max(100)
  .regex(
    /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]):\d{1,5}$/,
    "must be an address and a port, as in 192.0.2.1:1884 or [2001:db8::1]:1884",
  );

/** Several gateways with one set of sessions, all of which serve. */
export const fleetOptions = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe(
      "This gateway is one of several that share store.redis, and all of them serve. Sessions are divided into " +
        "shards by client id. Each shard has one owner, and any gateway accepts any datagram. Needs store.kind " +
        "redis.",
    ),
  name: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[^\p{C}]*$/u, "must not hold a control character")
    .optional()
    .describe("The name of this gateway, different for each; default: the name of the machine."),
  shards: z
    .int()
    .min(shardsMin)
    .max(shardsMax)
    .default(shardsDefault)
    .describe(
      "The number of parts into which clients are divided. It is the same for all gateways, and must not be " +
        "changed while there are sessions. Limits for all clients together (clients.sessionsMax, pendingMax, " +
        "newPerSecondMax and limits per host, buffer.totalBytesMax, uplink.total*, uplink.drainPerSecond, " +
        "deadLetters.max) apply to each shard. Each shard gets twice its even share, because clients are not " +
        "distributed evenly.",
    ),
  listen: place
    .optional()
    .describe(
      "UDP address and port at which this gateway receives datagrams from the others, for example 192.0.2.1:1884. " +
        "The network between them must be private, or `key` must be set.",
    ),
  announce: place
    .optional()
    .describe(
      "The address and port by which the others reach this gateway, and which they see as the source of its " +
        "datagrams. Absent: as in `listen`. If that is all addresses (0.0.0.0 or [::]): the address from which this " +
        "machine reaches Redis, with the port of `listen`.",
    ),
  leaseSeconds: z
    .number()
    .min(1)
    .max(60)
    .default(3)
    .describe(
      "How long a gateway may be silent before the others take over its shards. It renews its leases every third " +
        "of this time, and gives up a tenth before their end. All gateways need the same value.",
    ),
  key: secretReference
    .optional()
    .describe(
      "A secret of 16 octets or more, the same for all gateways, which authenticates the frames between them. " +
        "Absent: anybody who can send from a gateway's address can send messages in the name of its devices.",
    ),
});

export type FleetOptions = z.infer<typeof fleetOptions>;
