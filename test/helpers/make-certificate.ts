/** Certificates of all kinds, also of such as no authority would make: written here octet by octet. [RFC 5280 4.1] */
import {
  createPrivateKey,
  createSign,
  createVerify,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from "node:crypto";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DeviceCertificate } from "../../src/device/secure.ts";
import { parsed } from "../../src/transports/dtls/pem-files.ts";

export interface Made {
  readonly name: string;
  readonly der: Uint8Array;
  readonly pem: string;
  readonly key: KeyObject;
}

export interface Wanted {
  /** Common name; "": none. */
  readonly name: string;
  readonly by?: Made;
  readonly from?: string;
  readonly to?: string;
  readonly isAuthority?: boolean;
  readonly curve?: "prime256v1" | "secp384r1";
  readonly uses?: readonly ("client" | "server")[];
  readonly dnsNames?: readonly string[];
  /** IPv4. */
  readonly addresses?: readonly string[];
  /** Not the one whose name and certificate it bears. */
  readonly signedBy?: KeyObject;
}

const der = (tag: number, ...parts: readonly Uint8Array[]): Uint8Array => {
  const body = Buffer.concat(parts);
  const { length } = body;
  const head =
    length < 128 ? [tag, length] : length < 256 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from(head), body]);
};
const sequence = (...parts: readonly Uint8Array[]) => der(0x30, ...parts);
const oid = (hex: string) => der(6, Buffer.from(hex, "hex"));
const ecdsaWithSha256 = sequence(oid("2a8648ce3d040302"));
const commonName = (name: string) =>
  name === "" ? sequence() : sequence(der(0x31, sequence(oid("550403"), der(12, Buffer.from(name)))));
const time = (iso: string) => der(0x17, Buffer.from(`${iso.replace(/[-:T]/g, "").slice(2, 14)}Z`));
const extension = (id: string, value: Uint8Array) => sequence(oid(id), der(4, value));
const useOids = { client: "2b06010505070302", server: "2b06010505070301" } as const;
let serial = 1;

export function makeCertificate(wanted: Wanted): Made {
  const { name, by, from = "2020-01-01T00:00:00", to = "2040-01-01T00:00:00", isAuthority = false } = wanted;
  const pair = generateKeyPairSync("ec", { namedCurve: wanted.curve ?? "prime256v1" });
  const names = [
    ...(wanted.dnsNames ?? []).map((each) => der(0x82, Buffer.from(each))),
    ...(wanted.addresses ?? []).map((each) => der(0x87, Uint8Array.from(each.split("."), Number))),
  ];
  const extensions = [
    ...(isAuthority ? [extension("551d13", sequence(der(1, Uint8Array.of(0xff))))] : []),
    ...(wanted.uses ? [extension("551d25", sequence(...wanted.uses.map((use) => oid(useOids[use]))))] : []),
    ...(names.length > 0 ? [extension("551d11", sequence(...names))] : []),
  ];
  const toSign = sequence(
    der(0xa0, der(2, Uint8Array.of(2))),
    der(2, Uint8Array.of(serial++ % 127)),
    ecdsaWithSha256,
    commonName(by?.name ?? name),
    sequence(time(from), time(to)),
    commonName(name),
    pair.publicKey.export({ type: "spki", format: "der" }),
    ...(extensions.length > 0 ? [der(0xa3, sequence(...extensions))] : []),
  );
  const signature = createSign("sha256")
    .update(toSign)
    .sign(wanted.signedBy ?? by?.key ?? pair.privateKey);
  const bytes = sequence(toSign, ecdsaWithSha256, der(3, Uint8Array.of(0), signature));
  return { name, der: bytes, pem: new X509Certificate(bytes).toString(), key: pair.privateKey };
}

export function keyPemOf({ key }: Made): string {
  return String(key.export({ type: "pkcs8", format: "pem" }));
}

/** What a device with this certificate shows; it trusts a gateway of this authority. */
export function deviceWith(own: Made | undefined, authority: Made, key = own?.key): DeviceCertificate {
  return {
    chain: own ? [own.der] : [],
    sign: (bytes) =>
      createSign("sha256")
        .update(bytes)
        .sign(key ?? createPrivateKey(keyPemOf(authority))),
    trusts: ([first]) => {
      const shown = first && parsed(first); // on the way octets may have been changed
      if (!shown?.verify(new X509Certificate(authority.der).publicKey)) return undefined;
      return (signed, signature) => createVerify("sha256").update(signed).verify(shown.publicKey, signature);
    },
  };
}

export interface Authority {
  readonly authority: Made;
  readonly gateway: Made;
  readonly folder: string;
  /** As in the configuration. */
  readonly options: { cert: string; key: string; ca: string; pinned: { folder: string } };
}

/** An authority, a gateway's certificate of it, and a folder for pinned keys, all as files. */
export function makeAuthority(): Authority {
  const folder = mkdtempSync(join(tmpdir(), "certificates-"));
  const authority = makeCertificate({ name: "the authority", isAuthority: true });
  const gateway = makeCertificate({ name: "gateway", by: authority });
  const file = (name: string, content: string, mode = 0o644) => {
    writeFileSync(join(folder, name), content, { mode });
    return join(folder, name);
  };
  const pinned = join(folder, "pinned");
  mkdirSync(pinned);
  const options = {
    cert: file("gateway.pem", gateway.pem),
    key: file("gateway.key", keyPemOf(gateway), 0o600),
    ca: file("ca.pem", authority.pem),
    pinned: { folder: pinned },
  };
  return { authority, gateway, folder, options };
}
