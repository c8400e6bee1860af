/** Reads the keys of broadcast sensors from files or variables. No key is ever logged. */
import { readFileSync } from "node:fs";
import { GatewayError } from "../../errors.ts";
import type { BleOptions } from "./options.ts";

const bindKeyBytes = 16;

/** Keys of BTHome sensors, by address in lower case. @throws {GatewayError} as `readKeys` does. */
export function readBindKeys(keys: BleOptions["broadcast"]["keys"]): Map<string, Uint8Array> {
  const read = readKeys(keys);
  for (const [address, key] of read) {
    if (key.byteLength !== bindKeyBytes) throw failed(address, "broadcast.bthome.keys", "is not 32 hexadecimal digits");
  }
  return read;
}

/**
 * Reads the keys, by address in lower case.
 * @throws {GatewayError} ERR_TRANSPORT_OPEN when one cannot be read, or is no key.
 */
export function readKeys(keys: BleOptions["broadcast"]["keys"]): Map<string, Uint8Array> {
  const read = new Map<string, Uint8Array>();
  for (const [address, source] of Object.entries(keys)) {
    const where = "file" in source ? source.file : `variable ${source.env}`;
    const text = textOf(source, address, where).trim();
    if (!/^([0-9a-f]{2}){16,64}$/i.test(text)) {
      throw failed(address, where, "is not 32 to 128 hexadecimal digits");
    }
    read.set(address.toLowerCase(), Buffer.from(text, "hex"));
  }
  return read;
}

/** @throws {GatewayError} ERR_TRANSPORT_OPEN; the text contains no digit of the passkey. */
export function readPasskey(source: NonNullable<BleOptions["bonding"]["passkey"]>): number {
  const where = "file" in source ? source.file : `variable ${source.env}`;
  const fail = (what: string) =>
    new GatewayError("ERR_TRANSPORT_OPEN", { where }, { say: `the passkey cannot be read: ${where}: ${what}` });
  let text: string | undefined;
  try {
    text = "env" in source ? process.env[source.env] : readFileSync(source.file, "utf8");
  } catch (error) {
    throw fail(error instanceof Error ? error.message : String(error));
  }
  if (text === undefined) throw fail("is not set");
  if (!/^\d{6}$/.test(text.trim())) throw fail("is not six digits");
  return Number(text.trim());
}

function textOf(source: BleOptions["broadcast"]["keys"][string], address: string, where: string): string {
  if ("env" in source) {
    const value = process.env[source.env];
    if (value === undefined) throw failed(address, where, "is not set");
    return value;
  }
  try {
    return readFileSync(source.file, "utf8");
  } catch (error) {
    throw failed(address, where, error instanceof Error ? error.message : String(error));
  }
}

function failed(address: string, where: string, what: string): GatewayError {
  return new GatewayError(
    "ERR_TRANSPORT_OPEN",
    { address, where },
    { say: `broadcast.keys: key of ${address}: ${where}: ${what}` },
  );
}
