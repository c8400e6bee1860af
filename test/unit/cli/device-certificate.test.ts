/** Which gateway a device of the command line believes. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readDeviceCertificate } from "../../../src/cli/device-certificate.ts";
import { keyPemOf, type Made, makeCertificate, type Wanted } from "../../helpers/make-certificate.ts";

const now = () => Date.parse("2030-06-01T00:00:00Z");
const authority = makeCertificate({ name: "the authority", isAuthority: true });
const own = makeCertificate({ name: "dev1", by: authority });

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "believed-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

function reads({
  ca = authority,
  gatewayName = "gateway",
  key = own,
}: {
  ca?: Made;
  gatewayName?: string;
  key?: Made;
}) {
  const files = { cert: file("own.pem", own.pem), key: file("own.key", keyPemOf(key)), ca: file("ca.pem", ca.pem) };
  return readDeviceCertificate({ ...files, gatewayName }, now);
}

const of = (more: Partial<Wanted>) => makeCertificate({ name: "gateway", by: authority, ...more });
const believes = (shown: Made, more = {}) => reads(more).trusts([shown.der]) !== undefined;

test("a gateway's certificate that the authority issued, with the name that was asked for", () => {
  const shown = of({});
  const isSigned = reads({}).trusts([shown.der]);
  expect(isSigned).toBeDefined();
  expect(isSigned?.(Uint8Array.of(1), Uint8Array.of(1))).toBe(false);
  expect(believes(of({ uses: ["server"], dnsNames: ["gateway"] }))).toBe(true);
  expect(reads({}).name).toBe("dev1");
});

test("who is not believed: another device of the authority, by name or by use; a stranger; what has expired", () => {
  expect(believes(own)).toBe(false);
  expect(believes(of({ uses: ["client"] }))).toBe(false);
  expect(believes(of({ dnsNames: ["elsewhere"] }))).toBe(false);
  expect(believes(of({}), { gatewayName: "192.0.2.1" })).toBe(false);
  expect(believes(makeCertificate({ name: "gateway" }))).toBe(false);
  expect(believes(of({ signedBy: makeCertificate({ name: "thief" }).key }))).toBe(false);
  expect(believes(of({ to: "2030-05-31T00:00:00" }))).toBe(false);
  expect(believes(of({ from: "2030-06-02T00:00:00" }))).toBe(false);
  expect(believes(of({ curve: "secp384r1" }))).toBe(false);
  expect(believes(of({ isAuthority: true }))).toBe(false);
  expect(reads({}).trusts([])).toBeUndefined();
  expect(reads({}).trusts([Uint8Array.of(1, 2, 3)])).toBeUndefined();
});

test("the gateway's own certificate is believed by itself, until it expires", () => {
  const self = makeCertificate({ name: "of itself" });
  expect(believes(self, { ca: self })).toBe(true);
  const old = makeCertificate({ name: "of itself", to: "2030-05-31T00:00:00" });
  expect(believes(old, { ca: old })).toBe(false);
  // A certificate that is no authority's proves no other certificate.
  expect(believes(makeCertificate({ name: "gateway", by: self }), { ca: self })).toBe(false);
});

test("a key that belongs to another certificate is said to, without a word of it", () => {
  const other = makeCertificate({ name: "other" });
  expect(() => reads({ key: other })).toThrow(/own\.key does not belong to the certificate in .*own\.pem/);
});
