import { z } from "zod";

export const storeOptions = z.strictObject({
  kind: z
    .enum(["disk", "memory"])
    .default("disk")
    .describe("disk: sessions and messages survive restarts and power cuts. memory: they do not."),
  folder: z
    .string()
    .min(1)
    .default("data")
    .describe("Where they are kept; relative to the configuration. One gateway per folder."),
  durability: z
    .enum(["group", "each", "none"])
    .default("group")
    .describe(
      "group: the disk is flushed once for all commits of a moment, before anything is acknowledged. each: for every commit. none: when the system likes; a power cut loses the last half minute.",
    ),
  groupMilliseconds: z
    .number()
    .min(0)
    .max(1_000)
    .default(5)
    .describe(
      "How long a commit waits for others. More spares an SD card, and every acknowledgement is so much later.",
    ),
});

export type StoreOptions = z.infer<typeof storeOptions>;
