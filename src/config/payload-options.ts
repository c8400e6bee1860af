/** Declarations of payloads: what the octets of messages mean, by topic and client. */
import { z } from "zod";
import { formatNames } from "../payload/formats.ts";
import { numberTypes } from "../payload/numbers.ts";
import { isTopicFilter } from "../wire/topic.ts";

const fieldName = z.string().min(1).max(100);
const octets = z.int().min(1).max(65_535);
const names = z
  .record(z.string().regex(/^-?\d+$/, "must be a whole number"), z.string().min(1).max(100))
  .describe('Names for numbers: { "0": "off", "1": "on" }. One that has none stays a number.');

const described = {
  name: fieldName,
  unit: z.string().max(30).optional().describe("What stands behind the number for people: °C."),
  kind: z.string().max(50).optional().describe("What it is of, where the unit does not say it: battery, opening."),
  diagnostic: z.boolean().optional().describe("It is about the device, not about its surroundings."),
};

const optional = z.boolean().optional().describe("A payload may end before this field, and then has none after it.");

const bits = z
  .array(
    z.strictObject({
      ...described,
      bit: z.int().min(0).max(31).describe("The lowest of its bits, counted from 0, the lowest of the number."),
      width: z.int().min(1).max(32).optional().describe("Absent: one bit, given as true or false."),
      values: names.optional(),
    }),
  )
  .min(1)
  .max(32)
  .describe("The number is a row of bits, given by their names and not by itself.");

const field = z.discriminatedUnion("type", [
  z.strictObject({
    ...described,
    type: z.enum(numberTypes).describe("Octet order as in MQTT-SN, the high one first; with le the low one first."),
    scale: z.number().optional().describe("The value is the number times this, rounded to as many digits."),
    offset: z.number().optional().describe("Added after that."),
    values: names.optional(),
    bits: bits.optional(),
    default: z.number().optional().describe("The value where a command does not say it; of bits, the number."),
    optional,
  }),
  z.strictObject({
    ...described,
    type: z
      .enum(["bytes", "text"])
      .describe("bytes: in hexadecimal. text: UTF-8, ended by a zero octet or the length."),
    length: octets.optional().describe("Octets; absent: all that is left."),
    optional,
  }),
  z.strictObject({
    type: z.literal("skip").describe("Octets that mean nothing."),
    length: octets.optional().describe("How many; absent: all that is left."),
    optional,
  }),
]);

/** A topic name made of others. */
const template = z
  .string()
  .min(1)
  .max(1_000)
  .regex(/^[^+#\0]+$/, "must not hold a wildcard (+ or #)");

export const payloadOptions = z
  .array(
    z.strictObject({
      topics: z
        .string()
        .refine(isTopicFilter, "must be a topic filter: # stands alone behind the last slash, + alone between two")
        .describe("Topic filter, on names as clients see them."),
      clients: z.string().min(1).default("*").describe("Client ids; * stands for anything."),
      direction: z
        .enum(["up", "down", "both"])
        .default("both")
        .describe("up: what devices say is decoded. down: what they are told, JSON, becomes octets."),
      fields: z
        .array(field)
        .min(1)
        .max(200)
        .optional()
        .describe("The payload, field by field; or give a format or a script."),
      format: z
        .enum(formatNames)
        .optional()
        .describe("A format that has a name. bthome and senml-… are for reading only."),
      script: z
        .string()
        .min(1)
        .optional()
        .describe(
          "A file with decodeUplink and encodeDownlink, as The Things Network and ChirpStack call them. It runs in a process of its own; see `scripts`.",
        ),
      fPort: z
        .int()
        .min(1)
        .max(255)
        .optional()
        .describe("With a script: what it is told as `fPort`, which MQTT-SN does not have. Absent: 1."),
      to: template
        .default("{topic}")
        .describe("Topic of what is decoded; {topic} and {client} stand for those of the message."),
      raw: template
        .optional()
        .describe("The octets themselves go here, too, as a message of their own. Absent: they do not."),
      sender: fieldName
        .optional()
        .describe(
          'A member of what is decoded with this name says who sent it and when: { "client", "transport", "rssi", "accepted" }, each where it is known. Absent: none. With MQTT 5 see `upstream.tellsSender`.',
        ),
    }),
  )
  .max(1_000)
  .default([])
  .describe(
    "What the octets of messages mean. The first entry that fits topic, client and direction decides. What does not fit it goes up as it is, and is not sent down; both are counted and told. Read again on SIGHUP.",
  );

export const scriptOptions = z
  .strictObject({
    runMsMax: z
      .int()
      .min(1)
      .max(1_000)
      .default(50)
      .describe("Milliseconds of one call; the message waits for so long, and then goes on without the script."),
    memoryMegabytesMax: z
      .int()
      .min(16)
      .max(256)
      .default(16)
      .describe("Memory of one script, with the interpreter that each has for itself."),
  })
  .prefault({})
  .describe("Limits of the scripts in `payloads`.");

export type PayloadDeclaration = z.infer<typeof payloadOptions>[number];
