import { z } from "zod";

const keys = z
  .union([
    z.strictObject({
      file: z.string().min(1).describe('A file of JSON: { "identity": "key in hexadecimal", … }.'),
    }),
    z.strictObject({
      folder: z
        .string()
        .min(1)
        .describe("A folder with a file for each identity, named as it; in it the key in hexadecimal."),
    }),
    z.strictObject({
      command: z
        .array(z.string().min(1))
        .min(1)
        .describe(
          "A program with its arguments. It reads the identity, a line, and writes the key in hexadecimal, or nothing.",
        ),
    }),
  ])
  .describe(
    "Whose keys are known, 16 to 64 octets each, beside those of `mqtt-sn-gateway device add`. File and folder are read again at SIGHUP: who is gone from it, or has another key, is put out. Absent: those of `device add` alone.",
  )
  .optional();

const certificates = z
  .strictObject({
    cert: z
      .string()
      .min(1)
      .describe("The gateway's certificate, a file (PEM); behind it those between it and what devices trust."),
    key: z.string().min(1).describe("Its private key, a file (PEM), not encrypted, on P-256."),
    ca: z
      .string()
      .min(1)
      .describe(
        "Authorities, a file (PEM). A certificate that one of them itself issued lets its device in; the common name is its identity, or else the first DNS name.",
      )
      .optional(),
    pinned: z
      .strictObject({
        folder: z
          .string()
          .min(1)
          .describe("A folder with a file NAME.pem for each device: its certificate, or its public key alone (PEM)."),
      })
      .describe("Devices whose keys are known one by one.")
      .optional(),
  })
  .refine(({ ca, pinned }) => ca !== undefined || pinned !== undefined, "needs ca, pinned or both: whose are good?")
  .describe(
    "Devices may prove who they are with a certificate on P-256 (ECDHE-ECDSA). Read again at SIGHUP: whose authority or pinned key is gone is put out.",
  )
  .optional();

/** One DTLS transport, for devices with a key. Relative paths are relative to the configuration. */
export const dtlsOptions = z.strictObject({
  type: z.literal("dtls").describe("Kind of transport."),
  name: z
    .string()
    .regex(/^[a-z0-9-]+$/, "may hold a to z, 0 to 9 and -")
    .default("dtls")
    .describe("Unique among the transports; begins every peer's name in the log."),
  host: z
    .string()
    .min(1)
    .default("0.0.0.0")
    .describe("Address to listen on: 0.0.0.0 (all IPv4), :: (all IPv6), or one of this host's."),
  port: z.int().min(0).max(65_535).default(8883).describe("UDP port; 0 takes any free one."),
  keys,
  certificates,
  clients: z
    .string()
    .min(1)
    .max(200)
    .default("{identity}")
    .describe(
      "Client ids that a device may have: {identity} stands for its identity, * for anything. Others are not admitted.",
    ),
  cidOctets: z
    .int()
    .min(0)
    .max(20)
    .refine((octets) => octets === 0 || octets >= 4, "may be 0, or 4 to 20")
    .default(8)
    .describe(
      "Length of connection ids. 0: none are given, and a device shakes hands again wherever its address changes.",
    ),
  suites: z
    .array(z.enum(["ccm8", "ccm", "gcm"]))
    .min(1)
    .default(["ccm8", "ccm", "gcm"])
    .describe(
      "Ciphers, all with AES-128: CCM with a tag of 8 octets, CCM, GCM; with pre-shared keys and with certificates. The device's order decides.",
    ),
  contextsMax: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(100_000)
    .describe("Devices. Beyond: the one that was silent for longest is forgotten."),
  handshakesMax: z
    .int()
    .min(1)
    .max(100_000)
    .default(1_000)
    .describe("Handshakes under way. Beyond: new ones are not answered."),
  handshakesPerHostMax: z.int().min(1).max(100_000).default(20).describe("Of those, from one address."),
  hellosPerSecondMax: z
    .int()
    .min(10)
    .max(1_000_000)
    .default(2_000)
    .describe(
      "Handshakes that may begin a second, and those that may go on. Beyond: dropped and counted, so that a flood costs devices that are in nothing; a device that begins repeats itself. Of more than twice as many the kernel drops most, by chance, where the compiled part is there.",
    ),
  idleDays: z
    .number()
    .min(0.01)
    .max(3_650)
    .default(30)
    .describe(
      "A device that is silent for so long shakes hands again. Counts from the start of the gateway at the earliest.",
    ),
  receiveBufferBytes: z
    .int()
    .min(4_096)
    .default(4 * 1024 * 1024)
    .describe("Asked of the kernel, which may give less (sysctl net.core.rmem_max). A burst beyond it is lost."),
  maxMessageBytes: z
    .int()
    .min(60)
    .max(16_000)
    .default(1_024)
    .describe(
      "Largest message to a client. Encryption adds up to 67 octets; above 1232 in all datagrams are fragmented on some networks.",
    ),
});

export type DtlsOptions = z.infer<typeof dtlsOptions>;
