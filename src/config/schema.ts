/**
 * The configuration. One schema gives types, defaults, the editor's completion (gateway.config.schema.json) and
 * docs/guide/configuration.md. Unknown keys are errors. The schema has no transforms, so that the published schema is
 * complete.
 */
import { isIP } from "node:net";
import { z } from "zod";
import { payloadsFor } from "../roles.ts";
import { storeOptions, uplinkOptions } from "../storage/options.ts";
import { transportOptions } from "../transports/index.ts";
import { namedUpstreamOptions, upstreamOptions } from "../upstream/options.ts";
import { isTopicFilter } from "../wire/topic.ts";
import { accessOptions } from "./access-options.ts";
import { bufferOptions } from "./buffer-options.ts";
import { fleetOptions } from "./fleet-options.ts";
import { parseNetwork } from "./origins.ts";
import { payloadOptions, scriptOptions } from "./payload-options.ts";

const count = (max: number) => z.int().min(0).max(max);
const atLeastOne = (max: number) => z.int().min(1).max(max);

const topicIds = z.record(
  z.string().regex(/^\d+$/, "must be a number from 1 to 65534"),
  z
    .string()
    .min(1)
    .max(65_535)
    .regex(/^[^+#\0]+$/, "must not hold a wildcard"),
);

const controlTopic = z
  .string()
  .min(1)
  .max(500)
  .regex(/^[^+#\0]+$/, "must not hold a wildcard (+ or #)")
  .regex(/[^/]$/, "must not end with a slash");
const controlFilter = z.string().max(1_000).refine(isTopicFilter, "is no topic filter");

export const gatewayConfig = z.strictObject({
  $schema: z.string().optional().describe("The address of the schema, for editors."),
  gateway: z
    .strictObject({
      id: count(255).default(1).describe("GwId, unique in the network. [5.3.5]"),
      advertiseSeconds: count(65_535)
        .default(900)
        .describe("The interval at which ADVERTISE is sent to the multicast groups; 0 = never."),
      gwinfo: z
        .enum(["unicast", "broadcast", "both"])
        .default("unicast")
        .describe("To whom GWINFO is sent as the answer to SEARCHGW."),
      radius: count(255).default(0).describe("Broadcast radius of ADVERTISE; 0 = the whole network."),
    })
    .prefault({})
    .describe("The gateway itself."),
  transports: z
    .array(transportOptions)
    .min(1)
    .default([transportOptions.parse({ type: "udp" })])
    .describe("The networks that the gateway serves."),
  upstream: upstreamOptions
    .prefault({})
    .describe("The MQTT broker of every client for which `upstreams` names no other one."),
  upstreams: z
    .array(namedUpstreamOptions)
    .max(100)
    .default([])
    .describe("Further brokers or accounts for groups of clients. The first entry whose conditions all match is used."),
  store: storeOptions.prefault({}).describe("The store that keeps sessions and messages over a restart."),
  fleet: fleetOptions.prefault({}).describe("Several gateways that share their sessions, and all of which serve."),
  uplink: uplinkOptions.prefault({}).describe("What happens to publications of clients while the broker is away."),
  deadLetters: z
    .strictObject({
      max: count(1_000_000)
        .default(1_000)
        .describe(
          "The number of dropped messages at QoS 1 and 2 that are kept for the operator. Beyond this limit, the " +
            "oldest one is deleted.",
        ),
      topic: z
        .string()
        .min(1)
        .regex(/^[^+#\0]+$/, "must not hold a wildcard (+ or #)")
        .optional()
        .describe(
          "Each of them is also published under this topic, as JSON with the payload in base64. Absent: they are " +
            "not published.",
        ),
      superseded: z
        .boolean()
        .default(false)
        .describe(
          "Also keep messages that a later message replaced (buffer keep: latest). If sent again, they would be " +
            "out of date.",
        ),
    })
    .prefault({})
    .describe("Dead letters: messages that were dropped (command: queue)."),
  tryOutBroker: z
    .boolean()
    .default(false)
    .describe(
      "Start a small broker inside the gateway, on the host and port of upstream.url, for a first try. It stores " +
        "nothing and protects nothing.",
    ),
  clients: z
    .strictObject({
      clientIdBytesMax: atLeastOne(65_535).default(64).describe("Longest client id, in octets."),
      sessionsMax: atLeastOne(1_000_000)
        .default(10_000)
        .describe(
          "Sessions, connected or not. At this limit a session is ended for a new client: one whose client sent " +
            "nothing after CONNECT, otherwise the one that is disconnected for the longest time. If none may be " +
            "ended, the new client gets 'congestion'. A client that no rule of `access` names does not displace one " +
            "that a rule names, or one that was heard within a day.",
        ),
      sessionsPerHostMax: count(1_000_000)
        .default(5_000)
        .describe(
          "Sessions per host, for clients that no rule of `access` names. Each node behind a forwarder counts as " +
            "a host, and so does an IPv6 network of 64 bits outside `access.site`. 0 = no limit. At this limit a " +
            "session of the host whose client sent nothing is ended, or the new client gets 'congestion'.",
        ),
      unprovenFactorMax: count(1_000_000)
        .default(10)
        .describe(
          "Octets of deliveries for each octet from a client outside `access.site` that has not answered any " +
            "delivery yet: its address may be forged, so that the messages go to another host. Further messages " +
            "wait. 0 = no limit.",
        ),
      pendingMax: atLeastOne(100_000)
        .default(1_000)
        .describe("CONNECTs that are not finished. Beyond this limit the client gets 'congestion'."),
      newPerSecondMax: count(1_000_000)
        .default(1_000)
        .describe("New sessions per second; 0 = no limit. Beyond this limit the client gets 'congestion'."),
      newPerSecondPerHostMax: count(1_000_000)
        .default(200)
        .describe("New sessions per second and host (as for `sessionsPerHostMax`); 0 = no limit."),
      idleSecondsMax: atLeastOne(31_536_000)
        .default(86_400)
        .describe("How long a client with keep alive 0 may be silent."),
      sessionExpirySeconds: atLeastOne(31_536_000)
        .default(7 * 86_400)
        .describe("How long a session without its client is kept (clean session off)."),
      roaming: z.boolean().default(true).describe("A sleeping client may come back from another address with PINGREQ."),
      uplinkInFlightMax: atLeastOne(10_000)
        .default(8)
        .describe("Publications of a client that wait for the broker. Beyond this limit the client gets 'congestion'."),
      subscriptionQoSMax: z
        .union([z.literal(0), z.literal(1), z.literal(2)])
        .default(2)
        .describe("Highest QoS that is granted to clients."),
      subscriptionsMax: atLeastOne(100_000)
        .default(200)
        .describe("Subscriptions per client. Beyond this limit the client gets 'congestion'."),
    })
    .prefault({})
    .describe("Limits of clients and sessions."),
  topics: z
    .strictObject({
      predefined: topicIds
        .default({})
        .describe('Predefined topic ids for all clients: { "1": "name" }. Read again on SIGHUP.'),
      predefinedFor: z
        .record(z.string().min(1), topicIds)
        .default({})
        .describe("Predefined topic ids by client id. They have priority over those for all clients."),
      timeId: atLeastOne(65_534)
        .optional()
        .describe(
          "Predefined topic id under which a device without a clock asks for the time: it publishes there (QoS 0 or 1) and gets the " +
            "seconds since 1970 in four octets at the same id. Absent: the time is not published.",
        ),
      idsPerClientMax: atLeastOne(65_000)
        .default(1_000)
        .describe("Registered topic names per client. Beyond this limit the client gets 'congestion'."),
      bytesPerClientMax: atLeastOne(100_000_000)
        .default(65_536)
        .describe(
          "Octets of a client's topic names, filters and will together. Beyond this limit the client gets 'congestion'.",
        ),
    })
    .prefault({})
    .describe("Topic ids."),
  payloads: payloadOptions,
  scripts: scriptOptions,
  homeAssistant: z
    .strictObject({
      enabled: z
        .boolean()
        .default(false)
        .describe(
          "Publish each device whose payloads are declared with fields to Home Assistant, over a connection of " +
            "its own ({serviceClientId}-ha) to the broker of `upstream`. The states of devices are published under " +
            "`status.topic`; absent: mqtt-sn/{serviceClientId}.",
        ),
      prefix: z
        .string()
        .min(1)
        .max(200)
        .regex(/^[^+#\0]+$/, "must not hold a wildcard (+ or #)")
        .default("homeassistant")
        .describe("Discovery prefix, as set in Home Assistant's MQTT integration."),
    })
    .prefault({})
    .describe("Home Assistant finds devices by itself."),
  buffer: bufferOptions.prefault({}).describe("Messages that wait for clients."),
  retry: z
    .strictObject({
      intervalSeconds: z.number().min(0.1).max(3_600).default(10).describe("T_retry towards clients. [7.2]"),
      limit: count(100)
        .default(5)
        .describe(
          "N_retry. After so many repetitions other messages are sent first. A client that sent nothing meanwhile " +
            "counts as lost, or as asleep again. If 5 % of datagrams are lost in each direction, chance alone uses " +
            "up 3 repetitions at one message in 11,000, and 5 at one in a million.",
        ),
      congestionPauseSeconds: z
        .number()
        .min(0.1)
        .max(86_400)
        .default(30)
        .describe("Pause after a client has answered 'congestion'."),
      rules: z
        .array(
          z.strictObject({
            clients: z.string().min(1).default("*").describe("Client ids; * stands for anything."),
            transports: z.array(z.string().min(1)).min(1).optional().describe("Names of transports; absent: all."),
            intervalSeconds: z.number().min(0.1).max(3_600).optional().describe("T_retry."),
            limit: count(100).optional().describe("N_retry."),
          }),
        )
        .max(1_000)
        .default([])
        .describe(
          "Different values for some clients or networks (NB-IoT may answer after 10 s, Bluetooth after 0.1). The " +
            "first rule that matches is used. Values that it does not set are those above.",
        ),
    })
    .prefault({})
    .describe("How messages to clients are repeated."),
  access: accessOptions.prefault({}).describe("Which clients are admitted. Read again on SIGHUP."),
  status: z
    .strictObject({
      topic: z
        .string()
        .min(1)
        .regex(/^[^+#\0]+$/, "must not hold a wildcard (+ or #)")
        .optional()
        .describe(
          "The topic of retained states: <topic>/gateway and <topic>/clients/<id>. Absent: none are published. In a " +
            "fleet one level is {gateway}, for `fleet.name`; the states of clients are published without this level.",
        ),
    })
    .prefault({})
    .describe("Status messages at the broker."),
  shutdown: z
    .strictObject({
      wills: z
        .enum(["keep", "publish"])
        .default("keep")
        .describe("Whether the gateway publishes the wills of its clients when it ends in order."),
    })
    .prefault({})
    .describe("When the gateway ends."),
  extensions: z
    .strictObject({
      longNameQoSMinusOne: z
        .boolean()
        .default(false)
        .describe("Accept QoS -1 with a topic name before the payload, as RSMB and Paho's C library send it."),
    })
    .prefault({})
    .describe("Features that are not in the standard."),
  log: z
    .strictObject({
      level: z
        .enum(["trace", "debug", "info", "warn", "error", "silent"])
        .default("info")
        .describe("Read again on SIGHUP."),
      format: z
        .enum(["auto", "json", "pretty"])
        .default("auto")
        .describe("auto: text for people on a terminal, otherwise JSON."),
    })
    .prefault({})
    .describe("The log, which is written to standard output."),
  api: z
    .strictObject({
      enabled: z.boolean().default(true).describe("Whether /healthz, /metrics and the console are served."),
      host: z
        .string()
        .min(1)
        .default("127.0.0.1")
        .describe(
          "The address to listen on. Health and metrics need no password, so keep them on this host. At another " +
            "address than loopback the console is available only after `mqtt-sn-gateway console --lan`.",
        ),
      port: count(65_535).default(9_464).describe("TCP port."),
      console: z
        .boolean()
        .default(true)
        .describe("Whether the console, a page for people, is served at /, and its requests at /api/v1/."),
      hosts: z
        .array(z.string().regex(/^[a-z0-9.-]+$/i, "is a name without a port, as in gateway.example.org"))
        .max(100)
        .default([])
        .describe(
          "Names under which browsers may open the console (for example a proxy's), in addition to localhost and " +
            "addresses.",
        ),
      proxies: z
        .array(
          z
            .string()
            .refine((text) => parseNetwork(text) !== undefined, "is an address or a network, as in 192.0.2.0/24"),
        )
        .max(100)
        .default([])
        .describe(
          "Addresses and networks of proxies in front of the console, in addition to api.hosts. Only they are " +
            "trusted to say where a request came from (X-Forwarded-For) and that it came by https " +
            "(X-Forwarded-Proto), and they may send requests from any address.",
        ),
      ingress: z
        .strictObject({
          from: z
            .string()
            .refine((text) => isIP(text) !== 0, "is an address, as in 172.30.32.2")
            .describe("The address of the ingress. That of Home Assistant's Supervisor is 172.30.32.2."),
          role: z.enum(["viewer", "operator"]).default("operator").describe("The role of its users."),
        })
        .optional()
        .describe(
          "The ingress of Home Assistant, which logs users in and names the user (X-Remote-User-Id). It is " +
            "trusted only at this one address, which no other program may have, and which counts as one of " +
            "api.proxies. Absent: no ingress is trusted.",
        ),
      payloads: z
        .enum(payloadsFor)
        .default("operators")
        .describe(
          "Who sees the payloads of devices, in the console and at /api/v1/ (live datagrams, captures, dead " +
            "letters, backups). shown = also viewers, where they see datagrams; hidden = no role. The control " +
            "socket always shows them: a user that may open it controls the gateway.",
        ),
      tokens: z
        .array(
          z.strictObject({
            name: z
              .string()
              .regex(/^[A-Za-z0-9._-]{1,64}$/, "is a name of up to 64 letters, digits, dots, dashes and _")
              .describe("The name of the token, for people and the log."),
            role: z.enum(["viewer", "operator"]).describe("The role of programs with this token."),
            sha256: z
              .string()
              .regex(/^[0-9a-f]{64}$/, "must be a SHA-256 in 64 hexadecimal digits, as `console token add` prints it")
              .describe("SHA-256 of the token. The token itself is stored nowhere."),
          }),
        )
        .max(100)
        .default([])
        .describe(
          "Tokens for programs that use /api/v1/, if the gateway stores nothing itself (store.kind memory): " +
            "`mqtt-sn-gateway console token add` prints the entry.",
        ),
    })
    .prefault({})
    .describe("Health, metrics and the console."),
  control: z
    .strictObject({
      topic: controlTopic
        .optional()
        .describe(
          "The topic of commands over MQTT. They are received over a connection of its own " +
            "({serviceClientId}-control) to the broker of `upstream`, at {topic}/command/NAME, and answered at " +
            "{topic}/answer/ID. Events of devices are published at {topic}/event/NAME. Absent: there is nothing of " +
            "this. Every client that the broker lets publish there has the rights of `role`, so restrict this with " +
            "the broker's rules.",
        ),
      role: z
        .enum(["viewer", "operator"])
        .default("viewer")
        .describe("The role of clients that send commands there: viewer = read, operator = change too."),
      answerTopics: z
        .array(controlFilter)
        .max(100)
        .default([])
        .describe(
          "Topic filters of allowed response topics (MQTT 5), in addition to {topic}/answer/#. Answers are " +
            "published with the gateway's own rights.",
        ),
      commandsPerSecondMax: atLeastOne(1_000).default(5).describe("Commands per second; further ones are refused."),
      eventsPerSecondMax: count(100_000)
        .default(50)
        .describe(
          "Events per second that are published; 0 = none. Further ones are left out, and the next event has " +
            "their number.",
        ),
    })
    .prefault({})
    .describe("Commands and events over MQTT."),
});

export type GatewayConfig = z.infer<typeof gatewayConfig>;
