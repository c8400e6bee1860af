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
      "Six digits, in a file or a variable. The file is read again for each pairing, so it can contain a passkey " +
        "that a device shows.",
    ),
    devices: z
      .array(
        z
          .strictObject({
            ...matchFields,
            pairing: pairingKind.describe("Used instead of the `pairing` of the transport."),
            passkey: passkey.describe("Used instead of bonding.passkey."),
          })
          .refine(namesSomething, "must name an address, a name or a service"),
      )
      .default([])
      .describe(
        "Devices with another kind of pairing. The first entry that matches is used. A device that has a bond is " +
          "always encrypted, whatever this says.",
      ),
    legacy: z
      .boolean()
      .default(true)
      .describe(
        "Also pair devices without LE Secure Connections. Anybody who listens while such a device is paired can " +
          "find out the key; a passkey does not help.",
      ),
    silenceSeconds: z
      .number()
      .min(1)
      .max(30)
      .default(5)
      .describe("Pairing ends if the device sends nothing for this time. Other devices wait meanwhile."),
    clients: z
      .string()
      .min(1)
      .default("*")
      .describe(
        "Client ids that a device with a bond may use; {identity} is the address by which it is known. " +
          'access.rules can be more precise, with `from: ["bond:…"]`.',
      ),
    bondsMax: z
      .int()
      .min(1)
      .max(10_000)
      .default(500)
      .describe("The number of bonds that are kept. At this limit no further device is paired."),
  })
  .prefault({})
  .describe("Encrypted links: how devices are paired.");
