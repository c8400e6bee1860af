/** DTLS against programs that nobody here wrote: OpenSSL's and GnuTLS's command lines, each suite, and a wrong key. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DtlsTransport } from "../../src/transports/dtls/dtls.ts";
import { dtlsOptions } from "../../src/transports/dtls/options.ts";
import { installed } from "../helpers/debian-packages.mjs";
import { findGnutls } from "../helpers/find-gnutls.mjs";
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
  },
];

let folder: string;
let transport: DtlsTransport;
let child: ChildProcess | undefined;
let heard: string[] = [];
let said: string[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "dtls-"));
  const file = join(folder, "keys.json");
  writeFileSync(file, JSON.stringify({ dev1: key }), { mode: 0o600 });
  const options = dtlsOptions.parse({ type: "dtls", host: "127.0.0.1", port: 0, keys: { file } });
  transport = new DtlsTransport(options);
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
});

afterEach(async () => {
  const running = child;
  child = undefined;
  if (running && running.exitCode === null) await new Promise((done) => running.once("exit", done).kill("SIGKILL"));
  await transport.close();
  rmSync(folder, { recursive: true, force: true });
});

function start(program: Program, psk: string, suite: string): { printed: () => string } {
  let printed = "";
  child = program.run(transport.place.split(":").at(-1) ?? "", psk, suite);
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (data) => (printed += data));
  return { printed: () => printed };
}

test.runIf(process.env["CI"])("the counterparts are there in CI", () => {
  expect(programs.flatMap(({ missing }) => missing ?? [])).toEqual([]);
});

for (const program of programs) {
  const { name, missing, suites, agreed } = program;
  describe.skipIf(missing !== undefined)(`${name}${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
    test.each(Object.entries(suites))("shakes hands with %s, is heard and hears", async (ours, theirs) => {
      const { printed } = start(program, key, theirs);
      await until("our side", () => said.some((line) => line.includes(`: ${ours}`)));
      await until("its side", () => agreed.every((words) => words.test(printed())));
      child?.stdin?.write("hello\n");
      await until("it is heard", () => heard.includes("dtls/dev1 hello"));
      await until("it hears", () => printed().includes("well heard: hello"));
      child?.stdin?.end();
      await until("its goodbye", () => transport.secureReport().contexts === 0);
      expect(transport.secureReport().counters).toMatchObject({ handshakesDone: 1, badKeys: 0 });
    });

    test("with a wrong key is not let in, and hears nothing of it", async () => {
      const wrong = "ff".repeat(16);
      const { printed } = start(program, wrong, suites["gcm"] ?? "");
      await until("the line", () => said.some((line) => line.includes('"dev1"') && line.includes("does not match")));
      expect(printed()).not.toMatch(/alert/i);
      expect(transport.secureReport()).toMatchObject({ contexts: 0, counters: { handshakesDone: 0, badKeys: 1 } });
    });
  });
}
