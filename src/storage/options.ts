import { z } from "zod";

/** A secret is never in the configuration itself, as with brokers. */
const secretReference = z.union([
  z.strictObject({ file: z.string().min(1).describe("File whose content (without the last line end) is the secret.") }),
  z.strictObject({ env: z.string().min(1).describe("Environment variable that holds the secret.") }),
]);

const pemFile = z
  .string()
  .min(1)
  .regex(/^(?!-----BEGIN)[^\n]*$/, "must be the name of a file, not what is in it");

const redisOptions = z.strictObject({
  url: z
    .string()
    .max(2_000)
    .regex(
      /^rediss?:\/\/[^/\s@?#]+(\/\d{1,4})?$/,
      "must be redis:// or rediss://, a host and perhaps a port and the number of a database; user and password have keys of their own",
    )
    .default("redis://127.0.0.1:6379")
    .describe("The server: redis:// or rediss:// (TLS), host, port, and after a slash the number of the database."),
  username: z.string().min(1).optional().describe("Absent: the server's default user."),
  password: secretReference.optional(),
  prefix: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[^{}\s]+$/, "must not hold a brace or a space")
    .default("mqtt-sn-gateway")
    .describe(
      "All keys begin with it, in braces. One gateway per prefix, or the two of a pair: any other takes the store from the first.",
    ),
  waitReplicas: z
    .int()
    .min(0)
    .max(100)
    .default(0)
    .describe("So many replicas must have a commit before anything is acknowledged; 0 = none is waited for."),
  waitMilliseconds: z
    .int()
    .min(1)
    .max(60_000)
    .default(1_000)
    .describe("How long they are waited for; then the commit has failed, and is made again."),
  tls: z
    .strictObject({
      ca: pemFile
        .optional()
        .describe("File with the certificates of the authorities to trust (PEM); default: the system's."),
      cert: pemFile.optional().describe("File with the client certificate (PEM)."),
      key: pemFile.optional().describe("File with its private key (PEM)."),
      serverName: z.string().min(1).optional().describe("Name to ask for and to verify; default: the host of the url."),
    })
    .optional()
    .describe("TLS, for rediss://."),
});

export type RedisOptions = z.infer<typeof redisOptions>;

const pairOptions = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe(
      "Two gateways with the same store.redis and the same configuration: one is active, the other stands by, answers no device, and takes over when the first one ends or is silent. Needs kind redis.",
    ),
  name: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[^\p{C}]*$/u, "must not hold a control character")
    .optional()
    .describe("How this gateway is called in logs, `status` and metrics of both; default: the name of the machine."),
  leaseSeconds: z
    .number()
    .min(1)
    .max(60)
    .default(3)
    .describe(
      "How long the active one may be silent before the other takes over. It renews this lease at a third, and gives up a tenth before its end. The same for both.",
    ),
});

export type PairOptions = z.infer<typeof pairOptions>;

export const storeOptions = z.strictObject({
  kind: z
    .enum(["disk", "memory", "redis"])
    .default("disk")
    .describe(
      "disk: sessions and messages survive restarts and power cuts. memory: they do not. redis: they are at a Redis or Valkey server, and as safe as that is.",
    ),
  folder: z
    .string()
    .min(1)
    .default("data")
    .describe(
      "Where they are kept; relative to the configuration. One gateway per folder. With redis: only what was set while running, and the control socket.",
    ),
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
  records: z
    .enum(["packed", "plain"])
    .default("packed")
    .describe(
      "Form of what is stored on disk. packed: in few octets; releases before this setting refuse such a store. plain: JSON, three times as much, which all releases read. A start with plain converts what is there: do it once before a return to such a release.",
    ),
  redis: redisOptions
    .prefault({})
    .describe("For kind redis; durability, groupMilliseconds and records are for disk alone."),
  pair: pairOptions.prefault({}).describe("Two gateways, of which one is active."),
});

const uplinkPolicy = {
  whenAway: z
    .enum(["store", "refuse"])
    .describe("store: onto disk, acknowledged after that, sent when the broker is back. refuse: 'congestion'."),
  qos0: z.boolean().describe("Store QoS 0 too."),
  messagesMax: z.int().min(1).max(1e9).describe("Per client."),
  bytesMax: z
    .int()
    .min(1_000)
    .max(2 ** 40)
    .describe("Per client, in octets; each message counts 100 more."),
  ageSecondsMax: z.int().min(0).max(3e9).describe("Older ones are dropped instead of sent; 0 = never."),
  atLimit: z
    .enum(["refuse", "oldest", "newest"])
    .describe("refuse: the client hears 'congestion'. oldest: its oldest makes way. newest: the new one is dropped."),
};

/** What happens to publications while the broker is away. */
export const uplinkOptions = z.strictObject({
  whenAway: uplinkPolicy.whenAway
    .default("store")
    .describe(`${uplinkPolicy.whenAway.description} Needs store.kind disk.`),
  qos0: uplinkPolicy.qos0.default(false),
  messagesMax: uplinkPolicy.messagesMax.default(100_000),
  bytesMax: uplinkPolicy.bytesMax.default(32 * 1_048_576),
  ageSecondsMax: uplinkPolicy.ageSecondsMax.default(0),
  atLimit: uplinkPolicy.atLimit.default("refuse"),
  totalMessagesMax: z.int().min(1).max(1e9).default(1_000_000).describe("For all clients together."),
  totalBytesMax: z
    .int()
    .min(1_000)
    .max(2 ** 40)
    .default(256 * 1_048_576)
    .describe("For all clients together, in octets."),
  drainPerSecond: z
    .number()
    .min(0.1)
    .max(1e6)
    .default(500)
    .describe("How fast they are sent when the broker is back, in total; live traffic is not counted."),
  groups: z
    .array(
      z.strictObject({
        clients: z.string().min(1).describe("Client ids; * stands for anything."),
        whenAway: uplinkPolicy.whenAway.optional(),
        qos0: uplinkPolicy.qos0.optional(),
        messagesMax: uplinkPolicy.messagesMax.optional(),
        bytesMax: uplinkPolicy.bytesMax.optional(),
        ageSecondsMax: uplinkPolicy.ageSecondsMax.optional(),
        atLimit: uplinkPolicy.atLimit.optional(),
      }),
    )
    .default([])
    .describe("What differs for some clients; the first that fits."),
});

export type UplinkOptions = z.infer<typeof uplinkOptions>;

export type StoreOptions = z.infer<typeof storeOptions>;
