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
    .describe("The server: redis:// or rediss:// (TLS), host, port, and the number of the database after a slash."),
  username: z.string().min(1).optional().describe("Absent: the server's default user."),
  password: secretReference.optional(),
  prefix: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[^{}\s]+$/, "must not hold a brace or a space")
    .default("mqtt-sn-gateway")
    .describe(
      "All keys begin with this prefix, in braces. Use one prefix for each gateway, or for the two of a pair. " +
        "Another gateway with the same prefix takes the store over from the first.",
    ),
  waitReplicas: z
    .int()
    .min(0)
    .max(100)
    .default(0)
    .describe("So many replicas must have a commit before anything is acknowledged; 0 = the gateway waits for none."),
  waitMilliseconds: z
    .int()
    .min(1)
    .max(60_000)
    .default(1_000)
    .describe("How long the gateway waits for the replicas. After this time the commit has failed, and is made again."),
  tls: z
    .strictObject({
      ca: pemFile
        .optional()
        .describe("File with the certificates of the trusted authorities (PEM); default: those of the system."),
      cert: pemFile.optional().describe("File with the client certificate (PEM)."),
      key: pemFile.optional().describe("File with its private key (PEM)."),
      serverName: z
        .string()
        .min(1)
        .optional()
        .describe("The name that is requested and verified; default: the host of the url."),
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
      "Two gateways with the same store.redis and the same configuration. One is active. The other stands by: it " +
        "answers no device, and takes over when the first one ends or is silent. Needs kind redis.",
    ),
  name: z
    .string()
    .min(1)
    .max(100)
    .regex(/^[^\p{C}]*$/u, "must not hold a control character")
    .optional()
    .describe(
      "The name of this gateway in logs, `status` and metrics of both gateways; default: the name of the machine.",
    ),
  leaseSeconds: z
    .number()
    .min(1)
    .max(60)
    .default(3)
    .describe(
      "How long the active gateway may be silent before the other one takes over. It renews this lease every " +
        "third of this time, and gives up a tenth before its end. Both gateways need the same value.",
    ),
});

export type PairOptions = z.infer<typeof pairOptions>;

export const storeOptions = z.strictObject({
  kind: z
    .enum(["disk", "memory", "redis"])
    .default("disk")
    .describe(
      "disk: sessions and messages survive restarts and power cuts. memory: they do not. redis: they are at a " +
        "Redis or Valkey server, and as safe as that server keeps them.",
    ),
  folder: z
    .string()
    .min(1)
    .default("data")
    .describe(
      "The folder of sessions and messages, relative to the configuration. One gateway per folder. With redis: " +
        "only the settings that were changed while running, and the control socket.",
    ),
  durability: z
    .enum(["group", "each", "none"])
    .default("group")
    .describe(
      "group: the disk is flushed once for all commits of a moment, before anything is acknowledged. each: the " +
        "disk is flushed for every commit. none: the system decides when; a power cut loses the last half minute.",
    ),
  groupMilliseconds: z
    .number()
    .min(0)
    .max(1_000)
    .default(5)
    .describe(
      "How long a commit waits for others. A longer wait writes less to an SD card, and delays every " +
        "acknowledgement by as much.",
    ),
  records: z
    .enum(["packed", "plain"])
    .default("packed")
    .describe(
      "The form of records on disk. packed: few octets; releases before this setting refuse such a store. plain: " +
        "JSON, three times as large, which all releases can read. A start with plain converts the existing records: " +
        "start once with it before you return to such a release.",
    ),
  redis: redisOptions
    .prefault({})
    .describe("For kind redis. durability, groupMilliseconds and records apply to a disk only."),
  serveAfterSeconds: z
    .number()
    .min(0)
    .max(86_400)
    .default(0.25)
    .describe(
      "If a start takes longer to read the sessions of the last run, devices are served meanwhile: a client whose " +
        "session is needed is read at once. A large value: the gateway serves when it has read all sessions.",
    ),
  pair: pairOptions.prefault({}).describe("Two gateways, of which one is active."),
});

const uplinkPolicy = {
  whenAway: z
    .enum(["store", "refuse"])
    .describe(
      "store: written to disk, then acknowledged, and sent when the broker is back. refuse: the device gets " +
        "'congestion'.",
    ),
  qos0: z.boolean().describe("Also store publications at QoS 0."),
  messagesMax: z.int().min(1).max(1e9).describe("Publications of one client."),
  bytesMax: z
    .int()
    .min(1_000)
    .max(2 ** 40)
    .describe("Octets of one client's publications; each message counts 100 more."),
  ageSecondsMax: z
    .int()
    .min(0)
    .max(3e9)
    .describe("Publications older than this are dropped instead of sent; 0 = never."),
  atLimit: z
    .enum(["refuse", "oldest", "newest"])
    .describe(
      "refuse: the client gets 'congestion'. oldest: its oldest publication is dropped. newest: the new one is dropped.",
    ),
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
  totalMessagesMax: z.int().min(1).max(1e9).default(1_000_000).describe("Publications of all clients together."),
  totalBytesMax: z
    .int()
    .min(1_000)
    .max(2 ** 40)
    .default(256 * 1_048_576)
    .describe("Octets of the publications of all clients together."),
  drainPerSecond: z
    .number()
    .min(0.1)
    .max(1e6)
    .default(500)
    .describe("How many of them are sent per second when the broker is back, in total; new publications do not count."),
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
    .describe("Different values for some clients. The first entry that matches is used."),
});

export type UplinkOptions = z.infer<typeof uplinkOptions>;

export type StoreOptions = z.infer<typeof storeOptions>;
