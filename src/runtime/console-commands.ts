/** The rows of the list of commands that people look by: devices, the overview, who knocked, topics, radio, settings. */
import { z } from "zod";
import { json, type Outcome, type Refusal, stream } from "./command.ts";
import { deviceOrders } from "./device-orders.ts";
import type { Operator } from "./operator.ts";

const rowsMax = 500;

const nothing = z.strictObject({});
const count = z.int();
const moment = z.number().describe("Milliseconds since 1970.");
const state = z.enum(["active", "asleep", "awake", "disconnected", "lost"]);
const oneClient = z.strictObject({
  client: z.string("say which client").min(1, "say which client").max(65_535).describe("Client id."),
});

const oneDevice = z.strictObject({
  name: z
    .string("say which device")
    .regex(/^[A-Za-z0-9._~-]{1,64}$/, "up to 64 letters, digits, dots, dashes, _ and ~")
    .describe("Its name: what it proves with its key."),
});

const oneToken = z.strictObject({
  name: z
    .string("say which token")
    .regex(/^[A-Za-z0-9._-]{1,64}$/, "up to 64 letters, digits, dots, dashes and _")
    .describe("What the token is called, for people and the log."),
});

async function newKey(
  operator: Operator,
  name: string,
  isKnown: boolean,
): Promise<Outcome<{ name: string; key: string }>> {
  const made = await operator.installation.newKey(name, isKnown);
  return typeof made === "string" ? { kind: "not-possible", say: made } : done({ name, key: made.key });
}

/** A number as it stands in a URL. */
const inQuery = (max: number, otherwise: number, meaning: string) =>
  z
    .codec(z.string().regex(/^\d{1,9}$/, "a number"), z.int().min(0).max(max, `no more than ${max}`), {
      decode: Number,
      encode: String,
    })
    .optional()
    .describe(`${meaning} Absent: ${otherwise}.`);

const changesMax = 1_000;

/** JSON in a text: it may hold any value of the configuration. */
const settingChanges = z
  .codec(
    z.string(),
    z
      .array(z.strictObject({ path: z.array(z.union([z.string(), z.int()])).min(1), value: z.unknown().optional() }))
      .max(changesMax),
    {
      decode: (text, context) => {
        try {
          return JSON.parse(text) as { path: (string | number)[]; value?: unknown }[];
        } catch {
          context.issues.push({ code: "custom", input: text, message: "is no JSON" });
          return z.NEVER;
        }
      },
      encode: (changes) => JSON.stringify(changes),
    },
  )
  .describe('As JSON: [{ "path": ["api", "port"], "value": 80 }]; without a value the key is taken out.');

const device = z.object({
  clientId: z.string(),
  peer: z.string().optional().describe("Where it is, or was last; absent: nowhere known."),
  transport: z.string().optional(),
  state,
  says: z.string().describe("How it is, with the cause, in words."),
  isLate: z.boolean().describe("It should have spoken by now."),
  dueSeconds: count.optional().describe("Until it is to speak; negative: it is late; absent: it is not waited for."),
  why: z.string().describe("Why it has this state; empty: since an earlier life of the gateway."),
  stateSeconds: count.optional().describe("For how long it has this state."),
  secondsSilent: count,
  keepAliveSeconds: count,
  sleepSeconds: count,
  rssi: count.optional().describe("dBm, where its network knows it."),
  waiting: count.describe("Messages that wait for it."),
  owed: count.describe("Publications it was acknowledged for that the broker does not have yet."),
  dropped: count.describe("Messages for it that were dropped, since the gateway started."),
});

const states = { active: count, asleep: count, awake: count, disconnected: count, lost: count, late: count };

const deviceWhole = device.extend({
  clean: z.boolean(),
  waitingBytes: count,
  waitingSeconds: count.optional().describe("Since the oldest of them came; absent: none waits."),
  owedBytes: count,
  linkUp: z.boolean(),
  quarantineSeconds: count
    .optional()
    .describe("It went on beyond its limits, and is not listened to for so long. Absent: it is."),
  identity: z
    .object({ name: z.string(), by: z.string(), isProved: z.boolean() })
    .optional()
    .describe("Who it is, and how we know."),
  topics: z
    .array(z.object({ id: count, name: z.string(), known: z.boolean(), told: z.boolean().optional() }))
    .readonly(),
  subscriptions: z
    .array(
      z.object({
        filter: z.string(),
        qos: z.literal([0, 1, 2]),
        by: z.enum(["name", "predefined", "short"]),
        predefinedId: count,
        isRefused: z.boolean().optional(),
      }),
    )
    .readonly(),
  will: z.object({ topic: z.string(), qos: z.literal([0, 1, 2]), retain: z.boolean(), bytes: count }).optional(),
  wakings: z
    .array(z.object({ secondsAgo: z.number(), awakeSeconds: z.number() }))
    .describe("When it woke last, and for how long; the newest last."),
});

const broker = z.object({
  name: z.string().describe('"" = the one of every client that `upstreams` names no other for.'),
  url: z.string(),
  isThere: z.boolean(),
  sinceSeconds: count.optional(),
  why: z.string(),
});

const overview = z.object({
  version: z.string(),
  at: moment,
  uptimeSeconds: count,
  memoryBytes: count,
  sessions: z.object({ total: count, ...states }),
  brokers: z.array(broker),
  transports: z.array(z.object({ name: z.string(), place: z.string() })),
  addresses: z.array(z.string()).describe("Where a device in the same network finds this machine."),
  waiting: z.object({ forClients: count, forBroker: count, deadLetters: count }),
  storeKind: z.enum(["disk", "memory", "redis"]),
  storeFails: z.boolean(),
  dropped: z
    .array(z.object({ reason: z.string(), count, meaning: z.string(), advice: z.string() }))
    .describe("Since the gateway started; the most first."),
  needs: z
    .array(z.object({ level: z.enum(["bad", "warn", "note"]), says: z.string(), advice: z.string(), view: z.string() }))
    .describe("What needs a hand."),
});

const numbers = z.array(z.number());

const knock = z.object({
  what: z.enum(["client", "qosMinusOne", "forwarder", "refused"]),
  clientId: z.string().optional(),
  peer: z.string(),
  why: z.string(),
  hint: z.string().describe("The line of configuration that would admit it."),
  times: count,
  firstAt: moment,
  lastAt: moment,
});

const transport = z.object({
  name: z.string(),
  place: z.string(),
  stats: z.object({
    datagramsIn: count,
    datagramsOut: count,
    bytesIn: count,
    bytesOut: count,
    sendErrors: count,
    kernelDrops: count.optional(),
  }),
  links: z
    .object({
      up: z.boolean(),
      condition: z.string(),
      counters: z.record(z.string(), z.number()),
      devices: z
        .array(
          z.object({
            peer: z.string(),
            name: z.string(),
            linked: z.boolean(),
            rssi: z.number().optional(),
            secondsSinceSeen: z.number(),
            failures: count,
            lastFailure: z.string(),
          }),
        )
        .readonly(),
    })
    .optional(),
});

export const consoleCommands = {
  "overview.show": json({
    description: "how the gateway is: sessions by state, brokers, store, and what needs a hand",
    method: "GET",
    path: "/overview",
    input: nothing,
    output: overview,
    role: "viewer",
    audited: false,
    // Where the brokers are, and what they say, is behind the gateway: the operator's to see.
    run: (operator, _input, { role }) => done(operator.overview(role === "operator")),
  }),
  "totals.show": json({
    description: "messages per second over the last hour, a number for each ten seconds",
    method: "GET",
    path: "/totals",
    input: nothing,
    output: z.object({
      at: z.array(moment),
      published: numbers,
      delivered: numbers,
      heard: numbers,
      sent: numbers,
      dropped: numbers,
    }),
    role: "viewer",
    audited: false,
    run: (operator) => done(operator.installation.totals.perSecond()),
  }),
  "devices.list": json({
    description: "devices, searched, sorted, page by page, each with its state in words",
    method: "GET",
    path: "/devices",
    input: z.strictObject({
      search: z.string().max(200).optional().describe("Part of a client id or an address."),
      state: state.or(z.enum(["late", "waiting"])).optional(),
      sort: z.enum(deviceOrders).optional().describe("Absent: state; what needs a look comes first."),
      order: z.enum(["up", "down"]).optional(),
      offset: inQuery(1e8, 0, "How many to leave out."),
      limit: inQuery(rowsMax, 100, "How many to show."),
    }),
    output: z.object({ total: count, matched: count, byState: z.object(states), devices: z.array(device) }),
    role: "viewer",
    audited: false,
    run: (operator, { search, state, sort = "state", order = "up", offset = 0, limit = 100 }) =>
      done(operator.devices({ search, state, sort, order, offset, limit })),
  }),
  "devices.show": json({
    description: "one device: who it is, its subscriptions, topic ids and what waits for it",
    method: "GET",
    path: "/device",
    input: oneClient,
    output: deviceWhole,
    role: "viewer",
    audited: false,
    run: (operator, { client }) => {
      const found = operator.device(client);
      return found ? done(found) : noSession(client);
    },
  }),
  "devices.send": json({
    description: "send a client a message, as if it had come from the broker; the broker does not hear of it",
    method: "POST",
    path: "/device/message",
    input: oneClient.extend({
      topic: z
        .string("say under which topic")
        .min(1, "say under which topic")
        .max(1_000)
        .regex(/^[^+#\0]+$/, "no wildcard"),
      payload: z.string().max(10_000).optional().describe("As text, in UTF-8. Absent: empty."),
      qos: z.enum(["0", "1", "2"]).optional().describe("Absent: 1."),
    }),
    output: z.object({ sent: z.string() }),
    role: "operator",
    audited: true,
    noted: ({ client, topic, qos = "1" }) => ({ client, topic, qos }),
    run: (operator, { client, topic, payload = "", qos = "1" }) => {
      const quality = qos === "2" ? 2 : qos === "1" ? 1 : 0;
      const publication = {
        topicName: topic,
        payload: new TextEncoder().encode(payload),
        qos: quality,
        retain: false,
      } as const;
      return operator.send(client, publication) ? done({ sent: client }) : noSession(client);
    },
  }),
  "devices.clear": json({
    description: "give up what waits for a client, but for what it may have already; it is kept as dead letters",
    method: "DELETE",
    path: "/device/waiting",
    input: oneClient,
    output: z.object({ purged: count }),
    role: "operator",
    audited: true,
    run: (operator, { client }) => {
      const purged = operator.clearWaiting(client);
      return purged === undefined ? noSession(client) : done({ purged });
    },
  }),
  "knocking.list": json({
    description: "who was turned away, why, and the line of configuration that would admit it",
    method: "GET",
    path: "/knocking",
    input: nothing,
    output: z.array(knock),
    role: "operator", // a viewer does not see who was turned away
    audited: false,
    run: (operator) => done([...operator.installation.knocks.all]),
  }),
  "knocking.admit": json({
    description: "admit a client that knocked, from its address or from anywhere; kept beside the store",
    method: "POST",
    path: "/knocking",
    input: oneClient.extend({
      from: z.enum(["here", "anywhere"]).optional().describe("here: from the address it knocked from. Absent: here."),
    }),
    output: z.object({ admitted: z.string() }),
    role: "operator",
    audited: true,
    run: async (operator, { client, from = "here" }): Promise<Outcome<{ admitted: string }>> => {
      const { installation } = operator;
      const found = installation.knocks.all.find(({ what, clientId }) => what === "client" && clientId === client);
      if (!found) return { kind: "not-there", say: `"${client}" has not knocked, or was let in meanwhile` };
      const problem = await installation.admit(client, found.peer, from === "anywhere");
      if (problem !== undefined) return { kind: "not-possible", say: problem };
      installation.knocks.forget(client);
      return done({ admitted: client });
    },
  }),
  "join.open": json({
    description:
      "for a while admit whoever no rule lets in, when it tries again: at most a hundred; 0 seconds: no more",
    method: "POST",
    path: "/join",
    input: z.strictObject({
      seconds: z.codec(
        z.string().regex(/^\d{1,4}$/, "seconds, as a number"),
        z.int().min(0).max(3_600, "an hour at most"),
        {
          decode: Number,
          encode: String,
        },
      ),
    }),
    output: z.object({ seconds: count }),
    role: "operator",
    audited: true,
    run: (operator, { seconds }) => {
      operator.installation.join(seconds);
      return done({ seconds });
    },
  }),
  "device.list": json({
    description: "devices that have a key of their own here",
    method: "GET",
    path: "/device-keys",
    input: nothing,
    output: z.array(z.object({ name: z.string(), added: z.string() })),
    role: "operator",
    audited: false,
    run: (operator) => done([...operator.installation.withKeys()]),
  }),
  "device.add": json({
    description: "give a new device a key of its own, shown this once",
    method: "POST",
    path: "/device-keys",
    input: oneDevice,
    output: z.object({ name: z.string(), key: z.string() }),
    role: "operator",
    audited: true,
    isLocal: true,
    isSecret: true,
    run: (operator, { name }) => newKey(operator, name, false),
  }),
  "device.rotate": json({
    description: "give a device another key, shown this once; the one before is worth nothing",
    method: "POST",
    path: "/device-keys/rotate",
    input: oneDevice,
    output: z.object({ name: z.string(), key: z.string() }),
    role: "operator",
    audited: true,
    isLocal: true,
    isSecret: true,
    run: (operator, { name }) => newKey(operator, name, true),
  }),
  "device.remove": json({
    description: "forget a device's key: it does not get in with it any more",
    method: "DELETE",
    path: "/device-keys",
    input: oneDevice,
    output: z.object({ removed: z.string() }),
    role: "operator",
    audited: true,
    run: async (operator, { name }): Promise<Outcome<{ removed: string }>> =>
      (await operator.installation.removeKey(name))
        ? done({ removed: name })
        : { kind: "not-there", say: `"${name}" has no key here` },
  }),
  "admitted.remove": json({
    description: "take back that a client was admitted by hand; the configuration's rules then say whether it may stay",
    method: "DELETE",
    path: "/admitted",
    input: oneClient,
    output: z.object({ removed: z.string() }),
    role: "operator",
    audited: true,
    run: async (operator, { client }): Promise<Outcome<{ removed: string }>> =>
      (await operator.installation.withdraw(client))
        ? done({ removed: client })
        : { kind: "not-there", say: `"${client}" was not admitted by hand` },
  }),
  "topics.list": json({
    description: "predefined topic ids, and which names and filters are used, by how many",
    method: "GET",
    path: "/topics",
    input: nothing,
    output: z.object({
      predefined: z.array(z.object({ id: count, name: z.string(), client: z.string().optional() })),
      used: z.array(z.object({ name: z.string(), isFilter: z.boolean(), clients: count, some: z.array(z.string()) })),
      isCut: z.boolean().describe("There are more than are shown."),
    }),
    role: "viewer",
    audited: false,
    run: (operator) => done(operator.topics()),
  }),
  "radio.show": json({
    description: "networks and adapters, and the devices that have links",
    method: "GET",
    path: "/radio",
    input: nothing,
    output: z.array(transport),
    role: "viewer",
    audited: false,
    run: (operator) => done([...operator.installation.transports()]),
  }),
  "settings.show": json({
    description:
      "the configuration as it counts, without its secrets, what each key means, and what was changed by hand",
    method: "GET",
    path: "/settings",
    input: nothing,
    output: z.object({
      file: z.string().optional(),
      configuration: z.unknown(),
      schema: z.unknown(),
      managedFile: z.string().optional(),
      admitted: z.array(
        z.object({ clientId: z.string(), from: z.string().optional(), at: z.string(), by: z.string() }),
      ),
      written: z.object({
        values: z.unknown().optional().describe("What stands in the file, without secrets."),
        version: z.string().describe("To be named by who saves."),
        readOnly: z.string().optional().describe("Why it cannot be changed; absent: it can."),
        restart: z.array(z.string()).describe("What was changed since the start and counts after the next."),
      }),
    }),
    role: "operator", // a viewer sees nothing of the configuration
    audited: false,
    run: (operator) => {
      const settings = operator.installation.settings();
      const { written } = settings;
      return done({
        ...settings,
        admitted: [...settings.admitted],
        written: { ...written, restart: [...written.restart] },
      });
    },
  }),
  "settings.try": json({
    description: "what changes of the configuration would mean, as `check` says it; nothing is changed",
    method: "POST",
    path: "/settings/try",
    input: z.strictObject({ changes: settingChanges }),
    output: z.object({
      problems: z.array(z.string()),
      warnings: z.array(z.string()),
      difference: z.array(z.object({ kind: z.enum(["same", "out", "in"]), text: z.string() })),
      restart: z.array(z.string()).describe("What counts after a restart."),
    }),
    role: "operator",
    audited: false,
    run: async (operator, { changes }) => {
      const tried = await operator.installation.trySettings(changes);
      if (typeof tried === "string") return { kind: "not-possible", say: tried };
      const { problems, warnings, difference, restart } = tried;
      return done({
        problems: [...problems],
        warnings: [...warnings],
        difference: [...difference],
        restart: [...restart],
      });
    },
  }),
  "settings.save": json({
    description: "change the configuration's file; comments and order stay, what was there is kept beside it as .bak",
    method: "POST",
    path: "/settings",
    input: z.strictObject({
      changes: settingChanges,
      version: z.string().max(100).describe("Of the file, as `settings.show` gave it."),
    }),
    output: z.object({
      restart: z.array(z.string()).describe("What counts after a restart."),
      version: z.string().describe("Of the file as it is now."),
    }),
    role: "operator",
    audited: true,
    // A value may be a url with a password in it.
    noted: ({ changes = "" }) => ({
      keys: z.safeDecode(settingChanges, changes).data?.map(({ path }) => path.join(".")),
    }),
    run: async (operator, { changes, version }) => {
      const saved = await operator.installation.saveSettings(changes, version);
      if (typeof saved === "string") return { kind: "not-possible", say: saved };
      return done({ restart: [...saved.restart], version: saved.version });
    },
  }),
  "settings.secret": json({
    description:
      "keep a secret in a file of the store's folder; what the configuration refers to it by. It is never shown again",
    method: "POST",
    path: "/settings/secret",
    input: z.strictObject({
      key: z.string().max(200).describe("As in upstream.password."),
      secret: z.string().min(1, "say the secret").max(65_536).describe("Goes into the request's body."),
    }),
    output: z.object({ file: z.string() }),
    role: "operator",
    audited: true,
    isSecret: true,
    run: async (operator, { key, secret }) => {
      const kept = await operator.installation.keepSecret(key, secret);
      return typeof kept === "string" ? { kind: "not-possible", say: kept } : done(kept);
    },
  }),
  "settings.export": stream({
    description: "the configuration as it counts, with who was admitted by hand, without secrets",
    method: "GET",
    path: "/settings/export",
    input: nothing,
    stream: "application/json",
    role: "operator",
    audited: true,
    run: (operator) => done(octetsOf(operator.installation.exportSettings())),
  }),
  "console.link": json({
    description: "a link that logs a browser in to the console, once",
    method: "POST",
    path: "/console/link",
    input: z.strictObject({ role: z.enum(["viewer", "operator"]).optional().describe("Absent: operator.") }),
    output: z.object({ links: z.array(z.string()) }),
    role: "operator",
    audited: true,
    isLocal: true,
    isSecret: true,
    run: (operator, { role = "operator" }): Outcome<{ links: string[] }> => {
      const links = operator.installation.link(role);
      return typeof links === "string" ? { kind: "not-possible", say: links } : done({ links: [...links] });
    },
  }),
  "token.list": json({
    description: "tokens with which programs ask, by name and role",
    method: "GET",
    path: "/tokens",
    input: nothing,
    output: z.array(
      z.object({
        name: z.string(),
        role: z.enum(["viewer", "operator"]),
        added: z.string().optional(),
        isManaged: z.boolean().describe("false: it stands in the configuration."),
      }),
    ),
    role: "operator",
    audited: false,
    run: (operator) => done([...operator.installation.tokens()]),
  }),
  "token.add": json({
    description: "let a program ask by /api/v1 with a token, which is shown once",
    method: "POST",
    path: "/tokens",
    input: oneToken.extend({
      role: z.enum(["viewer", "operator"], "viewer or operator"),
      hash: z
        .string()
        .regex(/^[0-9a-f]{64}$/, "no hash")
        .describe("SHA-256 of the token."),
    }),
    output: z.object({ added: z.string() }),
    role: "operator",
    audited: true,
    isLocal: true,
    noted: ({ name, role }) => ({ name, role }),
    run: async (operator, token): Promise<Outcome<{ added: string }>> => {
      const problem = await operator.installation.addToken(token);
      return problem === undefined ? done({ added: token.name }) : { kind: "not-possible", say: problem };
    },
  }),
  "token.remove": json({
    description: "take back a program's token: it asks nothing any more",
    method: "DELETE",
    path: "/tokens",
    input: oneToken,
    output: z.object({ removed: z.string() }),
    role: "operator",
    audited: true,
    run: async (operator, { name }): Promise<Outcome<{ removed: string }>> =>
      (await operator.installation.removeToken(name))
        ? done({ removed: name })
        : { kind: "not-there", say: `there is no token ${name} that was made by a command` },
  }),
  "console.password": json({
    description: "set the console's password, and serve the console to private addresses if api.host lets them in",
    method: "POST",
    path: "/console/password",
    input: z.strictObject({
      hash: z
        .string()
        .regex(/^scrypt\$[\w$-]{20,400}$/, "no hash")
        .describe("Of scrypt."),
    }),
    output: z.object({ links: z.array(z.string()) }),
    role: "operator",
    audited: true,
    isLocal: true,
    isSecret: true,
    run: async (operator, { hash }): Promise<Outcome<{ links: string[] }>> => {
      const problem = await operator.installation.setPassword(hash);
      if (problem !== undefined) return { kind: "not-possible", say: problem };
      const links = operator.installation.link("operator");
      return typeof links === "string" ? { kind: "not-possible", say: links } : done({ links: [...links] });
    },
  }),
};

function done<Output>(output: Output): Outcome<Output> {
  return { kind: "done", output };
}

async function* octetsOf(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}

function noSession(clientId: string): Refusal {
  return { kind: "not-there", say: `there is no session of "${clientId}"` };
}
