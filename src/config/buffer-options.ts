/** Messages that wait for clients: limits, and rules by client and topic. */
import { z } from "zod";
import { isTopicFilter } from "../wire/topic.ts";

const octets = z
  .int()
  .min(1)
  .max(2 ** 31);

const policy = {
  timeToLiveSeconds: z
    .int()
    .min(0)
    .max(3e9)
    .describe(
      "A message that has waited for this time is dropped, unless the client may have seen it; 0 = never. An " +
        "earlier expiry from the broker (MQTT 5) applies too.",
    ),
  atLimit: z
    .enum(["leave", "oldest", "newest"])
    .describe(
      "leave: messages at QoS 1 and 2 stay at the broker, unacknowledged (on a shared connection the new one is " +
        "dropped), and the oldest one at QoS 0 is dropped. oldest: the oldest message of the rule is dropped, " +
        "whatever its QoS. newest: the new message is dropped.",
    ),
  keep: z
    .enum(["all", "latest"])
    .describe(
      "all: every message is kept. latest: a new message replaces those that wait under its topic name (a message " +
        "at QoS 0 replaces only messages at QoS 0).",
    ),
  qos0WhileAsleep: z.boolean().describe("Keep messages at QoS 0 for sleeping clients, as the standard demands."),
  perWakeMax: z
    .int()
    .min(0)
    .max(1_000_000)
    .describe("Messages that are sent in one wake-up; the rest waits for the next one. 0 = no limit."),
};

export const bufferOptions = z.strictObject({
  messagesMax: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1_000)
    .describe("Messages that wait for one client. Beyond this limit: see atLimit."),
  bytesMax: octets.default(1_048_576).describe("The same limit in octets; each message counts 100 more."),
  totalBytesMax: z
    .int()
    .min(1)
    .max(2 ** 40)
    .default(64 * 1_048_576)
    .describe("The limit in octets for all clients together."),
  extraPerWakeMax: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(100)
    .describe("Messages that arrive during a wake-up and are sent in the same wake-up."),
  timeToLiveSeconds: policy.timeToLiveSeconds.default(0),
  atLimit: policy.atLimit.default("leave"),
  keep: policy.keep.default("all"),
  qos0WhileAsleep: policy.qos0WhileAsleep.default(true),
  perWakeMax: policy.perWakeMax.default(0),
  rules: z
    .array(
      z.strictObject({
        clients: z.string().min(1).default("*").describe("Client ids; * stands for anything."),
        topics: z
          .string()
          .refine(isTopicFilter, "must be a topic filter: # stands alone behind the last slash, + alone between two")
          .default("#")
          .describe("Topic filter for names as clients use them."),
        messagesMax: z
          .int()
          .min(1)
          .max(1_000_000)
          .optional()
          .describe("Messages of this rule for one client; absent: the rule has no limit of its own."),
        bytesMax: octets.optional().describe("The same limit in octets."),
        payloadBytesMax: octets
          .optional()
          .describe(
            "Longest payload that these clients accept, in octets; absent: not known. Longer ones are dropped at " +
              "once, because otherwise they would be sent in vain.",
          ),
        timeToLiveSeconds: policy.timeToLiveSeconds.optional(),
        atLimit: policy.atLimit.optional(),
        keep: policy.keep.optional(),
        qos0WhileAsleep: policy.qos0WhileAsleep.optional(),
        perWakeMax: policy.perWakeMax
          .optional()
          .describe(
            "Applies to the client as a whole: the value of the first rule that matches the client and has one.",
          ),
      }),
    )
    .max(1_000)
    .default([])
    .describe(
      "Different values for some clients and topics. The first rule that matches both is used, and no later one. " +
        "Values that it does not set are those above.",
    ),
});

export type BufferOptions = z.infer<typeof bufferOptions>;
