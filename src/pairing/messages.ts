/** The messages on the channel of the Security Manager. [Bluetooth Core 5.4, 3.H.3] */

export const codes = {
  request: 0x01,
  response: 0x02,
  confirm: 0x03,
  random: 0x04,
  failed: 0x05,
  longTermKey: 0x06,
  centralIdentification: 0x07,
  identityKey: 0x08,
  identityAddress: 0x09,
  signingKey: 0x0a,
  securityRequest: 0x0b,
  publicKey: 0x0c,
  check: 0x0d,
  keypress: 0x0e,
} as const;

/** The length of each message in octets, including its code. */
export const lengths: Readonly<Record<number, number>> = {
  [codes.request]: 7,
  [codes.response]: 7,
  [codes.confirm]: 17,
  [codes.random]: 17,
  [codes.failed]: 2,
  [codes.longTermKey]: 17,
  [codes.centralIdentification]: 11,
  [codes.identityKey]: 17,
  [codes.identityAddress]: 8,
  [codes.signingKey]: 17,
  [codes.securityRequest]: 2,
  [codes.publicKey]: 65,
  [codes.check]: 17,
  [codes.keypress]: 2,
};

/** The abilities of a device to show a passkey or to enter one. */
export const ioCapabilities = {
  displayOnly: 0,
  displayYesNo: 1,
  keyboardOnly: 2,
  noInputNoOutput: 3,
  keyboardDisplay: 4,
} as const;

/** Bits of the authentication requirements. */
export const requirements = { bonding: 0x01, mitm: 0x04, secureConnections: 0x08 } as const;
/** Bits of the keys that a side distributes. */
export const keyBits = { encryption: 0x01, identity: 0x02 } as const;

/** Reasons in Pairing Failed. [3.H.3.5.5] */
export const failures = {
  passkeyEntry: 0x01,
  authentication: 0x03,
  confirm: 0x04,
  notSupported: 0x05,
  keySize: 0x06,
  unspecified: 0x08,
  repeated: 0x09,
  invalid: 0x0a,
  check: 0x0b,
} as const;

const words: Readonly<Record<number, string>> = {
  1: "it has no passkey now",
  2: "it wants data by another way (OOB)",
  3: "its demands on security are not met",
  4: "the confirm values do not match",
  5: "it does not pair",
  6: "the key is too short for it",
  7: "it does not know the command",
  8: "it gives no reason",
  9: "it has seen too many attempts and wants a pause",
  10: "it does not understand a parameter",
  11: "the final check does not match",
  12: "the numbers do not match",
  14: "it makes its keys by classic Bluetooth only",
  15: "a key was refused",
};

export function failureInWords(reason: number): string {
  return `${words[reason] ?? "its reason is not known"} (reason 0x${reason.toString(16).padStart(2, "0")})`;
}
