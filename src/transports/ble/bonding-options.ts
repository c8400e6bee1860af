/** Options for pairing, and for the devices that are paired. */
import { z } from "zod";
import { matchFields, namesSomething } from "./match-options.ts";

export const pairingKind = z.enum(["none", "just-works", "passkey"]);

const passkey = z
  .union([z.strictObject({ file: z.string().min(1) }), z.strictObject({ env: z.string().min(1) })])
  .optional();

export const bondingOptions = z
  .strictObject({
    passkey: passkey.describe(
      "Six digits, in a file or a variable. The file is read anew for each pairing, so that it can hold what a device shows.",
    ),
    devices: z
      .array(
        z
          .strictObject({
            ...matchFields,
            pairing: pairingKind.describe("Instead of the transport's."),
            passkey: passkey.describe("Instead of bonding.passkey."),
          })
          .refine(namesSomething, "must name an address, a name or a service"),
      )
      .default([])
      .describe(
        "Devices that are paired otherwise; the first entry that fits counts. A device that has a bond is always encrypted, whatever stands here.",
      ),
    legacy: z
      .boolean()
      .default(true)
      .describe(
        "Also devices without LE Secure Connections. Who listens while such a device is paired can find the key out; a passkey does not help.",
      ),
    silenceSeconds: z
      .number()
      .min(1)
      .max(30)
      .default(5)
      .describe("Pairing ends when the device says nothing for so long. Other devices wait meanwhile."),
    clients: z
      .string()
      .min(1)
      .default("*")
      .describe(
        'Client ids that a device with a bond may have; {identity} is the address by which it is known. access.rules can say more, with `from: ["bond:…"]`.',
      ),
    bondsMax: z
      .int()
      .min(1)
      .max(10_000)
      .default(500)
      .describe("Bonds that are kept. If there are as many, no further device is paired."),
  })
  .prefault({})
  .describe("Encrypted links: how devices are paired.");
