/**
 * Operating faults: faults of the gateway's environment. Codes are for programs, sentences for people.
 * docs/guide/errors.md explains each of them; a test compares both lists.
 *
 * Faults of a device or broker are values, never exceptions. Programming errors are assertions.
 */
export const errorCodes = {
  ERR_CONFIG_INVALID: "The configuration is not valid",
  ERR_CONFIG_READ: "The configuration file could not be read",
  ERR_PAYLOAD_SCRIPT: "A script for payloads cannot be used",
  ERR_TRANSPORT_OPEN: "A transport could not be opened",
  ERR_TRANSPORT_FAILED: "A transport failed while running",
  ERR_UPSTREAM_OPTIONS: "The connection to the broker cannot be set up as configured",
  ERR_STORE_OPEN: "The session store could not be opened",
  ERR_STORE_WRITE: "The session store could not be written",
  ERR_STORE_EPOCH: "Another gateway writes to the session store now",
  ERR_TRYOUT_BROKER: "The try-out broker could not be started",
  ERR_BACKUP: "The backup file could not be used",
  ERR_CONTROL: "The running gateway could not be asked",
  ERR_API_OPEN: "The health and metrics port could not be opened",
} as const;

export type ErrorCode = keyof typeof errorCodes;

export class GatewayError extends Error {
  readonly code: ErrorCode;
  /** Facts for programs; never a secret. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    details: Readonly<Record<string, unknown>> = {},
    options?: { cause?: unknown; say?: string },
  ) {
    super(options?.say ?? errorCodes[code], options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = "GatewayError";
    this.code = code;
    this.details = details;
  }
}
