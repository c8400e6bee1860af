import { z } from "zod";
import { isTopicFilter } from "../wire/topic.ts";
import { placeholders } from "./topic-rights.ts";

const patterns = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const from = z
  .array(z.string().min(1))
  .min(1)
  .describe(
    "Addresses (also Bluetooth ones), networks (192.0.2.0/24, fd00::/8), serial lines (/dev/ttyUSB0), transports (transport:ble), names that were proved (psk:dev-*, certificate:*, bond:*, verified:*), and nodes behind a forwarder (192.0.2.7#0a01, psk:fwd1#*). Absent: from anywhere.",
  );

/** Networks that do not reach beyond the own site: private, loopback and link-local ones. */
export const localNetworks = [
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "fc00::/7",
  "fe80::/10",
  "::1/128",
];

/**
 * Who may do without a connection if nothing is configured: the own site, whoever is in Bluetooth's reach or on a wire, and
 * who has shown a key.
 */
const nearby = [...localNetworks, "transport:ble", "transport:serial", "transport:dtls"];

const gate = (what: string) => ({
  enabled: z.boolean().default(true).describe(`Whether ${what} is served at all.`),
  from: from.default(nearby),
});

/** Filters of topics, with placeholders. */
const topics = z
  .array(
    z
      .string()
      .refine(
        (filter) => isTopicFilter(filter) && !filter.startsWith("$share/"),
        "must be a topic filter, like a/{clientId}/#",
      )
      .refine(
        (filter) =>
          placeholders.reduce((text, placeholder) => text.replaceAll(placeholder, ""), filter).search(/[{}]/) < 0,
        `knows ${placeholders.join(" and ")} only`,
      ),
  )
  .max(100);

const publish = topics
  .optional()
  .describe(
    "Topics that may be published to, as filters with `{clientId}` and `{identity}`; names as devices say them, without `upstream.topicPrefix`. Absent: all.",
  );
const subscribe = topics
  .optional()
  .describe(
    "The same for what may be subscribed to and is handed over. A filter wider than each of these is refused. Absent: all.",
  );

const perSecond = z.number().min(0.001).max(1_000_000).optional();
const burst = z.int().min(1).max(1_000_000).optional();

const deviceLimits = z.strictObject({
  clients: patterns.describe("Client ids, with * and ?."),
  upPerSecond: perSecond.describe(
    "What a device may ask for a second: PUBLISH, SUBSCRIBE, UNSUBSCRIBE, REGISTER, PINGREQ. Beyond it hears congestion. Absent: no limit.",
  ),
  upBurst: burst.describe("So many at once. Absent: what ten seconds allow, at least 10."),
  downPerSecond: perSecond.describe("Publications handed to it a second; more wait. Absent: no limit."),
  downBurst: burst.describe("So many at once. Absent: what ten seconds allow, at least 10."),
  octetsPerDay: z
    .int()
    .min(1_000)
    .max(1e12)
    .optional()
    .describe(
      "What it asks and is handed, in octets of datagrams, as a bucket that fills within a day; full again when the gateway starts. Absent: no limit.",
    ),
  refusalsMax: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(50)
    .describe("After so many refusals without a pause nothing it says is acted on, for:"),
  quarantineSeconds: z.int().min(0).max(86_400).default(60).describe("0 = it is refused for ever, and never put off."),
});

export const accessOptions = z.strictObject({
  default: z.enum(["allow", "deny"]).default("allow").describe("For clients that no rule names."),
  rules: z
    .array(
      z.union([
        z.strictObject({
          allow: patterns.describe("Client ids, with * and ?."),
          from: from.optional(),
          publish,
          subscribe,
        }),
        z.strictObject({ deny: patterns.describe("Client ids, with * and ?."), from: from.optional() }),
      ]),
    )
    .default([])
    .describe(
      "The first rule that names the client id and its network counts. Topics are those of the first `allow` that does.",
    ),
  clients: patterns
    .default("{identity}")
    .describe(
      "Client ids that a device may bear which has proved its name (a key, a certificate, a bond): `{identity}` is that name, * and ? as in rules. Asked before the rules.",
    ),
  publish: publish.describe("For clients of which no rule has `publish`. Absent: everything."),
  subscribe: subscribe.describe("For clients of which no rule has `subscribe`. Absent: everything."),
  limits: z
    .array(deviceLimits)
    .default([])
    .describe("What one device may ask and be handed. The first that names the client id counts."),
  site: from
    .default(nearby)
    .describe(
      "Networks of the own site. A client elsewhere gets little before it has answered (`clients.unprovenFactorMax`).",
    ),
  qosMinusOne: z
    .strictObject({
      ...gate("QoS -1"),
      perSecond: z
        .int()
        .min(0)
        .max(1_000_000)
        .default(0)
        .describe("Of one host, or node behind a forwarder; more are dropped. 0 = no limit."),
      publish: publish.describe(
        "Topics for whoever has no connection; there is no `{clientId}`. Absent: all, unless `publish` stands elsewhere in `access`: then none.",
      ),
    })
    .prefault({})
    .describe("Who may publish without a connection."),
  forwarders: z
    .strictObject(gate("forwarder encapsulation"))
    .prefault({})
    .describe("Who may pass on messages of other nodes."),
});

export type AccessOptions = z.infer<typeof accessOptions>;
