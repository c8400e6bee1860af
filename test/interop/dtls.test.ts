/** DTLS with programs of other projects: the command lines of OpenSSL and GnuTLS, each suite, and a wrong key. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { DtlsTransport } from "../../src/transports/dtls/dtls.ts";
import { type DtlsOptions, dtlsOptions } from "../../src/transports/dtls/options.ts";
import { installed } from "../helpers/debian-packages.mjs";
import { dtlsBehindDoor } from "../helpers/dtls-behind-door.ts";
import { findGnutls } from "../helpers/find-gnutls.mjs";
import { type Authority, keyPemOf, type Made, makeAuthority, makeCertificate } from "../helpers/make-certificate.ts";
import { until } from "../helpers/test-gateway.ts";

const key = "00112233445566778899aabbccddeeff";
const openssl = installed("openssl");
const gnutls = findGnutls();

interface Program {
  readonly name: string;
  readonly missing: string | undefined;
  /** Ciphers as the program calls them, by what we call them. */
  readonly suites: Readonly<Record<string, string>>;
  /** What it prints of a handshake that it likes. */
  readonly agreed: readonly RegExp[];
  run(port: string, key: string, suite: string): ChildProcess;
  /** With a certificate and its key, files; `ca`: whom it trusts. */
  runWith(port: string, files: { cert: string; key: string; ca: string }, suite: string): ChildProcess;
}

const programs: readonly Program[] = [
  {
    name: "openssl s_client",
    missing: openssl === undefined ? "openssl is not installed" : undefined,
    suites: { ccm8: "PSK-AES128-CCM8:@SECLEVEL=0", ccm: "PSK-AES128-CCM", gcm: "PSK-AES128-GCM-SHA256" },
    agreed: [/Secure Renegotiation IS supported/, /Extended master secret: yes/],
    run: (port, psk, suite) =>
      spawn(openssl ?? "", [
        ...["s_client", "-dtls1_2", "-connect", `127.0.0.1:${port}`, "-psk_identity", "dev1"],
        ...["-psk", psk, "-cipher", suite],
      ]),
    runWith: (port, { cert, key: own, ca }, suite) =>
      spawn(openssl ?? "", [
        ...["s_client", "-dtls1_2", "-connect", `127.0.0.1:${port}`, "-cert", cert, "-key", own, "-CAfile", ca],
        ...["-verify_return_error", "-cipher", suite.replace(/^PSK-(AES128-CCM8?\b|AES128-GCM)/, "ECDHE-ECDSA-$1")],
      ]),
  },
  {
    name: "gnutls-cli",
    missing: "missing" in gnutls ? gnutls.missing : undefined,
    suites: { ccm8: "AES-128-CCM-8", ccm: "AES-128-CCM", gcm: "AES-128-GCM" },
    agreed: [/extended master secret, safe renegotiation/, /Handshake was completed/],
    run: (port, psk, suite) => {
      if ("missing" in gnutls) throw new Error(gnutls.missing);
      const { path, libraries } = gnutls;
      const env = { ...process.env, ...(libraries !== undefined && { LD_LIBRARY_PATH: libraries }) };
      const priority = `NONE:+VERS-DTLS1.2:+PSK:+${suite}:+AEAD:+SHA256:+SIGN-ALL:+COMP-NULL:+CTYPE-ALL`;
      const secret = ["--pskusername", "dev1", "--pskkey", psk];
      return spawn(path, ["--udp", "127.0.0.1", "-p", port, ...secret, "--priority", priority], { env });
    },
    runWith: (port, { cert, key: own, ca }, suite) => {
      if ("missing" in gnutls) throw new Error(gnutls.missing);
      const { path, libraries } = gnutls;
      const env = { ...process.env, ...(libraries !== undefined && { LD_LIBRARY_PATH: libraries }) };
      const groups = "+GROUP-SECP256R1:+SIGN-ECDSA-SHA256:+COMP-NULL:+CTYPE-X509";
      const priority = `NONE:+VERS-DTLS1.2:+ECDHE-ECDSA:+${suite}:+AEAD:+SHA256:${groups}`;
      const files = ["--x509certfile", cert, "--x509keyfile", own, "--x509cafile", ca, "--verify-hostname", "gateway"];
      return spawn(path, ["--udp", "127.0.0.1", "-p", port, ...files, "--priority", priority], { env });
    },
  },
];

/** A device's certificate, one that has expired, and one of another authority. */
let shown: Record<"good" | "expired" | "foreign", { cert: string; key: string; ca: string }>;
let authority: Authority;
beforeAll(() => {
  authority = makeAuthority();
  const foreign = makeCertificate({ name: "another", isAuthority: true });
  const fileOf = (what: string, made: Made) => {
    const [cert, own] = [join(authority.folder, `${what}.pem`), join(authority.folder, `${what}.key`)];
    writeFileSync(cert, made.pem);
    writeFileSync(own, keyPemOf(made), { mode: 0o600 });
    return { cert, key: own, ca: authority.options.ca };
  };
  shown = {
    good: fileOf("good", makeCertificate({ name: "dev1", by: authority.authority })),
    expired: fileOf("expired", makeCertificate({ name: "dev1", by: authority.authority, to: "2021-01-01T00:00:00" })),
    foreign: fileOf("foreign", makeCertificate({ name: "dev1", by: foreign })),
  };
});
afterAll(() => rmSync(authority.folder, { recursive: true }));

let folder: string;
let options: DtlsOptions;
let transport: DtlsTransport;
let child: ChildProcess | undefined;
let heard: string[] = [];
let said: string[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "dtls-"));
  const file = join(folder, "keys.json");
  writeFileSync(file, JSON.stringify({ dev1: key }), { mode: 0o600 });
  const certificates = authority.options;
  options = dtlsOptions.parse({ type: "dtls", host: "127.0.0.1", port: 0, keys: { file }, certificates });
});

const places = {
  "a gateway": () => new DtlsTransport(options),
  "a shard of a fleet, behind its front": () => dtlsBehindDoor(options),
};

async function begin(place: keyof typeof places): Promise<void> {
  transport = places[place]();
  heard = [];
  said = [];
  await transport.start({
    datagram: (from, bytes) => {
      heard.push(`${from} ${Buffer.from(bytes).toString().trim()}`);
      transport.send(from, Buffer.concat([Buffer.from("well heard: "), bytes]));
    },
    peerGone: () => {},
    failed: (error) => said.push(error.message),
    notice: (_level, say) => said.push(say),
  });
}

afterEach(async () => {
  const running = child;
  child = undefined;
  if (running && running.exitCode === null) await new Promise((done) => running.once("exit", done).kill("SIGKILL"));
  await transport?.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(run: (port: string) => ChildProcess): { printed: () => string } {
  let printed = "";
  child = run(transport.place.split(":").at(-1) ?? "");
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => (printed += data));
  return { printed: () => printed };
}

test.runIf(process.env["CI"])("the counterparts are there in CI", () => {
  expect(programs.flatMap(({ missing }) => missing ?? [])).toEqual([]);
});

const combinations = programs.flatMap((program) =>
  (Object.keys(places) as (keyof typeof places)[]).map((place) => ({ program, place })),
);
for (const { program, place } of combinations) {
  const { name, missing, suites, agreed } = program;
  const what = `${name} with ${place}${missing === undefined ? "" : ` (skipped: ${missing})`}`;
  describe.skipIf(missing !== undefined)(what, () => {
    beforeEach(() => begin(place));

    test.each(Object.entries(suites))("shakes hands with %s, is heard and hears", async (ours, theirs) => {
      const { printed } = start((port) => program.run(port, key, theirs));
      await until("our side", () => said.some((line) => line.includes(`: ${ours}`)));
      await until("its side", () => agreed.every((words) => words.test(printed())));
      child?.stdin?.write("hello\n");
      await until("it is heard", () => heard.includes("dtls/dev1 hello"));
      await until("it hears", () => printed().includes("well heard: hello"));
      child?.stdin?.end();
      await until("its goodbye", () => transport.secureReport().contexts === 0);
      expect(transport.secureReport().counters).toMatchObject({ handshakesDone: 1, badKeys: 0 });
    });

    test.each(Object.entries(suites))("with certificates and %s is heard and hears", async (ours, theirs) => {
      const { printed } = start((port) => program.runWith(port, shown.good, theirs));
      await until("our side", () => said.some((line) => line.includes(`: ${ours}`)));
      await until("its side", () => agreed.every((words) => words.test(printed())));
      child?.stdin?.write("hello\n");
      await until("it is heard", () => heard.includes("dtls/dev1 hello"));
      await until("it hears", () => printed().includes("well heard: hello"));
      expect(transport.identityOf("dtls/dev1")).toMatchObject({ name: "dev1", by: "certificate", verified: true });
    });

    test.each([
      ["expired", "has expired", /expired/i],
      ["foreign", "no authority that is configured", /unknown ca|certificate authority|CA is unknown/i],
    ] as const)("with a certificate that is %s hears why", async (which, ours, theirs) => {
      const { printed } = start((port) => program.runWith(port, shown[which], suites["gcm"] ?? ""));
      await until("the line", () => said.some((line) => line.includes(ours)));
      await until("its words", () => theirs.test(printed()));
      expect(transport.secureReport()).toMatchObject({ contexts: 0, counters: { handshakesDone: 0 } });
    });

    test("with a wrong key is not let in, and hears nothing of it", async () => {
      const wrong = "ff".repeat(16);
      const { printed } = start((port) => program.run(port, wrong, suites["gcm"] ?? ""));
      await until("the line", () => said.some((line) => line.includes('"dev1"') && line.includes("does not match")));
      expect(printed()).not.toMatch(/alert/i);
      expect(transport.secureReport()).toMatchObject({ contexts: 0, counters: { handshakesDone: 0, badKeys: 1 } });
    });
  });
}
