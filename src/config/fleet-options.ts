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
      "This gateway is one of several that share store.redis, and all of them serve. Sessions are divided into shards by client id; each shard has one owner, and any gateway takes any datagram. Needs store.kind redis.",
    ),
  name: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[^\p{C}]*$/u, "must not hold a control character")
    .optional()
    .describe("How this gateway is called, different for each; default: the name of the machine."),
  shards: z
    .int()
    .min(shardsMin)
    .max(shardsMax)
    .default(shardsDefault)
    .describe(
      "Into so many parts clients are divided: the same for all gateways, and never changed while there are sessions. Limits for all clients together (clients.sessionsMax, pendingMax, newPerSecondMax and what is per host, buffer.totalBytesMax, uplink.total*, uplink.drainPerSecond, deadLetters.max) count for each shard: each has twice its even share, since clients are not spread evenly.",
    ),
  listen: place
    .optional()
    .describe(
      "UDP address and port where this gateway takes datagrams from the others, as in 192.0.2.1:1884. The network between them must be private, or `key` set.",
    ),
  announce: place
    .optional()
    .describe(
      "The same as the others reach it, and as they see what comes from here; absent: as in `listen`, or, where that takes all addresses (0.0.0.0 or [::]), the address from which this machine reaches Redis, with the port of `listen`.",
    ),
  leaseSeconds: z
    .number()
    .min(1)
    .max(60)
    .default(3)
    .describe(
      "How long a gateway may be silent before the others take over its shards. It renews its leases at a third, and gives up a tenth before their end. The same for all.",
    ),
  key: secretReference
    .optional()
    .describe(
      "A secret of 16 octets or more, the same for all: what gateways pass to each other is signed with it. Absent: whoever can send from a gateway's address can speak for its devices.",
    ),
});

export type FleetOptions = z.infer<typeof fleetOptions>;
