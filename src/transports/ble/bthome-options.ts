import { z } from "zod";
import { sensorKeys } from "./key-options.ts";

/** Options: the BTHome sensors that are published, and their topics. */
export const bthomeOptions = z
  .strictObject({
    rules: z
      .array(
        z.strictObject({
          address: z.string().min(1).optional().describe("Address, with * and ?."),
          name: z.string().min(1).optional().describe("Advertised name, with * and ?."),
          topic: z
            .string()
            .min(1)
            .max(256)
            .regex(/^(?:[^+#{}\0]|\{address\}|\{reading\})+$/, "may hold {address} and {reading}, and no wildcards")
            .describe(
              "Topic. {address}: the sensor's, twelve hexadecimal digits; {reading}: then each reading is a message of its own, otherwise all are one JSON object.",
            ),
          retain: z.boolean().default(false).describe("The broker keeps the last one."),
        }),
      )
      .default([])
      .describe(
        "The first that fits a sensor says where its readings go; none fits: they are dropped. Empty: no BTHome.",
      ),
    keys: sensorKeys
      .default({})
      .describe(
        "Bind key per sensor's address: 32 hexadecimal digits in a file or a variable. Its messages must be encrypted.",
      ),
  })
  .prefault({})
  .describe("Sensors in the format of BTHome v2: docs/guide/bthome.md.");
