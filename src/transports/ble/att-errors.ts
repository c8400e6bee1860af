/** The errors with which a device refuses a request, in words for the operator. [Bluetooth Core 5.4, 3.F.3.4.1.1] */

export const attErrors = {
  invalidPdu: 0x04,
  authentication: 0x05,
  authorization: 0x08,
  notFound: 0x0a,
  encryption: 0x0f,
} as const;

const words: Readonly<Record<number, string>> = {
  1: "it does not know that attribute",
  2: "the attribute may not be read",
  3: "the attribute may not be written",
  4: "it does not understand the request",
  6: "it does not do that",
  7: "wrong offset",
  9: "too much is waiting",
  10: "there is no such attribute",
  11: "the attribute is too long",
  13: "the length does not suit it",
  14: "something went wrong in it",
  17: "it is out of resources",
  19: "the value is not allowed",
  252: "its program refuses the write",
  253: "the Client Characteristic Configuration is not as it should be",
  254: "it is still busy with the one before",
  255: "the value is out of range",
};

/** These errors demand a link that is paired or encrypted. */
const demandsPairing = new Set([
  attErrors.authentication,
  attErrors.authorization,
  0x0c,
  attErrors.encryption,
] as number[]);
const firstOfApplication = 0x80;
const lastOfApplication = 0x9f;

export function attErrorInWords(code: number): string {
  const number = `ATT error 0x${code.toString(16).padStart(2, "0")}`;
  if (demandsPairing.has(code)) {
    return (
      `it requires a paired or encrypted link; configure pairing for it (with a passkey, if just-works is not enough ` +
      `for it), or remove the requirement from the attribute in its firmware (${number})`
    );
  }
  if (code >= firstOfApplication && code <= lastOfApplication) return `an error of its own program (${number})`;
  return `${words[code] ?? "it gives no known reason"} (${number})`;
}
