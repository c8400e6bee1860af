/** Why links fail, in words for the operator. Codes are those of the Bluetooth specification, volume 1 part F. */
const words: Readonly<Record<number, string>> = {
  2: "the controller does not know the link",
  5: "the device wants pairing, which is not supported",
  6: "the device wants a key that is not there",
  7: "the controller is out of memory",
  8: "radio contact was lost: out of range, or without power",
  9: "the adapter has no more links; lower linksMax",
  12: "the controller does not allow it now",
  13: "the device has no room for another connection",
  19: "the device hung up",
  20: "the device hung up: low on resources",
  21: "the device hung up: it is switching off",
  22: "we hung up",
  34: "the device did not answer the controller",
  40: "the moment for a change had passed",
  59: "the device does not accept the connection's parameters",
  61: "the encryption's check failed",
  62: "the device did not answer when the connection was made",
};

/** Describes a code such as 0x08 in a sentence. */
export function disconnectReason(code: number): string {
  return words[code] ?? `reason 0x${code.toString(16).padStart(2, "0")}`;
}
