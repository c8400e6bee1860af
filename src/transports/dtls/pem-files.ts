/**
 * Reads keys and certificates from files (PEM), of the kinds that can be used here. A key never appears in an error.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { GatewayError } from "../../errors.ts";

/** Reads at least one certificate. @throws {GatewayError} ERR_TRANSPORT_OPEN, naming the file. */
export function certificatesIn(file: string): readonly X509Certificate[] {
  const blocks = readText(file).match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0)
    return fail(`${file} holds no certificate; it begins with -----BEGIN CERTIFICATE----- (PEM)`, file);
  return blocks.map((block, i) => {
    try {
      return new X509Certificate(block);
    } catch {
      return fail(`certificate ${i + 1} in ${file} is damaged`, file);
    }
  });
}

/** Reads a key on P-256. @throws {GatewayError} ERR_TRANSPORT_OPEN, naming the file. */
export function privateKeyIn(file: string): KeyObject {
  const text = readText(file);
  let key: KeyObject;
  try {
    key = createPrivateKey(text);
  } catch {
    return fail(`${file} holds no private key, or an encrypted one`, file);
  }
  return isP256(key)
    ? key
    : fail(`the key in ${file} must be on P-256 (openssl ecparam -name prime256v1 -genkey)`, file);
}

/** Undefined: the octets are no certificate. */
export function parsed(der: Uint8Array): X509Certificate | undefined {
  try {
    const certificate = new X509Certificate(der);
    // Some invalid keys are detected only when they are read.
    return certificate.publicKey ? certificate : undefined;
  } catch {
    return undefined;
  }
}

export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
}

/** @throws {GatewayError} ERR_TRANSPORT_OPEN */
export function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    return fail(`${file} cannot be read: ${messageOf(error)}`, file);
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function fail(say: string, file: string): never {
  throw new GatewayError("ERR_TRANSPORT_OPEN", { file }, { say });
}
