/** Options for the parameters of links, and how far a device may change them. */
import { z } from "zod";

/** The least and the most that Bluetooth allows, in milliseconds. */
const interval = z.number().min(7.5).max(4_000);
const latency = z.int().min(0).max(499);

export const connectionOptions = z
  .strictObject({
    intervalMsMin: interval.default(30).describe("Shortest connection interval: how often the two radios meet."),
    intervalMsMax: interval
      .default(50)
      .describe(
        "Longest that is asked for. A message waits one interval at most; a device's radio is on once in each, for a " +
          "millisecond or two: at 500 ms it needs about a tenth of the current that it needs at 50 ms, and is ten times slower.",
      ),
    latency: latency
      .default(0)
      .describe(
        "How many meetings in a row the device may skip while it has nothing to say. It saves battery as a longer " +
          "interval does, but only what goes to the device waits longer.",
      ),
    requests: z
      .strictObject({
        intervalMsMax: interval.default(500).describe("Longest interval that a device may ask for."),
        latencyMax: latency.default(10).describe("Most meetings that a device may ask to skip."),
        supervisionSecondsMax: z
          .number()
          .min(0.1)
          .max(32)
          .default(6)
          .describe("Longest time-out that a device may ask for. Less than supervisionSeconds it does not get."),
      })
      .prefault({})
      .describe("What devices may ask for; beyond, their request is refused."),
  })
  .refine(({ intervalMsMin, intervalMsMax }) => intervalMsMin <= intervalMsMax, {
    message: "intervalMsMin is longer than intervalMsMax",
    path: ["intervalMsMin"],
  })
  .prefault({})
  .describe("Parameters of the links. A device sees them as connection interval, peripheral latency and so on.");

export type ConnectionOptions = z.infer<typeof connectionOptions>;
