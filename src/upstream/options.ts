import { z } from "zod";
import { parseBrokerUrl, usualPorts, withoutSecrets } from "./broker-url.ts";
import { presetNames } from "./presets.ts";

/** A secret is never in the configuration itself: it is in a file or an environment variable. */
export const secretReference = z.union([
  z.strictObject({ file: z.string().min(1).describe("File whose content (without the last line end) is the secret.") }),
  z.strictObject({ env: z.string().min(1).describe("Environment variable that holds the secret.") }),
]);
export type SecretReference = z.infer<typeof secretReference>;

const seconds = (max: number) => z.int().min(0).max(max);

const pemFile = z
  .string()
  .min(1)
  .regex(/^(?!-----BEGIN)[^\n]*$/, "must be the name of a file, not what is in it");

const clientCertificate = {
  cert: pemFile.optional().describe("File with the client certificate (PEM)."),
  key: pemFile.optional().describe("File with its private key (PEM)."),
  passphrase: secretReference.optional().describe("For an encrypted key."),
};

export const defaultUrl = "mqtt://127.0.0.1:1883";

const brokerUrl = z
  .string()
  .max(2_000)
  .regex(/^(mqtts?|wss?):\/\/[^/\s]+/, "must be mqtt://, mqtts://, ws:// or wss:// and a host");

const passwordCommand = z
  .array(z.string().min(1))
  .min(1)
  .max(64)
  .optional()
  .describe(
    "Instead of password: a program and its words, without a shell. What it says is the password. Everybody on the machine can see " +
      "the words: no secret belongs there.",
  );

const fields = {
  mode: z
    .enum(["transparent", "aggregating"])
    .default("transparent")
    .describe("A connection to the broker for each device, or one that all of them share."),
  connections: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe("Aggregating: so many connections; each device keeps to one of them."),
  url: brokerUrl
    .default(defaultUrl)
    .describe("The broker: mqtt://, mqtts:// (TLS), ws:// or wss:// (WebSocket), with host and port."),
  urls: z
    .array(brokerUrl)
    .min(1)
    .max(16)
    .optional()
    .describe(
      "Instead of url: brokers of one cluster, the best one first. When the one in use cannot be reached, the next is tried.",
    ),
  returnSeconds: seconds(86_400)
    .default(60)
    .describe(
      "With urls: how often a better one is looked for, jittered; longer, up to 16 times, when it takes no CONNECT. One " +
        "connection goes back first, the others follow when it was accepted, at most 200 a second. 0 = stay.",
    ),
  protocol: z.enum(["3.1.1", "5"]).default("3.1.1").describe("MQTT version spoken to the broker."),
  clientIdPrefix: z.string().max(100).default("").describe("Put before every device's client id at the broker."),
  topicPrefix: z
    .string()
    .max(1_000)
    .regex(/^[^+#\0]*$/, "must not hold a wildcard")
    .default("")
    .describe("Put before every topic at the broker; devices do not see it."),
  serviceClientId: z
    .string()
    .min(1)
    .max(200)
    .default("mqtt-sn-gateway")
    .describe("Client id of the gateway's own connection. Must differ between gateways at one broker."),
  tellsSender: z
    .boolean()
    .default(false)
    .describe(
      "MQTT 5: each publication says who sent it, in the user properties `client`, `transport` and, where the network knows it (Bluetooth), `rssi` in dBm; and, where it waited on disk for the broker, when it was accepted, in `accepted` (ISO 8601). It costs 25 octets and the two names for each message, 13 more for `rssi`, and 37 for `accepted`.",
    ),
  topicAliases: z
    .int()
    .min(0)
    .max(65_535)
    .default(64)
    .describe(
      "MQTT 5: so many topic names of a connection are said to the broker once, and by an alias of two octets afterwards, where the broker " +
        "takes aliases, and no more than it takes. 0: each publication has its whole name.",
    ),
  keepAliveSeconds: seconds(65_535)
    .min(5)
    .default(60)
    .describe("MQTT keep alive of every connection, whatever the devices say."),
  keepAliveMaxSeconds: seconds(65_535)
    .min(5)
    .optional()
    .describe(
      "For a line that is paid by the octet: PINGREQ only where nothing else was written, after keepAliveSeconds first and twice as long each time, " +
        "up to this. The broker is told this as keep alive, and what it says itself counts more. A line that is dead is noticed later, by " +
        "both. Absent: PINGREQ every keepAliveSeconds, whatever else is said.",
    ),
  connectTimeoutSeconds: seconds(600)
    .min(1)
    .default(10)
    .describe("For TCP, TLS and CONNACK together; then the device hears 'congestion'."),
  reconnect: z
    .strictObject({
      minSeconds: z.number().min(0.05).max(3_600).default(1).describe("First pause, jittered."),
      maxSeconds: z
        .number()
        .min(0.05)
        .max(3_600)
        .default(60)
        .describe("Longest pause; each is up to twice the one before."),
    })
    .prefault({})
    .describe("Pauses between attempts to reach the broker."),
  sessionExpirySeconds: seconds(4_294_967_295)
    .default(7 * 86_400)
    .describe("MQTT 5: how long the broker keeps the session of a persistent client that is away."),
  will: z
    .strictObject({
      held: z
        .enum(["broker", "gateway"])
        .default("broker")
        .describe(
          "Who holds devices' wills: the broker (survives a dead gateway), or the gateway (survives a restart of it).",
        ),
      delaySeconds: seconds(4_294_967_295)
        .default(120)
        .describe(
          "MQTT 5: how long the broker waits with a will after a cut, so that a restart does not report every device dead.",
        ),
    })
    .prefault({})
    .describe("Wills of devices."),
  receiveMaximum: z
    .int()
    .min(1)
    .max(65_535)
    .default(16)
    .describe("Messages at QoS 1 and 2 that the broker may have open per device."),
  preset: z
    .enum(presetNames)
    .optional()
    .describe(
      "Sets the next five as this broker needs it; what is set by hand counts more. Values and reasons: below the table.",
    ),
  qosMax: z
    .union([z.literal(0), z.literal(1), z.literal(2)])
    .optional()
    .describe(
      "Highest QoS that the broker takes (absent: 2). A 3.1.1 broker cannot say it and closes the connection. Beyond: the device " +
        "hears 'not supported'; subscriptions are asked for at this QoS at most.",
    ),
  retain: z
    .boolean()
    .optional()
    .describe(
      "false: the broker takes no retained messages (absent: true). Devices hear 'not supported'; wills and status messages go " +
        "without the flag.",
    ),
  packetBytesMax: z
    .int()
    .min(64)
    .max(268_435_455)
    .optional()
    .describe("Octets of the largest MQTT packet that the broker takes (absent: no limit). Beyond: 'not supported'."),
  qos2InFlightMax: z
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe(
      "MQTT 3.1.1: publications at QoS 2 under way at a time over one connection (absent: 20). A broker cannot say how many it takes, and " +
        "ends a connection that has more: mosquitto takes 20 (its max_inflight_messages). With MQTT 5 the broker says it.",
    ),
  copies: z
    .enum(["one", "each"])
    .optional()
    .describe(
      "MQTT 3.1.1, aggregating: does the broker send a message once, or once for each filter that matches it? For each: filters that " +
        "overlap go by further connections, at most 15. Absent: it is found out when filters first overlap, by a short " +
        "connection with the client id {serviceClientId}-probe and topics under {topicPrefix}{serviceClientId}/probe.",
    ),
  payloadBytesMax: z
    .int()
    .min(1)
    .max(65_535)
    .default(65_535)
    .describe("Largest payload taken from a device; beyond it the device hears 'not supported'."),
  sendBufferBytesMax: z
    .int()
    .min(16_384)
    .default(1_048_576)
    .describe(
      "Per connection, waiting for the network. Beyond: devices hear 'congestion', QoS 0 is dropped and counted.",
    ),
  connectBy: z
    .enum(["gateway", "mqtt.js"])
    .default("gateway")
    .describe(
      "mqtt://: who makes connections and pings. The gateway itself takes less memory and CPU for each; TLS and WebSocket are always MQTT.js's.",
    ),
  ioUring: z
    .boolean()
    .default(true)
    .describe(
      "Connections without TLS: what leaves for several of them at a time leaves with one system call, where the kernel has io_uring and " +
        "the part in native/ was compiled. false: each is written to by itself, as it also is where one of the two is missing.",
    ),
  username: z.string().min(1).optional().describe("For every connection without credentials of its own."),
  password: secretReference.optional(),
  passwordCommand,
  passwordCommandTimeoutSeconds: seconds(600).min(1).default(10).describe("How long a password command may take."),
  passwordCommandCacheSeconds: seconds(31_536_000)
    .default(60)
    .describe(
      "How long what it said is used for further connections; 0 = it is asked for each. Asked again at once when the broker " +
        "refuses it.",
    ),
  credentials: z
    .array(
      z.strictObject({
        clients: z
          .string()
          .min(1)
          .describe("Pattern of device client ids, with * and ?. The first entry that matches counts."),
        username: z.string().min(1).optional().describe("{clientId} stands for the device's client id."),
        password: secretReference.optional(),
        passwordCommand,
        ...clientCertificate,
      }),
    )
    .default([])
    .describe("Credentials of groups of devices."),
  tls: z
    .strictObject({
      ca: pemFile
        .optional()
        .describe("File with the certificates of the authorities to trust (PEM); default: the system's."),
      ...clientCertificate,
      serverName: z.string().min(1).optional().describe("Name to ask for and to verify; default: the host of the url."),
      alpn: z.array(z.string().min(1)).optional().describe("ALPN protocols, e.g. x-amzn-mqtt-ca."),
      psk: z
        .strictObject({ identity: z.string().min(1), key: secretReference.describe("The key in hexadecimal.") })
        .optional()
        .describe("A pre-shared key instead of certificates (TLS 1.2)."),
      resume: z
        .boolean()
        .default(true)
        .describe(
          "A connection that is made again is resumed, with a ticket of the broker's that is kept in memory, so no certificates are sent. Once " +
            "a day, and where the broker's certificate has ended, there is a whole handshake all the same. With a pre-shared key, and with false, there always is.",
        ),
      verify: z
        .enum(["on", "off-which-is-insecure"])
        .default("on")
        .describe("Whether the broker's certificate is checked."),
    })
    .optional()
    .describe("TLS, for mqtts:// and wss://."),
};

export const upstreamOptions = z.strictObject(fields);

const patterns = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

/** A further broker, for the clients that its conditions fit. */
export const namedUpstreamOptions = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(64)
    .regex(/^[^/\0]*$/, "must not hold a slash")
    .describe("Unique; in the log, and in what is kept on disk."),
  clients: patterns
    .optional()
    .describe("Patterns of client ids, with * and ?. Absent: all, and QoS -1 without a session."),
  transports: z.array(z.string().min(1)).min(1).optional().describe("Names of transports. Absent: all."),
  ...fields,
});
export type NamedUpstreamOptions = z.infer<typeof namedUpstreamOptions>;

export type UpstreamOptions = z.infer<typeof upstreamOptions>;

/** The brokers, the best one first, in the form that people may see. */
export function shownBrokers(options: Pick<UpstreamOptions, "url" | "urls">): string {
  return urlsOf(options).map(withoutSecrets).join(", ");
}

/** A password in a url is in the configuration itself, where more people see it than should. */
export function holdsPassword(options: Pick<UpstreamOptions, "url" | "urls">): boolean {
  return urlsOf(options).some((url) => parseBrokerUrl(url)?.password !== undefined);
}

/** The keep alive in CONNECT, in seconds. */
export function keepAliveOf(options: Pick<UpstreamOptions, "keepAliveSeconds" | "keepAliveMaxSeconds">): number {
  return Math.max(options.keepAliveSeconds, options.keepAliveMaxSeconds ?? 0);
}

/** The brokers, the best one first. */
export function urlsOf({ url, urls }: Pick<UpstreamOptions, "url" | "urls">): readonly string[] {
  return urls ?? [url];
}

/**
 * The addresses of an upstream's brokers, to find out whether two upstreams may use the same broker. A host is one broker, for all its
 * listeners (1883, 8883, WebSocket); on this machine each port is one.
 */
export function placesOf(options: Pick<UpstreamOptions, "url" | "urls">): readonly string[] {
  return urlsOf(options).flatMap((text) => {
    const url = parseBrokerUrl(text);
    if (!url) return [];
    const host = url.host.toLowerCase().replace(/\.$/, "");
    return [
      /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host) ? `localhost:${url.port ?? usualPorts[url.scheme]}` : host,
    ];
  });
}
