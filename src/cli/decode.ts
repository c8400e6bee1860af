/** `decode`: a datagram in words. */
import { describe } from "../wire/v12/words.ts";
import { err, out } from "./output.ts";

export function decodeHex(words: readonly string[]): void {
  const hex = words.join("").replace(/0x|[\s:,-]/gi, "");
  if (hex === "" || hex.length % 2 !== 0 || /[^0-9a-f]/i.test(hex)) {
    err("decode: give the octets of one datagram in hexadecimal, e.g. 0216\n");
    process.exitCode = 1;
    return;
  }
  out(`${describe(Uint8Array.from(Buffer.from(hex, "hex"))).join("\n")}\n`);
}
