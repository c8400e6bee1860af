import { z } from "zod";

const patterns = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const from = z
  .array(z.string().min(1))
  .min(1)
  .describe(
    "Addresses (also Bluetooth ones), networks (192.0.2.0/24, fd00::/8) or transports (transport:ble). Absent: from anywhere.",
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

const gate = (what: string) =>
  z
    .strictObject({
      enabled: z.boolean().default(true).describe(`Whether ${what} is served at all.`),
      from: from.default(nearby),
    })
    .prefault({});

export const accessOptions = z.strictObject({
  default: z.enum(["allow", "deny"]).default("allow").describe("For clients that no rule names."),
  rules: z
    .array(
      z.union([
        z.strictObject({ allow: patterns.describe("Client ids, with * and ?."), from: from.optional() }),
        z.strictObject({ deny: patterns.describe("Client ids, with * and ?."), from: from.optional() }),
      ]),
    )
    .default([])
    .describe("The first rule that names the client id and its network counts."),
  site: from
    .default(nearby)
    .describe(
      "Networks of the own site. A client elsewhere gets little before it has answered (`clients.unprovenFactorMax`).",
    ),
  qosMinusOne: gate("QoS -1").describe("Who may publish without a connection."),
  forwarders: gate("forwarder encapsulation").describe("Who may pass on messages of other nodes."),
});

export type AccessOptions = z.infer<typeof accessOptions>;
