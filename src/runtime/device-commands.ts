/** Commands about devices with a session: the list, one device, messages to it, and its waiting messages. */
import { z } from "zod";
import { json } from "./command.ts";
import { count, done, noSession, oneClient, sessionDetails, state, states } from "./command-shapes.ts";
import { deviceOrders } from "./device-orders.ts";

const rowsMax = 500;

/** A number in the query of a URL. */
const inQuery = (max: number, otherwise: number, meaning: string) =>
  z
    .codec(z.string().regex(/^\d{1,9}$/, "a number"), z.int().min(0).max(max, `no more than ${max}`), {
      decode: Number,
      encode: String,
    })
    .optional()
    .describe(`${meaning} Absent: ${otherwise}.`);

const device = z.object({
  clientId: z.string(),
  peer: z.string().optional().describe("The present or last address of the client. Absent: no address is known."),
  transport: z.string().optional(),
  state,
  says: z.string().describe("The state of the client and the cause, in words."),
  isLate: z.boolean().describe("The client should have sent a message by now."),
  dueSeconds: count
    .optional()
    .describe(
      "Seconds until the next message of the client is due. Negative: it is late. Absent: no message is expected.",
    ),
  why: z
    .string()
    .describe("Why the client has this state. Empty: it has had this state since an earlier run of the gateway."),
  stateSeconds: count.optional().describe("How long the client has had this state, in seconds."),
  secondsSilent: count,
  keepAliveSeconds: count,
  sleepSeconds: count,
  rssi: count.optional().describe("Signal strength in dBm, if the network of the client reports it."),
  waiting: count.describe("Messages that wait for the client."),
  owed: count.describe("Publications that were acknowledged to the client and that the broker does not have yet."),
  dropped: count.describe("Messages for the client that were dropped since the gateway started."),
});

const deviceWhole = device.extend({
  clean: z.boolean(),
  waitingBytes: count,
  waitingSeconds: count.optional().describe("Seconds since the oldest waiting message arrived. Absent: none waits."),
  owedBytes: count,
  linkUp: z.boolean(),
  quarantineSeconds: count
    .optional()
    .describe(
      "The client continued to exceed its limits and is ignored for so many more seconds. Absent: it is not ignored.",
    ),
  identity: z
    .object({ name: z.string(), by: z.string(), isProved: z.boolean() })
    .optional()
    .describe("The identity of the device, and how the gateway knows it."),
  ...sessionDetails,
  wakings: z
    .array(z.object({ secondsAgo: z.number(), awakeSeconds: z.number() }))
    .describe("When the device woke up, and for how long it was awake; the newest entry last."),
});

export const deviceCommands = {
  "devices.list": json({
    description: "devices, filtered, sorted, page by page, each with its state in words",
    method: "GET",
    path: "/devices",
    input: z.strictObject({
      search: z.string().max(200).optional().describe("Part of a client id or an address."),
      state: state.or(z.enum(["late", "waiting"])).optional(),
      sort: z
        .enum(deviceOrders)
        .optional()
        .describe("The order of the list. Absent: by state, devices that need attention first."),
      order: z.enum(["up", "down"]).optional(),
      offset: inQuery(1e8, 0, "How many to leave out."),
      limit: inQuery(rowsMax, 100, "How many to show."),
    }),
    output: z.object({ total: count, matched: count, byState: z.object(states), devices: z.array(device) }),
    role: "viewer",
    audited: false,
    run: async (operator, { search, state, sort = "state", order = "up", offset = 0, limit = 100 }) =>
      done(await operator.devices({ search, state, sort, order, offset, limit })),
  }),
  "devices.show": json({
    description: "one device: its identity, subscriptions, topic ids and waiting messages",
    method: "GET",
    path: "/device",
    input: oneClient,
    output: deviceWhole,
    role: "viewer",
    audited: false,
    run: (operator, { client }) => {
      const found = operator.device(client);
      return found ? done(found) : noSession(client, operator);
    },
  }),
  "devices.send": json({
    description: "send a client a message, as if it had come from the broker; the broker does not get it",
    method: "POST",
    path: "/device/message",
    input: oneClient.extend({
      topic: z
        .string("say under which topic")
        .min(1, "say under which topic")
        .max(1_000)
        .regex(/^[^+#\0]+$/, "no wildcard"),
      payload: z.string().max(10_000).optional().describe("The payload as text, in UTF-8. Absent: empty."),
      qos: z.enum(["0", "1", "2"]).optional().describe("The QoS. Absent: 1."),
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
      return operator.send(client, publication) ? done({ sent: client }) : noSession(client, operator);
    },
  }),
  "devices.clear": json({
    description:
      "drop the messages that wait for a client, except one that it may have already; they are kept as dead letters",
    method: "DELETE",
    path: "/device/waiting",
    input: oneClient,
    output: z.object({ purged: count }),
    role: "operator",
    audited: true,
    run: (operator, { client }) => {
      const purged = operator.clearWaiting(client);
      return purged === undefined ? noSession(client, operator) : done({ purged });
    },
  }),
};
