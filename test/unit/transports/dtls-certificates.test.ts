/** Files with certificates: what is wrong in them is said with the file's name; and a change of them ends contexts. */
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lookAtFiles } from "../../../src/config/check-files.ts";
import { parseConfig } from "../../../src/config/load.ts";
import { certificateSuites } from "../../../src/secure/suites.ts";
import { readCertificateRing } from "../../../src/transports/dtls/certificates.ts";
import { DtlsTransport } from "../../../src/transports/dtls/dtls.ts";
import { dtlsOptions } from "../../../src/transports/dtls/options.ts";
import {
  type Authority,
  deviceWith,
  keyPemOf,
  makeAuthority,
  makeCertificate,
} from "../../helpers/make-certificate.ts";
import { SecureSocket } from "../../helpers/secure-socket.ts";
import { until } from "../../helpers/test-gateway.ts";

let authority: Authority;
beforeEach(() => {
  authority = makeAuthority();
});
afterEach(() => rmSync(authority.folder, { recursive: true }));

function file(name: string, content: string, mode = 0o600): string {
  const path = join(authority.folder, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

/** What `check` says of this listener. */
function looked(certificates: object): { problems: string[]; warnings: string[] } {
  const transports = [{ type: "dtls", host: "127.0.0.1", certificates }];
  const { problems, warnings } = lookAtFiles(parseConfig({ transports }), Date.parse("2030-06-01"));
  const own = (lines: string[]) => lines.filter((line) => line.startsWith("transports.0.certificates"));
  return { problems: own(problems), warnings: own(warnings) };
}

test("what is good is taken without a word, and a folder without pinned keys is warned of", () => {
  const { pinned, ...options } = authority.options;
  expect(looked(options)).toEqual({ problems: [], warnings: [] });
  expect(looked({ ...options, pinned }).warnings).toEqual([expect.stringContaining("there is no NAME.pem in")]);
});

test.each([
  ["no certificate", () => ({ cert: file("a.pem", "nothing") }), /holds no certificate/],
  ["a key of another", () => ({ key: file("a.key", keyPemOf(makeCertificate({ name: "x" }))) }), /does not belong to/],
  [
    "a key on another curve",
    () => ({ key: file("a.key", keyPemOf(makeCertificate({ name: "x", curve: "secp384r1" }))) }),
    /must be on P-256/,
  ],
  ["no key", () => ({ key: file("a.key", "nothing") }), /holds no private key/],
  ["a file that is not there", () => ({ ca: "/nowhere/ca.pem" }), /cannot be read/],
  [
    "an authority that is none",
    () => ({ ca: file("a.pem", makeCertificate({ name: "x" }).pem) }),
    /not the certificate of an authority/,
  ],
  ["a pinned file without a key", () => void file("pinned/dev1.pem", "nothing"), /neither a certificate nor/],
  [
    "a pinned key on another curve",
    () => void file("pinned/dev1.pem", makeCertificate({ name: "x", curve: "secp384r1" }).pem),
    /not on P-256/,
  ],
])("%s is a problem, with the name of the file", (_what, change, why) => {
  const { problems } = looked({ ...authority.options, ...change() });
  expect(problems).toEqual([expect.stringMatching(why)]);
  expect(problems[0]).toMatch(/\/\S+\.(pem|key)/);
});

test("two devices with one pinned key are a problem; who is good has to be said", () => {
  const { pem } = makeCertificate({ name: "x" });
  file("pinned/dev1.pem", pem);
  file("pinned/dev2.pem", pem);
  expect(looked(authority.options).problems).toEqual([expect.stringContaining("two devices in")]);
  const { cert, key } = authority.options;
  expect(() => dtlsOptions.parse({ type: "dtls", certificates: { cert, key } })).toThrow(/needs ca, pinned or both/);
});

test("a key that others may read, and dates, are warned of", () => {
  chmodSync(authority.options.key, 0o644);
  const { warnings } = readCertificateRing(authority.options, () => Date.parse("2039-12-20"));
  expect(warnings).toEqual([
    expect.stringContaining("chmod go-rwx"),
    expect.stringMatching(/gateway.pem expires on 2040-01-01/),
    expect.stringMatching(/ca.pem expires on 2040-01-01/),
  ]);
  expect(readCertificateRing(authority.options, () => Date.parse("2041-01-01")).warnings[1]).toMatch(/has expired/);
  expect(readCertificateRing(authority.options, () => Date.parse("2019-01-01")).warnings[1]).toMatch(/valid from/);
});

test("a device with a pinned key is let in, its name is kept for it, and it is out when the file is", async () => {
  const own = makeCertificate({ name: "whatever" });
  const pin = file("pinned/dev1.pem", own.pem);
  const transport = new DtlsTransport(
    dtlsOptions.parse({ type: "dtls", host: "127.0.0.1", port: 0, certificates: authority.options }),
  );
  const heard: string[] = [];
  await transport.start({
    datagram: (from, bytes) => heard.push(`${from} ${Buffer.from(bytes)}`),
    peerGone: () => {},
    failed: () => {},
    notice: () => {},
  });
  const device = new SecureSocket(Number(transport.place.split(":").at(-1)), {
    identity: "",
    key: new Uint8Array(0),
    suites: [certificateSuites.gcm],
    cidOctets: 0,
    certificate: deviceWith(own, authority.authority),
  });
  try {
    device.start();
    await until("the handshake", () => device.outcome === "opened");
    device.send(Buffer.from("hello"));
    await until("it is heard", () => heard.includes("dtls/dev1 hello"));
    expect(transport.identityOf("dtls/dev1")).toEqual({
      name: "dev1",
      by: "certificate",
      verified: true,
      clients: "{identity}",
    });
    expect([transport.reserves("dev1"), transport.reserves("dev2")]).toEqual([true, false]);
    rmSync(pin);
    transport.reload();
    await until("it is out", () => /alert 49/.test(device.outcome ?? ""));
  } finally {
    await device.close();
    await transport.close();
  }
});
