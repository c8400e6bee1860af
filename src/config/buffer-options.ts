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
      "Dropped when they have waited so long, but what the client may have seen; 0 = never. An earlier expiry that the broker sent (MQTT 5) holds too.",
    ),
  atLimit: z
    .enum(["leave", "oldest", "newest"])
    .describe(
      "leave: QoS 1 and 2 stay at the broker, unacknowledged (on a shared connection the new one is dropped); the oldest QoS 0 makes way. oldest: the oldest of the rule makes way, whatever its QoS. newest: the new one is dropped.",
    ),
  keep: z
    .enum(["all", "latest"])
    .describe("latest: a new one replaces those waiting under its topic name (QoS 0 only QoS 0)."),
  qos0WhileAsleep: z.boolean().describe("Keep QoS 0 for sleepers, as the standard asks."),
  perWakeMax: z
    .int()
    .min(0)
    .max(1_000_000)
    .describe("Messages handed over in one wake-up; the rest waits for the next. 0 = no limit."),
};

export const bufferOptions = z.strictObject({
  messagesMax: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(1_000)
    .describe("Messages waiting per client. Beyond: see atLimit."),
  bytesMax: octets.default(1_048_576).describe("The same in octets; each message counts 100 more."),
  totalBytesMax: z
    .int()
    .min(1)
    .max(2 ** 40)
    .default(64 * 1_048_576)
    .describe("For all clients together."),
  extraPerWakeMax: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(100)
    .describe("Messages that arrive during a wake-up and still go out with it."),
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
          .describe("Topic filter, on names as clients see them."),
        messagesMax: z
          .int()
          .min(1)
          .max(1_000_000)
          .optional()
          .describe("Of this rule, per client; absent: no own limit."),
        bytesMax: octets.optional().describe("The same in octets."),
        payloadBytesMax: octets
          .optional()
          .describe(
            "Longest payload that these clients take, in octets; absent: not known. Longer ones are dropped at once, where else they would be tried in vain.",
          ),
        timeToLiveSeconds: policy.timeToLiveSeconds.optional(),
        atLimit: policy.atLimit.optional(),
        keep: policy.keep.optional(),
        qos0WhileAsleep: policy.qos0WhileAsleep.optional(),
        perWakeMax: policy.perWakeMax
          .optional()
          .describe("For the client as a whole: that of the first rule that fits the client and has one."),
      }),
    )
    .max(1_000)
    .default([])
    .describe(
      "What differs for some clients and topics: the first rule that fits both decides, and none after it. What it leaves out is as above.",
    ),
});

export type BufferOptions = z.infer<typeof bufferOptions>;
