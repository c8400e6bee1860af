import { z } from "zod";
import { isTopicFilter } from "../wire/topic.ts";
import { placeholders } from "./topic-rights.ts";

const patterns = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const from = z
  .array(z.string().min(1))
  .min(1)
  .describe(
    "Addresses (also Bluetooth ones), networks (192.0.2.0/24, fd00::/8), serial lines (/dev/ttyUSB0), transports (transport:ble), proved names (psk:dev-*, certificate:*, bond:*, verified:*), and nodes behind a forwarder (192.0.2.7#0a01, psk:fwd1#*). Absent: from everywhere.",
  );

/** Networks of the gateway's own site: private, loopback and link-local ones. */
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
 * Senders that may publish without a connection if nothing is configured: those of the own site, those on Bluetooth or a serial line,
 * and those that have proved a key.
 */
const nearby = [...localNetworks, "transport:ble", "transport:serial", "transport:dtls"];

const gate = (what: string) => ({
  enabled: z.boolean().default(true).describe(`Whether ${what} is served at all.`),
  from: from.default(nearby),
});

/** Topic filters with placeholders. */
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
    "Topics to which a client may publish, as filters with `{clientId}` and `{identity}`. The names are those that devices use, without `upstream.topicPrefix`. Absent: all.",
  );
const subscribe = topics
  .optional()
  .describe(
    "Topics to which a client may subscribe, and of which it gets messages. A filter that is wider than each of these is refused. Absent: all.",
  );

const perSecond = z.number().min(0.001).max(1_000_000).optional();
const burst = z.int().min(1).max(1_000_000).optional();

const deviceLimits = z.strictObject({
  clients: patterns.describe("Client ids, with * and ?."),
  upPerSecond: perSecond.describe(
    "Requests that a device may send each second: PUBLISH, SUBSCRIBE, UNSUBSCRIBE, REGISTER, PINGREQ. Further ones are answered with congestion. Absent: no limit.",
  ),
  upBurst: burst.describe("Requests that a device may send at once. Absent: those of ten seconds, at least 10."),
  downPerSecond: perSecond.describe(
    "Publications that are sent to a device each second; further ones wait. Absent: no limit.",
  ),
  downBurst: burst.describe(
    "Publications that are sent to a device at once. Absent: those of ten seconds, at least 10.",
  ),
  octetsPerDay: z
    .int()
    .min(1_000)
    .max(1e12)
    .optional()
    .describe(
      "Octets of datagrams that a device may send and receive each day, as a token bucket that fills within a day " +
        "and is full when the gateway starts. Absent: no limit.",
    ),
  refusalsMax: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(50)
    .describe(
      "After so many refusals without a pause, the gateway ignores the device's messages for `quarantineSeconds`.",
    ),
  quarantineSeconds: z
    .int()
    .min(0)
    .max(86_400)
    .default(60)
    .describe("How long the device's messages are ignored. 0 = each message is refused, and none is ignored."),
});

export const accessOptions = z.strictObject({
  default: z.enum(["allow", "deny"]).default("allow").describe("What happens to clients that no rule names."),
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
      "The first rule that names the client id and its network decides. The topics are those of the first such `allow`.",
    ),
  clients: patterns
    .default("{identity}")
    .describe(
      "Client ids that a device may use if it has proved its name (with a key, a certificate or a bond). " +
        "`{identity}` is this name; * and ? as in rules. This is checked before the rules.",
    ),
  publish: publish.describe("For clients whose rule has no `publish`. Absent: everything."),
  subscribe: subscribe.describe("For clients whose rule has no `subscribe`. Absent: everything."),
  limits: z
    .array(deviceLimits)
    .default([])
    .describe("How much one device may send and receive. The first entry that names the client id applies."),
  site: from
    .default(nearby)
    .describe(
      "Networks of the own site. A client outside it gets only few messages until it has answered one " +
        "(`clients.unprovenFactorMax`).",
    ),
  qosMinusOne: z
    .strictObject({
      ...gate("QoS -1"),
      perSecond: z
        .int()
        .min(0)
        .max(1_000_000)
        .default(0)
        .describe(
          "Messages per second from one host, or from one node behind a forwarder. Further ones are dropped. 0 = " +
            "no limit.",
        ),
      publish: publish.describe(
        "Topics to which senders without a connection may publish; `{clientId}` has no meaning here. Absent: all, unless `access` has another `publish`: then none.",
      ),
    })
    .prefault({})
    .describe("Senders that may publish without a connection."),
  forwarders: z
    .strictObject(gate("forwarder encapsulation"))
    .prefault({})
    .describe("Senders that may forward messages of other nodes."),
});

export type AccessOptions = z.infer<typeof accessOptions>;
