/** Options for the parameters of links, and how far a device may change them. */
import { z } from "zod";

/** The least and the most that Bluetooth allows, in milliseconds. */
const interval = z.number().min(7.5).max(4_000);
const latency = z.int().min(0).max(499);

export const connectionOptions = z
  .strictObject({
    intervalMsMin: interval
      .default(30)
      .describe("Shortest connection interval: the time between two meetings of the radios."),
    intervalMsMax: interval
      .default(50)
      .describe(
        "Longest connection interval that is requested. A message waits one interval at most. The radio of a " +
          "device is on once in each interval, for a millisecond or two: at 500 ms it needs about a tenth of the " +
          "current that it needs at 50 ms, and is ten times slower.",
      ),
    latency: latency
      .default(0)
      .describe(
        "How many consecutive meetings the device may skip while it has nothing to send. It saves battery as a " +
          "longer interval does, but delays only messages to the device.",
      ),
    requests: z
      .strictObject({
        intervalMsMax: interval.default(500).describe("Longest interval that a device may ask for."),
        latencyMax: latency.default(10).describe("The most meetings that a device may ask to skip."),
        supervisionSecondsMax: z
          .number()
          .min(0.1)
          .max(32)
          .default(6)
          .describe("Longest time-out that a device may ask for. It does not get less than supervisionSeconds."),
      })
      .prefault({})
      .describe("Limits of what devices may ask for; a request beyond them is refused."),
  })
  .refine(({ intervalMsMin, intervalMsMax }) => intervalMsMin <= intervalMsMax, {
    message: "intervalMsMin is longer than intervalMsMax",
    path: ["intervalMsMin"],
  })
  .prefault({})
  .describe("Parameters of the links. A device knows them as connection interval, peripheral latency and so on.");

export type ConnectionOptions = z.infer<typeof connectionOptions>;
