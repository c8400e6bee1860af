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
        .describe(
          "A folder with a file for each identity. The file has the name of the identity, and contains the key in " +
            "hexadecimal.",
        ),
    }),
    z.strictObject({
      command: z
        .array(z.string().min(1))
        .min(1)
        .describe(
          "A program with its arguments. It reads the identity, one line, and writes the key in hexadecimal, or " +
            "nothing.",
        ),
    }),
  ])
  .describe(
    "The keys of devices, 16 to 64 octets each, in addition to those of `mqtt-sn-gateway device add`. File and " +
      "folder are read again on SIGHUP; a device whose key was removed or changed is disconnected. Absent: only the " +
      "keys of `device add`.",
  )
  .optional();

const certificates = z
  .strictObject({
    cert: z
      .string()
      .min(1)
      .describe(
        "The gateway's certificate, a file (PEM), followed by the certificates between it and the authority that " +
          "devices trust.",
      ),
    key: z.string().min(1).describe("The private key of the certificate, a file (PEM), not encrypted, on P-256."),
    ca: z
      .string()
      .min(1)
      .describe(
        "Authorities, a file (PEM). A device is accepted if one of them itself issued its certificate. Its " +
          "identity is the common name, or else the first DNS name.",
      )
      .optional(),
    pinned: z
      .strictObject({
        folder: z
          .string()
          .min(1)
          .describe("A folder with a file NAME.pem for each device: its certificate, or its public key alone (PEM)."),
      })
      .describe("Devices whose public keys are pinned, one by one.")
      .optional(),
  })
  .refine(({ ca, pinned }) => ca !== undefined || pinned !== undefined, "needs ca, pinned or both: whose are good?")
  .describe(
    "Devices may prove their identity with a certificate on P-256 (ECDHE-ECDSA). Read again on SIGHUP; a device " +
      "whose authority or pinned key was removed is disconnected.",
  )
  .optional();

/** One DTLS transport, for devices with a key. Relative paths are relative to the configuration. */
export const dtlsOptions = z.strictObject({
  type: z.literal("dtls").describe("Kind of transport."),
  name: z
    .string()
    .regex(/^[a-z0-9-]+$/, "may hold a to z, 0 to 9 and -")
    .default("dtls")
    .describe("The name is unique among the transports, and is the first part of every peer's name in the log."),
  host: z
    .string()
    .min(1)
    .default("0.0.0.0")
    .describe("Address to listen on: 0.0.0.0 (all IPv4), :: (all IPv6), or an address of this host."),
  port: z.int().min(0).max(65_535).default(8883).describe("UDP port; 0 uses any free one."),
  keys,
  certificates,
  clients: z
    .string()
    .min(1)
    .max(200)
    .default("{identity}")
    .describe(
      "Client ids that a device may use: {identity} stands for its identity, * for anything. Others are not admitted.",
    ),
  cidOctets: z
    .int()
    .min(0)
    .max(20)
    .refine((octets) => octets === 0 || octets >= 4, "may be 0, or 4 to 20")
    .default(8)
    .describe(
      "Length of connection ids. 0: none are given, and a device needs a new handshake when its address changes.",
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
    .describe("Devices with a context. Beyond this limit, the one that was silent for longest is forgotten."),
  handshakesMax: z
    .int()
    .min(1)
    .max(100_000)
    .default(1_000)
    .describe("Handshakes that are not finished. Beyond this limit, new ones are not answered."),
  handshakesPerHostMax: z.int().min(1).max(100_000).default(20).describe("The same limit for one address."),
  hellosPerSecondMax: z
    .int()
    .min(10)
    .max(1_000_000)
    .default(2_000)
    .describe(
      "Handshakes that may begin per second, and handshakes that may continue per second. Further ones are " +
        "dropped and counted, so that a flood does not affect connected devices; a device that begins a handshake " +
        "repeats its message. If there are more than twice as many, the kernel drops most of them at random, if the " +
        "compiled part is available.",
    ),
  idleDays: z
    .number()
    .min(0.01)
    .max(3_650)
    .default(30)
    .describe(
      "A device that is silent for this time needs a new handshake. The time begins at the start of the gateway " +
        "at the earliest.",
    ),
  receiveBufferBytes: z
    .int()
    .min(4_096)
    .default(4 * 1024 * 1024)
    .describe(
      "The receive buffer that is requested from the kernel, which may give less (sysctl net.core.rmem_max). A " +
        "larger burst of datagrams is lost.",
    ),
  maxMessageBytes: z
    .int()
    .min(60)
    .max(16_000)
    .default(1_024)
    .describe(
      "Largest message to a client. Encryption adds up to 67 octets. Datagrams above 1232 octets in total are " +
        "fragmented on some networks.",
    ),
});

export type DtlsOptions = z.infer<typeof dtlsOptions>;
