/**
 * The list of all commands of an operator. The control socket, the command line, the API and MQTT are made from it. A new command needs a
 * row here and its function in operator.ts. The commands of the console are in console-commands.ts and its parts.
 */
import { z } from "zod";
import { type AnyCommand, json, type Refusal, stream } from "./command.ts";
import { count, done, noSession, nothing, oneClient, qos, sessionDetails, state } from "./command-shapes.ts";
import { consoleCommands } from "./console-commands.ts";

/** Dead letters named in one request; the URL must hold them. */
const idsMax = 2_000;

const someLetters = z.strictObject({
  ids: z
    .codec(
      z.string().regex(/^\d{1,15}(,\d{1,15})*$/, "numbers of dead letters with commas between them, as in 3,4,7"),
      z
        .array(z.int().min(1, "numbers of dead letters begin at 1"))
        .max(idsMax, `no more than ${idsMax} at a time; leave it out for all`),
      { decode: (text) => text.split(",").map(Number), encode: (ids) => ids.join(",") },
    )
    .optional()
    .describe("Numbers of dead letters, with commas between them; absent: all."),
});

const moment = z.number().describe("Milliseconds since 1970. 0: the clock was not set.");

const session = z.object({
  clientId: z.string(),
  peer: z.string().optional().describe("The present or last address of the client. Absent: no address is known."),
  state,
  clean: z.boolean(),
  keepAliveSeconds: count,
  sleepSeconds: count,
  secondsSilent: count,
  waitingMessages: count.describe("Messages that wait for the client."),
  waitingBytes: count,
  waitingSeconds: count
    .optional()
    .describe("Seconds since the oldest waiting message arrived, as far as it is known. Absent: none waits."),
  droppedMessages: count.describe("Messages for the client that were dropped since the gateway started."),
  owedToBroker: count.describe(
    "Publications that were acknowledged to the client and that the broker does not have yet.",
  ),
  owedBytes: count.describe("Octets of the publications on disk that are not sent yet; each counts 100 octets more."),
  topics: count,
  subscriptions: count,
  linkUp: z.boolean().describe("Whether the client's connection to the broker is established."),
  says: z.string().optional().describe("The state of the client and the cause, in words."),
  isLate: z.boolean().optional().describe("The client should have sent a message by now."),
});

const sessionWhole = session.extend(sessionDetails);

const depth = z.object({
  forBroker: z.object({
    messages: count,
    bytes: count,
    clients: z.array(
      z.object({
        clientId: z.string(),
        messages: count,
        bytes: count,
        oldestAt: moment,
      }),
    ),
  }),
  forClients: z.object({
    messages: count,
    bytes: count,
    clients: z.array(
      z.object({
        clientId: z.string(),
        state,
        messages: count,
        bytes: count,
        waitingSeconds: count.optional(),
        dropped: count,
      }),
    ),
  }),
  deadLetters: count,
  dropped: z
    .record(z.string(), count)
    .describe("Counts by reason since the gateway started, without those that are 0."),
  storeFails: z.boolean(),
});

const letter = z.object({
  id: count,
  clientId: z.string(),
  direction: z.enum(["up", "down"]).describe("up: the message was on its way to the broker; down: to the client."),
  reason: z.string().describe("The drop reason. docs/guide/events.md explains each."),
  topic: z.string(),
  qos,
  retain: z.boolean(),
  bytes: count,
  at: moment,
  payload: z.base64().optional().describe("Absent: payloads are hidden."),
  mayBeThere: z
    .boolean()
    .optional()
    .describe("At QoS 2: the broker may have the message already. If it is sent again, it may arrive twice."),
});

const packet = z.object({
  packet: z.enum(["publish", "will", "subscribe", "unsubscribe"]),
  topic: z.string(),
  qos,
  retain: z.boolean(),
  bytes: count,
  accepted: z.boolean().describe("The publication was acknowledged to the client."),
  stage: z
    .enum(["waiting", "sent", "received", "released"])
    .describe(
      "waiting, sent: the broker has not answered the packet. received, released: the broker has it, at QoS 2.",
    ),
  deaths: count
    .optional()
    .describe(
      "How often the broker closed the connection while only this packet was unanswered. Absent: it is not suspected.",
    ),
});

const queueOfClient = z.object({
  clientId: z.string(),
  underWay: z.array(packet).readonly(),
  onDisk: z
    .array(z.object({ topic: z.string(), qos, retain: z.boolean(), bytes: count, at: moment }))
    .describe("Accepted publications that are not sent yet; at most 1,000 are listed."),
});

const chosenUplink = z
  .strictObject({
    client: z.string().min(1).max(65_535).optional().describe("Client id; absent: all clients."),
    topic: z.string().min(1).max(65_535).optional().describe("Topic filter, as the broker knows it; absent: all."),
  })
  .refine(({ client, topic }) => client !== undefined || topic !== undefined, "name a client or a topic");

const linksOfTransport = z.object({
  transport: z.string(),
  up: z.boolean(),
  condition: z.string().describe("The program or driver that controls the adapter, or what is missing."),
  devices: z.array(
    z.object({
      peer: z.string(),
      name: z.string(),
      linked: z.boolean(),
      rssi: z.number().optional().describe("Signal strength in dBm; absent: not known."),
      secondsSinceSeen: count,
      failures: count.describe("Consecutive failed attempts."),
      lastFailure: z.string(),
      parameters: z
        .string()
        .optional()
        .describe("The values of the link. Absent: there is no link, or they are not known."),
    }),
  ),
});

const oneSensor = z.strictObject({
  address: z
    .string("say which sensor")
    .regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i, "must be a Bluetooth address, like c0:98:e5:00:00:01")
    .describe("Bluetooth address."),
});

const bond = z.object({
  transport: z.string(),
  address: z.string().describe("The identity address, by which the device is known at any address that it uses."),
  name: z.string().describe("The name that the device had when it was paired."),
  since: z.string().describe("The day of the pairing."),
  passkey: z.boolean().describe("The device was paired with a passkey, so no third device can have been in between."),
  secureConnections: z
    .boolean()
    .describe("The device was paired with LE Secure Connections: a listener cannot have learnt the key."),
});

const oneBond = z.strictObject({
  address: z
    .string("say which device")
    .regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i, "must be a Bluetooth address, like c0:98:e5:00:00:01")
    .describe("Bluetooth address by which the bond is listed."),
});

const chosenDatagrams = z.strictObject({
  client: z.string().min(1).max(65_535).optional().describe("Client id; absent: all clients."),
  transport: z.string().min(1).max(200).optional().describe("Name of a transport; absent: all transports."),
  payload: z
    .enum(["yes", "no"])
    .optional()
    .describe("no: payloads are left out, as they always are where payloads are hidden."),
});

export const commands = {
  "sessions.list": json({
    description: "every session, one line each",
    method: "GET",
    path: "/sessions",
    input: nothing,
    output: z.array(session),
    role: "viewer",
    audited: false,
    run: async (operator) => done(await operator.sessions()),
  }),
  "sessions.show": json({
    description: "everything that is known about one client",
    method: "GET",
    path: "/session",
    input: oneClient,
    output: sessionWhole,
    role: "viewer",
    audited: false,
    run: (operator, { client }) => {
      const found = operator.session(client);
      return found ? done(found) : noSession(client, operator);
    },
  }),
  "sessions.drop": json({
    description: "end a session; publications that the broker does not have yet are still sent to it",
    method: "DELETE",
    path: "/session",
    input: oneClient,
    output: z.object({ dropped: z.string() }),
    role: "operator",
    audited: true,
    run: (operator, { client }) =>
      operator.dropSession(client) ? done({ dropped: client }) : noSession(client, operator),
  }),
  "queue.depth": json({
    description: "how many messages wait, for which clients, and since when",
    method: "GET",
    path: "/queue",
    input: nothing,
    output: depth,
    role: "viewer",
    audited: false,
    run: async (operator) => done(await operator.queue()),
  }),
  "queue.show": json({
    description: "the publications of one client that the broker does not have yet, packet by packet",
    method: "GET",
    path: "/queue/client",
    input: oneClient,
    output: queueOfClient,
    role: "viewer",
    audited: false,
    run: async (operator, { client }) => {
      const found = await operator.queueOf(client);
      return found ? done(found) : noSession(client, operator);
    },
  }),
  "queue.clear": json({
    description: "drop publications that the broker does not have yet, of a client or under a topic",
    method: "DELETE",
    path: "/queue/client",
    input: chosenUplink,
    output: z.object({ purged: count }),
    role: "operator",
    audited: true,
    run: async (operator, chosen) => done({ purged: await operator.clearQueue(chosen) }),
  }),
  "queue.dead": json({
    description: "dead letters: messages that were dropped, and why",
    method: "GET",
    path: "/letters",
    input: nothing,
    output: z.array(letter),
    role: "operator", // the answer contains payloads
    audited: false,
    run: async (operator, _input, { seesPayloads }) => done(await operator.letters(seesPayloads)),
  }),
  "queue.republish": json({
    description: "send dead letters again, in their original direction",
    method: "POST",
    path: "/letters",
    input: someLetters,
    output: z.object({ republished: count }),
    role: "operator",
    audited: true,
    run: async (operator, { ids }) => done({ republished: await operator.republish(ids) }),
  }),
  "queue.purge": json({
    description: "delete dead letters",
    method: "DELETE",
    path: "/letters",
    input: someLetters,
    output: z.object({ purged: count }),
    role: "operator",
    audited: true,
    run: async (operator, { ids }) => done({ purged: await operator.purge(ids) }),
  }),
  "ble.links": json({
    description: "devices with links, and devices that may have one: signal strength, failures, parameters of the link",
    method: "GET",
    path: "/links",
    input: nothing,
    output: z.array(linksOfTransport),
    role: "viewer",
    audited: false,
    run: (operator) => done(operator.links()),
  }),
  "ble.forget": json({
    description:
      "forget the counter of one broadcasting sensor, because it has new firmware or counts from the beginning",
    method: "DELETE",
    path: "/broadcast-counter",
    input: oneSensor,
    output: z.object({ forgotten: z.string() }),
    role: "operator",
    audited: true,
    run: (operator, { address }) => {
      const known = address.toLowerCase();
      return operator.forgetCounter(known) ? done({ forgotten: known }) : noCounter(known);
    },
  }),
  "ble.bonds": json({
    description: "Bluetooth devices that were paired, and how; their keys are not shown",
    method: "GET",
    path: "/bonds",
    input: nothing,
    output: z.array(bond),
    role: "viewer",
    audited: false,
    run: (operator) => done(operator.bonds()),
  }),
  "ble.unbond": json({
    description: "remove a Bluetooth device's bond: its link ends, and it is paired again if pairing is allowed",
    method: "DELETE",
    path: "/bond",
    input: oneBond,
    output: z.object({ removed: z.string() }),
    role: "operator",
    audited: true,
    run: (operator, { address }) => {
      const known = address.toLowerCase();
      return operator.removeBond(known)
        ? done({ removed: known })
        : { kind: "not-there", say: `there is no bond of ${known}` };
    },
  }),
  backup: stream({
    description: "everything that the running gateway stores, as it is at one moment, in one file",
    method: "GET",
    path: "/backup",
    input: nothing,
    stream: "application/octet-stream",
    role: "operator",
    audited: true,
    isPayloads: true,
    run: (operator) => {
      const octets = operator.backup();
      return octets
        ? done(octets)
        : { kind: "not-possible", say: "a store in memory has nothing to back up (store.kind)" };
    },
  }),
  capture: stream({
    description: "the datagrams between gateway and devices from now on, as a pcapng file without end",
    method: "GET",
    path: "/capture",
    input: chosenDatagrams,
    stream: "application/x-pcapng",
    role: "operator", // the answer contains payloads and refused devices
    audited: true,
    run: (operator, { client, transport, payload = "yes" }, { seesPayloads }) => {
      if (transport !== undefined && !operator.hasTransport(transport))
        return { kind: "not-there", say: `there is no transport "${transport}"` };
      const octets = operator.capture({ client, transport, payload: seesPayloads && payload === "yes" });
      return octets ? done(octets) : { kind: "not-possible", say: "the limit of captures at a time is reached" };
    },
  }),
  ...consoleCommands,
} as const satisfies Record<string, AnyCommand>;

export type Commands = typeof commands;
export type CommandName = keyof Commands;
export type InputOf<Name extends CommandName> = z.output<Commands[Name]["input"]>;
/** Commands that answer with one value, and those that answer with octets. */
export type JsonCommandName = {
  [Name in CommandName]: Commands[Name] extends { output: z.ZodType } ? Name : never;
}[CommandName];
export type StreamCommandName = Exclude<CommandName, JsonCommandName>;
export type OutputOf<Name extends JsonCommandName> = z.output<Commands[Name]["output"]>;

function noCounter(address: string): Refusal {
  return { kind: "not-there", say: `no counter of ${address} is known` };
}
