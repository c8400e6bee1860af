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
              "The topic. {address} stands for the sensor's address, twelve hexadecimal digits. If it contains " +
                "{reading}, each reading is a message of its own; otherwise all readings are one JSON object.",
            ),
          retain: z.boolean().default(false).describe("The broker keeps the last message."),
        }),
      )
      .default([])
      .describe(
        "The first rule that matches a sensor decides under which topic its readings are published. If none " +
          "matches, they are dropped. Empty: BTHome is not used.",
      ),
    keys: sensorKeys
      .default({})
      .describe(
        "The bind key for each sensor's address: 32 hexadecimal digits in a file or a variable. Messages of such " +
          "a sensor must be encrypted.",
      ),
  })
  .prefault({})
  .describe("Sensors in the format of BTHome v2: docs/guide/bthome.md.");
