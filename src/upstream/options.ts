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
  passphrase: secretReference.optional().describe("The passphrase, if the key is encrypted."),
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
    "Instead of password: a program and its arguments, run without a shell. Its output is the password. Every " +
      "user of the machine can see the arguments, so they must not contain a secret.",
  );

const fields = {
  mode: z
    .enum(["transparent", "aggregating"])
    .default("transparent")
    .describe("transparent: each device has an MQTT connection of its own. aggregating: all devices share one."),
  connections: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe("Aggregating: the number of shared connections; each device always uses the same one."),
  url: brokerUrl
    .default(defaultUrl)
    .describe("The broker: mqtt://, mqtts:// (TLS), ws:// or wss:// (WebSocket), with host and port."),
  urls: z
    .array(brokerUrl)
    .min(1)
    .max(16)
    .optional()
    .describe(
      "Instead of url: the brokers of one cluster, the best one first. When the broker in use cannot be reached, " +
        "the next one is tried.",
    ),
  returnSeconds: seconds(86_400)
    .default(60)
    .describe(
      "With urls: how often the gateway checks whether a better broker can be reached, with jitter; up to 16 " +
        "times as long while that broker accepts no CONNECT. One connection goes back first. When it was accepted, " +
        "the others follow, at most 200 a second. 0 = the gateway does not go back.",
    ),
  protocol: z.enum(["3.1.1", "5"]).default("3.1.1").describe("The MQTT version that is used towards the broker."),
  clientIdPrefix: z.string().max(100).default("").describe("Prefix of every device's client id at the broker."),
  topicPrefix: z
    .string()
    .max(1_000)
    .regex(/^[^+#\0]*$/, "must not hold a wildcard")
    .default("")
    .describe("Prefix of every topic at the broker. Devices do not see it."),
  serviceClientId: z
    .string()
    .min(1)
    .max(200)
    .default("mqtt-sn-gateway")
    .describe("Client id of the gateway's own connection. It must be different for each gateway at one broker."),
  tellsSender: z
    .boolean()
    .default(false)
    .describe(
      "MQTT 5: each publication names its sender, in the user properties `client`, `transport` and, if the " +
        "network knows it (Bluetooth), `rssi` in dBm. If it waited on disk for the broker, `accepted` says when it " +
        "was accepted (ISO 8601). This costs 25 octets and the two names for each message, 13 more for `rssi`, and " +
        "37 for `accepted`.",
    ),
  topicAliases: z
    .int()
    .min(0)
    .max(65_535)
    .default(64)
    .describe(
      "MQTT 5: for so many topic names of a connection, the gateway sends the name once, and then an alias of two " +
        "octets. It uses no more aliases than the broker accepts. 0: each publication has its whole name.",
    ),
  keepAliveSeconds: seconds(65_535)
    .min(5)
    .default(60)
    .describe("MQTT keep alive of every connection, in seconds. It does not depend on the keep alive of devices."),
  keepAliveMaxSeconds: seconds(65_535)
    .min(5)
    .optional()
    .describe(
      "For a line that is paid by the octet. PINGREQ is sent only if nothing else was written: first after " +
        "keepAliveSeconds, then after twice as long each time, up to this limit. This limit is the keep alive in " +
        "CONNECT; if the broker names another one, that is used. Both sides notice a dead line later. Absent: " +
        "PINGREQ every keepAliveSeconds, even if other packets are sent.",
    ),
  connectTimeoutSeconds: seconds(600)
    .min(1)
    .default(10)
    .describe("Limit for TCP, TLS and CONNACK together. After it, the device gets 'congestion'."),
  reconnect: z
    .strictObject({
      minSeconds: z.number().min(0.05).max(3_600).default(1).describe("First pause, with jitter."),
      maxSeconds: z
        .number()
        .min(0.05)
        .max(3_600)
        .default(60)
        .describe("Longest pause. Each pause is up to twice the one before."),
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
          "Which side holds the wills of devices: the broker (it publishes them even if the gateway is dead), or " +
            "the gateway (the wills survive a restart of the gateway).",
        ),
      delaySeconds: seconds(4_294_967_295)
        .default(120)
        .describe(
          "MQTT 5: how long the broker waits after a cut before it publishes a will, so that a restart of the " +
            "gateway does not report every device as lost.",
        ),
    })
    .prefault({})
    .describe("Wills of devices."),
  receiveMaximum: z
    .int()
    .min(1)
    .max(65_535)
    .default(16)
    .describe("The number of messages at QoS 1 and 2 that the broker may have open for each device."),
  preset: z
    .enum(presetNames)
    .optional()
    .describe(
      "Sets the next five options as this broker needs them; an option that is set explicitly has priority. The " +
        "table below has the values and reasons.",
    ),
  qosMax: z
    .union([z.literal(0), z.literal(1), z.literal(2)])
    .optional()
    .describe(
      "Highest QoS that the broker accepts (absent: 2). A broker of MQTT 3.1.1 cannot announce it, and closes the " +
        "connection instead. A device that uses a higher QoS gets 'not supported'; the gateway subscribes at this " +
        "QoS at most.",
    ),
  retain: z
    .boolean()
    .optional()
    .describe(
      "false: the broker accepts no retained messages (absent: true). Devices that send one get 'not supported'; " +
        "wills and status messages are sent without the flag.",
    ),
  packetBytesMax: z
    .int()
    .min(64)
    .max(268_435_455)
    .optional()
    .describe(
      "Octets of the largest MQTT packet that the broker accepts (absent: no limit). For a larger one the device " +
        "gets 'not supported'.",
    ),
  qos2InFlightMax: z
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe(
      "MQTT 3.1.1: the number of publications at QoS 2 that may be unfinished at a time on one connection " +
        "(absent: 20). A broker cannot announce its limit, and closes a connection that exceeds it. The limit of " +
        "mosquitto is 20 (max_inflight_messages). With MQTT 5 the broker announces it.",
    ),
  copies: z
    .enum(["one", "each"])
    .optional()
    .describe(
      "MQTT 3.1.1, aggregating: whether the broker sends a message once, or once for each filter that matches it. " +
        "each: overlapping filters use further connections, at most 15. Absent: the gateway finds it out when " +
        "filters overlap for the first time, over a short connection with the client id {serviceClientId}-probe and " +
        "topics under {topicPrefix}{serviceClientId}/probe.",
    ),
  payloadBytesMax: z
    .int()
    .min(1)
    .max(65_535)
    .default(65_535)
    .describe("Largest payload that is accepted from a device. For a larger one the device gets 'not supported'."),
  sendBufferBytesMax: z
    .int()
    .min(16_384)
    .default(1_048_576)
    .describe(
      "Octets that wait for the network, for each connection. Beyond this limit, devices get 'congestion', and " +
        "messages at QoS 0 are dropped and counted.",
    ),
  connectBy: z
    .enum(["gateway", "mqtt.js"])
    .default("gateway")
    .describe(
      "For mqtt://: the code that makes connections and sends PINGREQ. The gateway's own code needs less memory " +
        "and CPU for each connection. With TLS and WebSocket, MQTT.js is always used.",
    ),
  ioUring: z
    .boolean()
    .default(true)
    .describe(
      "For connections without TLS: packets for several connections are sent with one system call, if the kernel " +
        "has io_uring and the part in native/ was compiled. false, or if one of the two is missing: each connection " +
        "is written to separately.",
    ),
  readTogether: z
    .boolean()
    .default(true)
    .describe(
      "In transparent mode, for mqtt:// connections that the gateway's own code makes: what the broker has sent over " +
        "several of them is read in one wake-up, if the part in native/ was compiled. false, or if it is missing: " +
        "each connection is read separately.",
    ),
  quickAck: z
    .boolean()
    .default(true)
    .describe(
      "In aggregating mode, for mqtt:// connections: what the broker sends is acknowledged by TCP at once, if the part " +
        "in native/ was compiled. Otherwise a broker without TCP_NODELAY (mosquitto, unless it is configured) waits up " +
        "to 40 ms before it sends its next small packet.",
    ),
  username: z
    .string()
    .min(1)
    .optional()
    .describe("The user name of every connection that has no credentials of its own."),
  password: secretReference.optional(),
  passwordCommand,
  passwordCommandTimeoutSeconds: seconds(600).min(1).default(10).describe("How long a password command may take."),
  passwordCommandCacheSeconds: seconds(31_536_000)
    .default(60)
    .describe(
      "How long the output is used for further connections; 0 = the command is run for each connection. When the " +
        "broker refuses the password, the command is run again at once.",
    ),
  credentials: z
    .array(
      z.strictObject({
        clients: z
          .string()
          .min(1)
          .describe("Pattern of device client ids, with * and ?. The first entry that matches is used."),
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
        .describe("File with the certificates of the trusted authorities (PEM); default: those of the system."),
      ...clientCertificate,
      serverName: z
        .string()
        .min(1)
        .optional()
        .describe("The name that is requested and verified; default: the host of the url."),
      alpn: z.array(z.string().min(1)).optional().describe("ALPN protocols, e.g. x-amzn-mqtt-ca."),
      psk: z
        .strictObject({ identity: z.string().min(1), key: secretReference.describe("The key in hexadecimal.") })
        .optional()
        .describe("A pre-shared key instead of certificates (TLS 1.2)."),
      resume: z
        .boolean()
        .default(true)
        .describe(
          "A reconnect resumes the TLS session with a ticket of the broker, which is kept in memory, so that no " +
            "certificates are sent. Once a day, and when the broker's certificate has expired, there is a full " +
            "handshake. With a pre-shared key, and with false, every handshake is a full one.",
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
    .describe("The name is unique. It appears in the log and in stored records."),
  clients: patterns
    .optional()
    .describe("Patterns of client ids, with * and ?. Absent: all clients, and QoS -1 without a session."),
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

/** Whether connections to these brokers may be read together (tcp-reads.ts). With a shared connection there is nothing to gain. */
export function isReadTogether(options: UpstreamOptions): boolean {
  const { mode, connectBy, readTogether } = options;
  const hasTcp = urlsOf(options).some((url) => url.startsWith("mqtt:"));
  return readTogether && mode === "transparent" && connectBy === "gateway" && hasTcp;
}

/**
 * Whether connections to these brokers are acknowledged at once (quick-ack.ts). In transparent mode a connection has one
 * device, which mostly waits for an answer before it sends again.
 */
export function isQuicklyAcknowledged(options: UpstreamOptions): boolean {
  return options.quickAck && options.mode === "aggregating" && urlsOf(options).some((url) => url.startsWith("mqtt:"));
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
