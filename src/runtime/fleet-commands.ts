/**
 * Commands about gateways that share one store: a pair with one active gateway, or a fleet whose gateways are all
 * active.
 */
import { z } from "zod";
import { json, type Refusal } from "./command.ts";
import { count, done, nothing } from "./command-shapes.ts";

const seconds = z.number().describe("Seconds, rounded to a tenth.");

export const pairShape = z.object({
  role: z
    .enum(["active", "standby", "ended"])
    .describe("ended: the gateway is not active any more, and its process ends."),
  name: z.string(),
  owner: z.string().describe('The active gateway, as far as this one knows; "" = none.'),
  epoch: count.describe("How often a gateway of the pair has become the active one."),
  leaseSeconds: z.number(),
  leaseLeftSeconds: seconds.describe(
    "Seconds until the lease ends if it is not renewed: then the active gateway gives up, or the standby claims it. 0: no gateway has the lease.",
  ),
  sinceSeconds: count.describe("How long this gateway has had its role."),
  trouble: z.string().describe('Why the lease cannot be read or claimed now; "" = it can.'),
  other: z
    .object({
      name: z.string(),
      version: z.string(),
      secondsAgo: seconds.describe("Seconds since its last sign of life, rounded to a tenth."),
    })
    .optional()
    .describe("The other gateway; absent: none stands by, or none is active."),
  handover: z
    .object({
      from: z.string().describe('The gateway that was active before; "" = none.'),
      cause: z
        .enum(["first", "drained", "ended", "silent"])
        .describe(
          "first: no gateway was active before; drained, ended: the gateway before gave the lease back; silent: " +
            "it did not renew the lease.",
        ),
      secondsAgo: seconds,
    })
    .optional()
    .describe("How the present owner got the lease. Absent: not known."),
});

const alone: Refusal = { kind: "not-there", say: "this gateway does not belong to a pair (store.pair)" };

const noFleet: Refusal = { kind: "not-there", say: "this gateway does not belong to a fleet (fleet)" };

export const fleetShape = z.object({
  name: z.string().describe("The gateway that was asked."),
  leaseSeconds: z.number(),
  shards: count.describe("The number of shards."),
  trouble: z.string().describe('Why the leases cannot be read at present; "" = they can.'),
  members: z
    .array(
      z.object({
        name: z.string(),
        version: z.string(),
        place: z.string().describe("The address at which the gateway receives datagrams from the others."),
        isDraining: z.boolean(),
        secondsAgo: seconds.describe("Seconds since its last sign of life, rounded to a tenth."),
        sinceSeconds: count.describe("How long this run of the gateway is known to the gateway that was asked."),
        shards: count.describe("The number of shards that the gateway owns."),
      }),
    )
    .readonly(),
  owners: z
    .array(
      z.object({
        shard: count,
        owner: z.string().describe('The owner; "" = the gateway that was asked knows none.'),
        epoch: count.describe("How often the shard was claimed."),
        here: z
          .enum(["opening", "serving", "leaving"])
          .optional()
          .describe("The state of the shard at the gateway that was asked. Absent: this gateway does not own it."),
      }),
    )
    .readonly(),
  counters: z
    .object({
      claimed: z
        .object({ first: count, drained: count, ended: count, silent: count })
        .describe("Claimed shards, by the cause."),
      handedOver: count,
      lost: count.describe("Shards that were dropped, because the lease had ended or belonged to another gateway."),
      failed: count.describe("Shards that could not be served here."),
    })
    .describe("Shards of the asked gateway since it started."),
});

export const fleetCommands = {
  "fleet.members": json({
    description: "the gateways of a fleet, and which of them owns which shard",
    method: "GET",
    path: "/fleet/members",
    input: nothing,
    output: fleetShape,
    role: "viewer",
    audited: false,
    run: ({ installation }) => {
      const fleet = installation.fleet();
      return fleet ? done(fleet) : noFleet;
    },
  }),
  "fleet.leave": json({
    description:
      "hand all shards over to the other gateways of the fleet, one after another; then this gateway ends. Devices do not notice it",
    method: "POST",
    path: "/fleet/leave",
    input: nothing,
    output: z.object({ shards: count.describe("The number of shards that were handed over.") }),
    role: "operator",
    audited: true,
    run: async ({ installation }) => {
      if (!installation.fleet()) return noFleet;
      const left = await installation.leave();
      return typeof left === "string" ? { kind: "not-possible", say: left } : done(left);
    },
  }),
  "fleet.show": json({
    description:
      "both gateways of a pair: which one is active, which one stands by, the epoch, the lease, the last hand-over",
    method: "GET",
    path: "/fleet",
    input: nothing,
    output: pairShape.extend({ version: z.string().describe("The version of this gateway.") }),
    role: "viewer",
    audited: false,
    run: ({ installation }) => {
      const pair = installation.pair();
      return pair ? done({ ...pair, version: installation.version }) : alone;
    },
  }),
  "fleet.drain": json({
    description:
      "hand over to the gateway that stands by: this gateway sends and stores everything, gives the lease back and ends; the other one serves",
    method: "POST",
    path: "/fleet/drain",
    input: nothing,
    output: z.object({
      from: z.string(),
      to: z.string().describe("The gateway that has the lease now."),
      epoch: count,
      milliseconds: count.describe("From the last message of this gateway until the other one had the lease."),
    }),
    role: "operator",
    audited: true,
    run: async ({ installation }) => {
      if (!installation.pair()) return alone;
      const drained = await installation.drain();
      return typeof drained === "string" ? { kind: "not-possible", say: drained } : done(drained);
    },
  }),
};
