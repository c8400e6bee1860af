/** Commands about the gateway as a whole: its state, brokers, topics and networks. */
import { z } from "zod";
import { json } from "./command.ts";
import { count, done, moment, nothing, states } from "./command-shapes.ts";
import { fleetShape, pairShape } from "./fleet-commands.ts";

const broker = z.object({
  name: z
    .string()
    .describe('The name of the upstream; "" = the one of every client for which `upstreams` names no other one.'),
  url: z.string(),
  isThere: z.boolean(),
  sinceSeconds: count.optional(),
  why: z.string(),
  octets: z
    .array(z.object({ date: z.string(), in: count, out: count }))
    .readonly()
    .describe(
      "Octets from (in) and to (out) the broker for each day, as TCP carries them. The newest day is first; at " +
        "most 31 days, and none before the gateway started.",
    ),
});

const overview = z.object({
  version: z.string(),
  at: moment,
  uptimeSeconds: count,
  memoryBytes: count,
  sessions: z.object({ total: count, ...states }),
  brokers: z.array(broker),
  transports: z.array(z.object({ name: z.string(), place: z.string() })),
  addresses: z.array(z.string()).describe("Addresses at which a device in the same network reaches this machine."),
  waiting: z.object({ forClients: count, forBroker: count, deadLetters: count }),
  storeKind: z.enum(["disk", "memory", "redis"]),
  storeFails: z.boolean(),
  pair: pairShape.optional().describe("The state of the pair, if the gateway belongs to one."),
  fleet: fleetShape
    .optional()
    .describe(
      "The state of the fleet, if the gateway belongs to one. Everything else in this answer is about the shards " +
        "that this gateway serves.",
    ),
  dropped: z
    .array(z.object({ reason: z.string(), count, meaning: z.string(), advice: z.string() }))
    .describe("Counts since the gateway started, the highest first."),
  needs: z
    .array(z.object({ level: z.enum(["bad", "warn", "note"]), says: z.string(), advice: z.string(), view: z.string() }))
    .describe("What the operator has to look at."),
});

const numbers = z.array(z.number());

const transport = z.object({
  name: z.string(),
  place: z.string(),
  stats: z.object({
    datagramsIn: count,
    datagramsOut: count,
    bytesIn: count,
    bytesOut: count,
    sendErrors: count,
    kernelDrops: count.optional(),
  }),
  links: z
    .object({
      up: z.boolean(),
      condition: z.string(),
      counters: z.record(z.string(), z.number()),
      devices: z
        .array(
          z.object({
            peer: z.string(),
            name: z.string(),
            linked: z.boolean(),
            rssi: z.number().optional(),
            secondsSinceSeen: z.number(),
            failures: count,
            lastFailure: z.string(),
          }),
        )
        .readonly(),
    })
    .optional(),
});

export const overviewCommands = {
  "overview.show": json({
    description: "the state of the gateway: sessions by state, brokers, store, and what the operator should do",
    method: "GET",
    path: "/overview",
    input: nothing,
    output: overview,
    role: "viewer",
    audited: false,
    // Only an operator sees the addresses and the error texts of the brokers, because the brokers are behind the
    // gateway.
    run: async (operator, _input, { role }) => done(await operator.overview(role === "operator")),
  }),
  "totals.show": json({
    description: "messages per second over the last hour, a number for each ten seconds",
    method: "GET",
    path: "/totals",
    input: nothing,
    output: z.object({
      at: z.array(moment),
      published: numbers,
      delivered: numbers,
      heard: numbers,
      sent: numbers,
      dropped: numbers,
    }),
    role: "viewer",
    audited: false,
    run: (operator) => done(operator.installation.totals.perSecond()),
  }),
  "radio.show": json({
    description: "networks and adapters, and the devices that have links",
    method: "GET",
    path: "/radio",
    input: nothing,
    output: z.array(transport),
    role: "viewer",
    audited: false,
    run: (operator) => done([...operator.installation.transports()]),
  }),
};
