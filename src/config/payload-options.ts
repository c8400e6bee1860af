/** Declarations of payloads: what the octets of messages mean, by topic and client. */
import { z } from "zod";
import { formatNames } from "../payload/formats.ts";
import { numberTypes } from "../payload/numbers.ts";
import { isTopicFilter } from "../wire/topic.ts";

const fieldName = z.string().min(1).max(100);
const octets = z.int().min(1).max(65_535);
const names = z
  .record(z.string().regex(/^-?\d+$/, "must be a whole number"), z.string().min(1).max(100))
  .describe('Names for numbers: { "0": "off", "1": "on" }. A number without a name stays a number.');

const described = {
  name: fieldName,
  unit: z.string().max(30).optional().describe("The unit that people see after the number: °C."),
  kind: z
    .string()
    .max(50)
    .optional()
    .describe("The measured quantity, if the unit does not name it: battery, opening."),
  diagnostic: z.boolean().optional().describe("The value describes the device itself, and not its surroundings."),
};

const optional = z
  .boolean()
  .optional()
  .describe("A payload may end before this field. Then it has no later fields either.");

const bits = z
  .array(
    z.strictObject({
      ...described,
      bit: z.int().min(0).max(31).describe("The lowest bit of this part; 0 is the lowest bit of the number."),
      width: z.int().min(1).max(32).optional().describe("Absent: one bit, given as true or false."),
      values: names.optional(),
    }),
  )
  .min(1)
  .max(32)
  .describe("The number consists of bits. The named parts are published, and not the number itself.");

const field = z.discriminatedUnion("type", [
  z.strictObject({
    ...described,
    type: z
      .enum(numberTypes)
      .describe(
        "The type and size of the number. The high octet comes first, as in MQTT-SN; with le the low octet comes first.",
      ),
    scale: z
      .number()
      .optional()
      .describe("The value is the number times this factor, rounded to as many digits as the factor has."),
    offset: z.number().optional().describe("Added after the multiplication."),
    values: names.optional(),
    bits: bits.optional(),
    default: z
      .number()
      .optional()
      .describe("The value that is used if a command does not contain the field; with bits, the whole number."),
    optional,
  }),
  z.strictObject({
    ...described,
    type: z
      .enum(["bytes", "text"])
      .describe("bytes: published in hexadecimal. text: UTF-8; it ends with a zero octet or after the length."),
    length: octets.optional().describe("The number of octets; absent: all that are left."),
    optional,
  }),
  z.strictObject({
    type: z.literal("skip").describe("Octets without a meaning."),
    length: octets.optional().describe("The number of octets; absent: all that are left."),
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
        .describe("Topic filter for names as clients use them."),
      clients: z.string().min(1).default("*").describe("Client ids; * stands for anything."),
      direction: z
        .enum(["up", "down", "both"])
        .default("both")
        .describe(
          "up: payloads from devices are decoded. down: commands to devices are converted from JSON to octets.",
        ),
      fields: z
        .array(field)
        .min(1)
        .max(200)
        .optional()
        .describe("The fields of the payload. Use `format` or `script` instead if they fit better."),
      format: z.enum(formatNames).optional().describe("The name of a format. bthome and senml-… can only be read."),
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
        .describe("With a script: the value of `fPort` for the script, because MQTT-SN has no such number. Absent: 1."),
      to: template
        .default("{topic}")
        .describe("The topic of the decoded publication; {topic} and {client} stand for those of the message."),
      raw: template
        .optional()
        .describe(
          "The original octets are also published under this topic, as a message of their own. Absent: they are " +
            "not published.",
        ),
      sender: fieldName
        .optional()
        .describe(
          'The name of a member of the decoded JSON for the sender and the time: { "client", "transport", "rssi", ' +
            '"accepted" }, each if it is known. Absent: there is no such member. With MQTT 5 see ' +
            "`upstream.tellsSender`.",
        ),
    }),
  )
  .max(1_000)
  .default([])
  .describe(
    "Declarations of the octets in messages. The first entry that matches topic, client and direction is used. A " +
      "payload from a device that does not fit it is sent unchanged; a command that does not fit it is not sent. " +
      "Both are counted and logged. Read again on SIGHUP.",
  );

export const scriptOptions = z
  .strictObject({
    runMsMax: z
      .int()
      .min(1)
      .max(1_000)
      .default(50)
      .describe(
        "Milliseconds for one call. A message waits at most for this time, and then continues without the script.",
      ),
    memoryMegabytesMax: z
      .int()
      .min(16)
      .max(256)
      .default(16)
      .describe("Memory of one script with its interpreter; each script has its own."),
  })
  .prefault({})
  .describe("Limits of the scripts in `payloads`.");

export type PayloadDeclaration = z.infer<typeof payloadOptions>[number];
