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
  $schema: z.string().optional().describe("For editors."),
  gateway: z
    .strictObject({
      id: count(255).default(1).describe("GwId, unique in the network. [5.3.5]"),
      advertiseSeconds: count(65_535)
        .default(900)
        .describe("ADVERTISE every so many seconds, to the multicast groups; 0 = never."),
      gwinfo: z.enum(["unicast", "broadcast", "both"]).default("unicast").describe("How SEARCHGW is answered."),
      radius: count(255).default(0).describe("Broadcast radius of ADVERTISE; 0 = the whole network."),
    })
    .prefault({})
    .describe("The gateway itself."),
  transports: z
    .array(transportOptions)
    .min(1)
    .default([transportOptions.parse({ type: "udp" })])
    .describe("Networks to serve."),
  upstream: upstreamOptions
    .prefault({})
    .describe("The MQTT broker of every client that `upstreams` names no other for."),
  upstreams: z
    .array(namedUpstreamOptions)
    .max(100)
    .default([])
    .describe("Further brokers or accounts for groups of clients. The first entry whose conditions all fit counts."),
  store: storeOptions.prefault({}).describe("Where sessions and messages are kept over a restart."),
  fleet: fleetOptions.prefault({}).describe("Several gateways that share their sessions, and all of which serve."),
  uplink: uplinkOptions.prefault({}).describe("Publications of clients while the broker is away."),
  deadLetters: z
    .strictObject({
      max: count(1_000_000)
        .default(1_000)
        .describe("Dropped messages of QoS 1 and 2 that are kept for the operator; beyond, the oldest is gone."),
      topic: z
        .string()
        .min(1)
        .regex(/^[^+#\0]+$/, "must not hold a wildcard (+ or #)")
        .optional()
        .describe("Each is also published here, as JSON with the payload in base64. Absent: not."),
      superseded: z
        .boolean()
        .default(false)
        .describe(
          "Also those that a later message replaced (buffer keep: latest): sent again, they would be out of date.",
        ),
    })
    .prefault({})
    .describe("Messages that were dropped (command: queue)."),
  tryOutBroker: z
    .boolean()
    .default(false)
    .describe(
      "Start a small broker inside the gateway on the host and port of upstream.url, for a first try. Stores and protects nothing.",
    ),
  clients: z
    .strictObject({
      clientIdBytesMax: atLeastOne(65_535).default(64).describe("Longest client id, in octets."),
      sessionsMax: atLeastOne(1_000_000)
        .default(10_000)
        .describe(
          "Sessions, connected or not. Beyond: one that never spoke after CONNECT ends, else the longest disconnected one, " +
            "or the new client hears 'congestion'. One that a rule of `access` names is not ended for one that none names, " +
            "nor one that was heard within a day.",
        ),
      sessionsPerHostMax: count(1_000_000)
        .default(5_000)
        .describe(
          "The same per host, for clients that no rule of `access` names; each node behind a forwarder counts as a host, and so " +
            "does an IPv6 network of 64 bits outside `access.site`. " +
            "0 = no limit. Beyond: one of this host that never spoke ends, or 'congestion'.",
        ),
      unprovenFactorMax: count(1_000_000)
        .default(10)
        .describe(
          "Octets of deliveries for each octet heard from a client outside `access.site` that has answered none yet: " +
            "its address may be forged, to send messages to another host. Further messages wait. 0 = no limit.",
        ),
      pendingMax: atLeastOne(100_000).default(1_000).describe("CONNECTs under way. Beyond: 'congestion'."),
      newPerSecondMax: count(1_000_000)
        .default(1_000)
        .describe("New sessions per second; 0 = no limit. Beyond: 'congestion'."),
      newPerSecondPerHostMax: count(1_000_000)
        .default(200)
        .describe("The same per host (as for `sessionsPerHostMax`); 0 = no limit."),
      idleSecondsMax: atLeastOne(31_536_000).default(86_400).describe("Silence allowed to a client with keep alive 0."),
      sessionExpirySeconds: atLeastOne(31_536_000)
        .default(7 * 86_400)
        .describe("How long a session without its client is kept (clean session off)."),
      roaming: z.boolean().default(true).describe("A sleeping client may come back from another address with PINGREQ."),
      uplinkInFlightMax: atLeastOne(10_000)
        .default(8)
        .describe("Publications of a client that wait for the broker. Beyond: 'congestion'."),
      subscriptionQoSMax: z
        .union([z.literal(0), z.literal(1), z.literal(2)])
        .default(2)
        .describe("Highest QoS granted to clients."),
      subscriptionsMax: atLeastOne(100_000).default(200).describe("Subscriptions per client. Beyond: 'congestion'."),
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
        .describe("The same by client id; they come first."),
      timeId: atLeastOne(65_534)
        .optional()
        .describe(
          "Predefined topic id under which a device without a clock asks for the time: it publishes there (QoS 0 or 1) and gets the " +
            "seconds since 1970 in four octets at the same id. Absent: the time is not published.",
        ),
      idsPerClientMax: atLeastOne(65_000)
        .default(1_000)
        .describe("Registered topic names per client. Beyond: 'congestion'."),
      bytesPerClientMax: atLeastOne(100_000_000)
        .default(65_536)
        .describe("Octets of a client's topic names, filters and will together. Beyond: 'congestion'."),
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
          "Tell Home Assistant of each device whose payloads are declared with fields, over a connection of its own ({serviceClientId}-ha) to the broker of `upstream`. Device states go under `status.topic`; absent: mqtt-sn/{serviceClientId}.",
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
  buffer: bufferOptions.prefault({}).describe("Messages waiting for clients."),
  retry: z
    .strictObject({
      intervalSeconds: z.number().min(0.1).max(3_600).default(10).describe("T_retry towards clients. [7.2]"),
      limit: count(100)
        .default(5)
        .describe(
          "N_retry; then other messages go first. A client that said nothing meanwhile counts as lost, or as asleep again. " +
            "At 5 % loss each way, chance alone exhausts 3 at one message in 11,000, 5 at one in a million.",
        ),
      congestionPauseSeconds: z
        .number()
        .min(0.1)
        .max(86_400)
        .default(30)
        .describe("Pause after a client said 'congestion'."),
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
          "What differs for some clients or networks (NB-IoT may answer after 10 s, Bluetooth after 0.1): the first rule that fits decides. What it leaves out is as above.",
        ),
    })
    .prefault({})
    .describe("Repetition towards clients."),
  access: accessOptions.prefault({}).describe("Who gets in. Read again on SIGHUP."),
  status: z
    .strictObject({
      topic: z
        .string()
        .min(1)
        .regex(/^[^+#\0]+$/, "must not hold a wildcard (+ or #)")
        .optional()
        .describe("Retained states go under it: <topic>/gateway and <topic>/clients/<id>. Absent: none."),
    })
    .prefault({})
    .describe("Status messages at the broker."),
  shutdown: z
    .strictObject({
      wills: z
        .enum(["keep", "publish"])
        .default("keep")
        .describe("Whether an orderly end of the gateway publishes its clients' wills."),
    })
    .prefault({})
    .describe("When the gateway ends."),
  extensions: z
    .strictObject({
      longNameQoSMinusOne: z
        .boolean()
        .default(false)
        .describe("QoS -1 with a topic name in front of the payload, as RSMB and Paho's C library send it."),
    })
    .prefault({})
    .describe("What is not in the standard."),
  log: z
    .strictObject({
      level: z
        .enum(["trace", "debug", "info", "warn", "error", "silent"])
        .default("info")
        .describe("Read again on SIGHUP."),
      format: z
        .enum(["auto", "json", "pretty"])
        .default("auto")
        .describe("auto: for people on a terminal, JSON otherwise."),
    })
    .prefault({})
    .describe("Log, to standard output."),
  api: z
    .strictObject({
      enabled: z.boolean().default(true).describe("Serve /healthz and /metrics, and the console."),
      host: z
        .string()
        .min(1)
        .default("127.0.0.1")
        .describe(
          "Address to listen on. Nobody is asked for a password for health and metrics: keep it on this host. " +
            "Elsewhere than on loopback the console is there only after `mqtt-sn-gateway console --lan`.",
        ),
      port: count(65_535).default(9_464).describe("TCP port."),
      console: z
        .boolean()
        .default(true)
        .describe("Serve the console, a page for people, at /, and what it asks at /api/v1/."),
      hosts: z
        .array(z.string().regex(/^[a-z0-9.-]+$/i, "is a name without a port, as in gateway.example.org"))
        .max(100)
        .default([])
        .describe("Names by which browsers may ask for the console (a proxy's), besides localhost and addresses."),
      proxies: z
        .array(
          z
            .string()
            .refine((text) => parseNetwork(text) !== undefined, "is an address or a network, as in 192.0.2.0/24"),
        )
        .max(100)
        .default([])
        .describe(
          "Addresses and networks of proxies in front of the console, besides api.hosts. They are believed where a request came from " +
            "(X-Forwarded-For) and that it came by https (X-Forwarded-Proto), and may ask from anywhere. Nobody else is.",
        ),
      ingress: z
        .strictObject({
          from: z
            .string()
            .refine((text) => isIP(text) !== 0, "is an address, as in 172.30.32.2")
            .describe("Its address: that of Home Assistant's Supervisor is 172.30.32.2."),
          role: z.enum(["viewer", "operator"]).default("operator").describe("What its people may."),
        })
        .optional()
        .describe(
          "The ingress of Home Assistant, which logs people in and says who asks (X-Remote-User-Id): believed from this one address, which must be " +
            "nobody else's, and counts as one of api.proxies. Absent: nobody is believed.",
        ),
      payloads: z
        .enum(payloadsFor)
        .default("operators")
        .describe(
          "Who sees the payloads of devices, in the console and at /api/v1/ (live datagrams, captures, dead letters, " +
            "backups): shown = viewers too, where they see the datagrams; hidden = no role. The control socket shows them: a user that may open it owns the gateway.",
        ),
      tokens: z
        .array(
          z.strictObject({
            name: z
              .string()
              .regex(/^[A-Za-z0-9._-]{1,64}$/, "is a name of up to 64 letters, digits, dots, dashes and _")
              .describe("For people and the log."),
            role: z.enum(["viewer", "operator"]).describe("What it may."),
            sha256: z
              .string()
              .regex(/^[0-9a-f]{64}$/, "must be a SHA-256 in 64 hexadecimal digits, as `console token add` prints it")
              .describe("Of the token; the token itself stands nowhere."),
          }),
        )
        .max(100)
        .default([])
        .describe(
          "Tokens with which programs ask at /api/v1/, where the gateway keeps nothing itself (store.kind memory): " +
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
          "Commands over MQTT, over a connection of its own ({serviceClientId}-control) to the broker of `upstream`: taken at {topic}/command/NAME, " +
            "answered at {topic}/answer/ID, and what happens to devices is told at {topic}/event/NAME. Absent: none of it. Whoever the broker lets " +
            "publish there may do what `role` may: let its rules say who.",
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
          "Topic filters where MQTT 5's response topic may lie, besides {topic}/answer/#: answers are published with the gateway's own rights.",
        ),
      commandsPerSecondMax: atLeastOne(1_000).default(5).describe("Commands. Beyond: refused."),
      eventsPerSecondMax: count(100_000)
        .default(50)
        .describe("Events that are told; 0 = none. Beyond: left out, and the next one says how many."),
    })
    .prefault({})
    .describe("Commands and events over MQTT."),
});

export type GatewayConfig = z.infer<typeof gatewayConfig>;
