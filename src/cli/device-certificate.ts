/** The certificate of a device on the command line, and the check of the gateway's certificate. */
import { createSign, createVerify, type X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import type { DeviceCertificate } from "../device/secure.ts";
import { nameIn } from "../transports/dtls/certificates.ts";
import { certificatesIn, fail, isP256, parsed, privateKeyIn } from "../transports/dtls/pem-files.ts";

export interface DeviceCertificateFiles {
  readonly cert: string;
  readonly key: string;
  /** Authorities, or the gateway's own certificate. */
  readonly ca: string;
  /** A name or an address that the gateway's certificate must contain. */
  readonly gatewayName: string;
}

/** TLS server authentication. [RFC 5280 4.2.1.12] */
const serverUse = "1.3.6.1.5.5.7.3.1";

/**
 * `name`: the name that the gateway gives to the device.
 * @throws {GatewayError} ERR_TRANSPORT_OPEN, naming the file.
 */
export function readDeviceCertificate(
  files: DeviceCertificateFiles,
  now: () => number = Date.now,
): DeviceCertificate & { readonly name: string | undefined } {
  const { cert, key, ca, gatewayName } = files;
  const own = certificatesIn(cert);
  const [first] = own;
  const privateKey = privateKeyIn(key);
  if (!first?.checkPrivateKey(privateKey)) return fail(`${key} does not belong to the certificate in ${cert}`, key);
  const believed = certificatesIn(ca);
  return {
    name: nameIn(first),
    chain: own.map(({ raw }) => raw),
    sign: (bytes) => createSign("sha256").update(bytes).sign(privateKey),
    trusts: ([der]) => {
      const shown = der && parsed(der);
      if (!shown || !isP256(shown.publicKey) || !isGateway(shown, believed, gatewayName, now())) return undefined;
      return (signed, signature) => isSignature(shown, signed, signature);
    },
  };
}

/**
 * Other devices have certificates of the same authority. So the name is checked, and the use if the certificate states
 * one. If the gateway's own certificate is configured, no name is needed.
 */
function isGateway(
  shown: X509Certificate,
  believed: readonly X509Certificate[],
  gatewayName: string,
  now: number,
): boolean {
  if (!isValid(shown, now)) return false;
  if (believed.some(({ raw }) => raw.equals(shown.raw))) return true;
  const issuer = believed.find((each) => each.ca && shown.checkIssued(each) && shown.verify(each.publicKey));
  if (!issuer || !isValid(issuer, now) || shown.ca) return false;
  // The list of uses, if there is one; some versions of Node return undefined.
  const uses: readonly string[] | undefined = shown.keyUsage;
  if (uses && !uses.includes(serverUse)) return false;
  const found = isIP(gatewayName) === 0 ? shown.checkHost(gatewayName) : shown.checkIP(gatewayName);
  return found !== undefined;
}

function isValid({ validFrom, validTo }: X509Certificate, now: number): boolean {
  return Date.parse(validFrom) <= now && now < Date.parse(validTo);
}

function isSignature({ publicKey }: X509Certificate, signed: Uint8Array, signature: Uint8Array): boolean {
  try {
    return createVerify("sha256").update(signed).verify(publicKey, signature);
  } catch {
    return false; // not a valid signature: any sender can cause this
  }
}
