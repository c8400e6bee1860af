/**
 * The gateway's certificate, and the check of devices' certificates. Chains are not followed: a certificate is accepted
 * only if a configured authority itself issued it, or if its key is pinned.
 */
import { createPublicKey, createSign, createVerify, type KeyObject, type X509Certificate } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { GatewayError } from "../../errors.ts";
import type { Accepted, CertificateRefusal, Credentials } from "../../secure/credentials.ts";
import { checkedIdentity } from "./key-ring.ts";
import type { DtlsOptions } from "./options.ts";
import { certificatesIn, fail, isP256, messageOf, parsed, privateKeyIn, readText } from "./pem-files.ts";

type CertificateOptions = NonNullable<DtlsOptions["certificates"]>;

/** TLS client authentication, as one of the uses that a certificate may be limited to. [RFC 5280 4.2.1.12] */
const clientUse = "1.3.6.1.5.5.7.3.2";
const identityOctetsMax = 128;

export interface CertificateRing {
  readonly credentials: Credentials;
  /** Names of devices whose keys are pinned. */
  readonly pinned: ReadonlySet<string>;
  /**
   * The public keys that may prove this identity: those of the authorities and the pinned one. A context ends if none
   * of them proved it.
   */
  goodFor(identity: string): readonly Uint8Array[];
  /** Advice for the operator, in plain sentences. */
  readonly warnings: readonly string[];
}

/** `now`: milliseconds since 1970. @throws {GatewayError} ERR_TRANSPORT_OPEN, naming the file. */
export function readCertificateRing(options: CertificateOptions, now: () => number = Date.now): CertificateRing {
  const { cert, key, ca, pinned } = options;
  const own = certificatesIn(cert);
  const privateKey = privateKeyIn(key);
  if (!own[0]?.checkPrivateKey(privateKey)) return fail(`${key} does not belong to the certificate in ${cert}`, key);
  const authorities = ca === undefined ? [] : certificatesIn(ca);
  for (const authority of authorities)
    if (!authority.ca) return fail(`${ca}: ${subjectOf(authority)} is not the certificate of an authority`, ca ?? "");
  const pins = pinned === undefined ? new Map<string, Uint8Array>() : pinsIn(pinned.folder);
  const names = new Map([...pins].map(([name, spki]) => [hexOf(spki), name]));
  const spkis = authorities.map((authority) => spkiOf(authority.publicKey));
  return {
    pinned: new Set(pins.keys()),
    goodFor: (identity) => [...spkis, ...[pins.get(identity)].flatMap((pin) => pin ?? [])],
    warnings: [
      ...openToOthers(key),
      ...own.slice(0, 1).flatMap((each) => ageOf(each, cert, now())),
      ...authorities.flatMap((each) => ageOf(each, ca ?? "", now())),
    ],
    credentials: {
      chain: own.map(({ raw }) => raw),
      sign: (bytes) => createSign("sha256").update(bytes).sign(privateKey),
      judge: ([der]) => {
        const shown = der && parsed(der);
        if (!shown) return "malformed";
        if (!isP256(shown.publicKey)) return "not-p256";
        const spki = spkiOf(shown.publicKey);
        const name = names.get(hexOf(spki));
        // Nobody has signed the other fields of a pinned certificate, so its dates have no meaning either.
        if (name !== undefined) return accepted(name, spki, shown.publicKey);
        return issued(shown, authorities, now());
      },
    },
  };
}

/** Accepts a certificate that one of these authorities issued itself, for a device, and that is valid now. */
function issued(
  shown: X509Certificate,
  authorities: readonly X509Certificate[],
  now: number,
): Accepted | CertificateRefusal {
  const issuer = authorities.find((each) => shown.checkIssued(each) && shown.verify(each.publicKey));
  if (!issuer) return "unknown-authority";
  if (shown.ca) return "is-authority";
  for (const each of [shown, issuer]) {
    if (Date.parse(each.validTo) <= now) return "expired";
    if (Date.parse(each.validFrom) > now) return "not-yet-valid";
  }
  // The list of uses, if there is one; some versions of Node return undefined.
  const uses: readonly string[] | undefined = shown.keyUsage;
  if (uses && !uses.includes(clientUse)) return "other-use";
  const identity = nameIn(shown);
  return identity === undefined ? "no-name" : accepted(identity, spkiOf(issuer.publicKey), shown.publicKey);
}

function accepted(identity: string, trust: Uint8Array, publicKey: KeyObject): Accepted {
  return {
    identity,
    trust,
    verify: (signed, signature) => {
      try {
        return createVerify("sha256").update(signed).verify(publicKey, signature);
      } catch {
        return false; // not a valid signature: any sender can cause this
      }
    },
  };
}

/** The common name, or else the first DNS name. */
export function nameIn(shown: X509Certificate): string | undefined {
  const { CN } = shown.toLegacyObject().subject;
  const name: unknown = CN ?? /^DNS:([^,"]+)/.exec(shown.subjectAltName ?? "")?.[1];
  if (typeof name !== "string" || name === "" || Buffer.byteLength(name) > identityOctetsMax) return undefined;
  return /\p{C}/u.test(name) ? undefined : name;
}

function spkiOf(key: KeyObject): Uint8Array {
  return key.export({ type: "spki", format: "der" });
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/**
 * Reads the pinned keys: a file for each device with its name and `.pem`, which contains its certificate, or only its
 * public key.
 */
function pinsIn(folder: string): ReadonlyMap<string, Uint8Array> {
  let names: readonly string[];
  try {
    names = readdirSync(folder).filter((name) => name.endsWith(".pem") && statSync(join(folder, name)).isFile());
  } catch (error) {
    return fail(`the keys in ${folder} cannot be read: ${messageOf(error)}`, folder);
  }
  const pins = new Map(
    names.map((name) => {
      const file = join(folder, name);
      return [checkedIdentity(name.slice(0, -".pem".length), file), spkiOf(publicKeyIn(file))];
    }),
  );
  if (new Set([...pins.values()].map(hexOf)).size < pins.size)
    return fail(`two devices in ${folder} have the same key`, folder);
  return pins;
}

function publicKeyIn(file: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey(readText(file));
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    return fail(`${file} holds neither a certificate nor a public key (PEM)`, file);
  }
  return isP256(key) ? key : fail(`the key in ${file} is not on P-256`, file);
}

function openToOthers(file: string): string[] {
  const isOpen = (statSync(file).mode & 0o077) !== 0;
  return isOpen ? [`${file} is a private key and is open to other users: chmod go-rwx ${file}`] : [];
}

function ageOf(certificate: X509Certificate, file: string, now: number): string[] {
  const day = (date: string) => new Date(Date.parse(date)).toISOString().slice(0, 10);
  const { validFrom, validTo } = certificate;
  if (Date.parse(validTo) <= now) return [`the certificate in ${file} has expired on ${day(validTo)}`];
  if (Date.parse(validFrom) > now) return [`the certificate in ${file} is valid from ${day(validFrom)} on`];
  const isNear = Date.parse(validTo) < now + 30 * 86_400_000;
  return isNear ? [`the certificate in ${file} expires on ${day(validTo)}`] : [];
}

function subjectOf(certificate: X509Certificate): string {
  return JSON.stringify(certificate.subject.replace(/\n/g, ", "));
}
