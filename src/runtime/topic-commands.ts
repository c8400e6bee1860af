/**
 * The rows of the list of commands about topics: which topics are used, and predefined ids that an operator has added.
 */
import { z } from "zod";
import { isTakenByBrokers } from "../wire/topic.ts";
import { json, type Outcome } from "./command.ts";
import { count, done, nothing } from "./command-shapes.ts";

const topicId = z
  .codec(z.string().regex(/^\d{1,5}$/, "a number from 1 to 65534"), z.int().min(1).max(65_534, "65534 at most"), {
    decode: Number,
    encode: String,
  })
  .describe("The id that devices use, 1 to 65534.");

const forWhom = z
  .string()
  .min(1)
  .max(65_535)
  .optional()
  .describe("Client id, or a pattern with * and ?; absent: for all clients.");

export const topicCommands = {
  "topics.list": json({
    description: "predefined topic ids, and the names and filters in use, by how many clients",
    method: "GET",
    path: "/topics",
    input: nothing,
    output: z.object({
      predefined: z.array(
        z.object({
          id: count,
          name: z.string(),
          client: z.string().optional(),
          isByHand: z.boolean().describe("The topic id was added by a command, and is not in the configuration."),
        }),
      ),
      used: z.array(z.object({ name: z.string(), isFilter: z.boolean(), clients: count, some: z.array(z.string()) })),
      isCut: z.boolean().describe("There are more entries than this list shows."),
    }),
    role: "viewer",
    audited: false,
    run: async (operator) => done(await operator.topics()),
  }),
  "topics.add": json({
    description: "give a topic a predefined id, for all clients or one, from its next CONNECT; kept beside the store",
    method: "POST",
    path: "/topics/predefined",
    input: z.strictObject({
      id: topicId,
      name: z
        .string("say which topic")
        .min(1, "say which topic")
        .max(65_535)
        .refine((name) => !/[+#]/.test(name), "must not hold a wildcard")
        .refine(isTakenByBrokers, "has characters that no broker accepts")
        .describe("The whole topic name."),
      client: forWhom,
    }),
    output: z.object({ id: count, name: z.string() }),
    role: "operator",
    audited: true,
    run: async (operator, { id, name, client }): Promise<Outcome<{ id: number; name: string }>> => {
      const problem = await operator.installation.predefine(id, name, client);
      return problem === undefined ? done({ id, name }) : { kind: "not-possible", say: problem };
    },
  }),
  "topics.remove": json({
    description: "remove a predefined id that was given by hand; the configuration's entry for it is valid again",
    method: "DELETE",
    path: "/topics/predefined",
    input: z.strictObject({ id: topicId, client: forWhom }),
    output: z.object({ removed: count }),
    role: "operator",
    audited: true,
    run: async (operator, { id, client }): Promise<Outcome<{ removed: number }>> =>
      (await operator.installation.endPredefined(id, client))
        ? done({ removed: id })
        : {
            kind: "not-there",
            say: `topic id ${id}${client === undefined ? "" : ` of "${client}"`} was not given by hand`,
          },
  }),
};
