/**
 * Checks the messages of the child, because it contains code of other projects, and reports data that it receives by
 * radio. An invalid message is ignored, and must not make the gateway fail.
 */
import { z } from "zod";
import type { Bond } from "../../pairing/bond.ts";
import type { ChildReport } from "./central.ts";
import { securityFaults } from "./link-security.ts";

/** The longest text of a device or an adapter that is accepted. */
const textMax = 4_000;
const octetsMax = 70_000;

const text = z.string().max(textMax);
const octets = z.instanceof(Uint8Array).refine((bytes) => bytes.byteLength <= octetsMax);
const count = z.number().min(0);

const key = z.instanceof(Uint8Array).refine((bytes) => bytes.byteLength === 16);

const bond: z.ZodType<Bond> = z.object({
  identity: z.object({ address: text, type: z.enum(["public", "random"]) }),
  identityKey: key.exactOptional(),
  longTermKey: key,
  random: z.instanceof(Uint8Array).refine((bytes) => bytes.byteLength === 8),
  diversifier: count,
  secureConnections: z.boolean(),
  authenticated: z.boolean(),
});

const report: z.ZodType<ChildReport> = z.discriminatedUnion("is", [
  z.object({ is: z.literal("alive"), rssBytes: count, advertisements: count, addresses: count }),
  z.object({ is: z.literal("ready"), adapter: text, driver: text }),
  z.object({ is: z.literal("unavailable"), why: text, hung: z.boolean().exactOptional() }),
  z.object({
    is: z.literal("seen"),
    address: text,
    addressType: z.enum(["public", "random"]),
    connectable: z.boolean(),
    name: text.optional().transform((name) => name),
    services: z.array(text).max(1_000),
    serviceData: z.array(z.object({ uuid: text, data: octets })).max(1_000),
    manufacturerData: z.array(octets).max(1_000),
    rssi: z.number(),
  }),
  z.object({ is: z.literal("linked"), address: text, mtu: count, confirmed: z.boolean() }),
  z.object({
    is: z.literal("parameters"),
    address: text,
    parameters: z.object({ intervalMs: count, latency: count, supervisionMs: count }),
  }),
  z.object({ is: z.literal("noticed"), address: text, say: text }),
  z.object({ is: z.literal("refused"), address: text, why: text }),
  z.object({ is: z.literal("bonded"), address: text, bond }),
  z.object({ is: z.literal("linkFailed"), address: text, why: text, fault: z.enum(securityFaults).exactOptional() }),
  z.object({ is: z.literal("unlinked"), address: text, why: text }),
  z.object({ is: z.literal("data"), address: text, bytes: octets }),
  z.object({ is: z.literal("written"), address: text, id: z.number(), failed: text.exactOptional() }),
  z.object({ is: z.literal("stalled"), ms: count, dropped: count.exactOptional() }),
]);

/** Undefined: the message is invalid. */
export function parseReport(found: unknown): ChildReport | undefined {
  return report.safeParse(found).data;
}
