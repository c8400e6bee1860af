/** Commands about the gateways that share one store: so far a pair, of which one is active. */
import { z } from "zod";
import { json, type Refusal } from "./command.ts";
import { count, done, nothing } from "./command-shapes.ts";

const seconds = z.number().describe("To a tenth.");

export const pairShape = z.object({
  role: z.enum(["active", "standby", "ended"]).describe("ended: it is not active any more, and its process ends."),
  name: z.string(),
  owner: z.string().describe('Who is active, as far as this one knows; "" = nobody.'),
  epoch: count.describe("How often one of the pair has become the active one."),
  leaseSeconds: z.number(),
  leaseLeftSeconds: seconds.describe(
    "Until the active one gives up, or the one that stands by claims the lease, if it is not renewed; 0: nobody has it.",
  ),
  sinceSeconds: count.describe("Since when this one has its role."),
  trouble: z.string().describe('Why the lease cannot be had just now; "" = it can.'),
  other: z
    .object({ name: z.string(), version: z.string(), secondsAgo: seconds.describe("Since it was heard of last.") })
    .optional()
    .describe("The other one; absent: nobody stands by, or nobody is active."),
  handover: z
    .object({
      from: z.string().describe('Who was active before; "" = nobody.'),
      cause: z
        .enum(["first", "drained", "ended", "silent"])
        .describe(
          "first: nobody was active before; drained, ended: it gave the lease back; silent: it did not renew it.",
        ),
      secondsAgo: seconds,
    })
    .optional()
    .describe("How the lease came to whoever has it; absent: not known."),
});

const alone: Refusal = { kind: "not-there", say: "this gateway is none of a pair (store.pair)" };

export const fleetCommands = {
  "fleet.show": json({
    description: "both gateways of a pair: who is active, the epoch, the lease, who stands by, the last hand-over",
    method: "GET",
    path: "/fleet",
    input: nothing,
    output: pairShape.extend({ version: z.string().describe("Of this one.") }),
    role: "viewer",
    audited: false,
    run: ({ installation }) => {
      const pair = installation.pair();
      return pair ? done({ ...pair, version: installation.version }) : alone;
    },
  }),
  "fleet.drain": json({
    description:
      "hand over to the gateway that stands by: all is flushed, the lease is given up, the other one serves, this one ends",
    method: "POST",
    path: "/fleet/drain",
    input: nothing,
    output: z.object({
      from: z.string(),
      to: z.string().describe("Who has the lease now."),
      epoch: count,
      milliseconds: count.describe("From when this gateway fell silent until the other one had the lease."),
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
