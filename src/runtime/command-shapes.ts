/** Schemas that several commands share: parts of their inputs and outputs, and common outcomes. */
import { z } from "zod";
import type { Outcome, Refusal } from "./command.ts";

export const nothing = z.strictObject({});
export const count = z.int();
export const moment = z.number().describe("Milliseconds since 1970.");
export const qos = z.literal([0, 1, 2]);
export const state = z.enum(["active", "asleep", "awake", "disconnected", "lost"]);
export const oneClient = z.strictObject({
  client: z.string("say which client").min(1, "say which client").max(65_535).describe("Client id."),
});

/** The details of one session besides its state. */
export const sessionDetails = {
  topics: z
    .array(z.object({ id: count, name: z.string(), known: z.boolean(), told: z.boolean().optional() }))
    .readonly(),
  subscriptions: z
    .array(
      z.object({
        filter: z.string(),
        qos,
        by: z.enum(["name", "predefined", "short"]),
        predefinedId: count,
        isRefused: z
          .boolean()
          .optional()
          .describe(
            "The broker closes the connection for this filter. The subscription is kept, but the gateway does not " +
              "subscribe to it.",
          ),
      }),
    )
    .readonly(),
  will: z.object({ topic: z.string(), qos, retain: z.boolean(), bytes: count }).optional(),
};

/** The number of devices in each state. */
export const states = { active: count, asleep: count, awake: count, disconnected: count, lost: count, late: count };

export function done<Output>(output: Output): Outcome<Output> {
  return { kind: "done", output };
}

export function noSession(clientId: string, { isRestoring }: { readonly isRestoring: () => boolean }): Refusal {
  const say = `there is no session of "${clientId}"`;
  const yet = "; this gateway still reads the sessions of its last run, so ask again in some seconds";
  return { kind: "not-there", say: isRestoring() ? `${say}${yet}` : say };
}
