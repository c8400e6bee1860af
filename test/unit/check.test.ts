/** `check` tells the truth: what is wrong in the file, in what it names, and what does not do what it looks like. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { lookAtFiles } from "../../src/config/check-files.ts";
import { verdictOn } from "../../src/config/checked.ts";
import { parseJson } from "../../src/config/json.ts";
import { loadConfig, parseConfig, readConfig } from "../../src/config/load.ts";
import { warningsOf } from "../../src/config/warnings.ts";
import { Credentials } from "../../src/upstream/credentials.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "check-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** All that `check` would say, without starting it. */
function said(raw: unknown): { problems: string; warnings: string } {
  const path = file("gateway.config.json", typeof raw === "string" ? raw : JSON.stringify(raw));
  const { problems, warnings } = verdictOn(readConfig(path));
  return { problems: problems.join("\n"), warnings: warnings.join("\n") };
}

const up = (more: object) => ({ upstream: { url: "mqtt://127.0.0.1:1", ...more } });
const tls = (more: object) => ({ upstream: { url: "mqtts://b:1", tls: more } });
const udp = (more: object) => ({ transports: [{ type: "udp", host: "127.0.0.1", ...more }] });

describe("each mistake has a sentence that says what to type", () => {
  test.each([
    [udp({ port: "1883" }), /^transports\.0\.port: must be a number: type 1883, without quotes/],
    [up({ url: "tcp://b:1883" }), /upstream\.url: .*type "mqtt:\/\/b:1883"/],
    [up({ url: "ssl://b:8883" }), /type "mqtts:\/\/b:8883"/],
    [up({ url: "b.example:8883" }), /type "mqtts:\/\/b\.example:8883"/],
    [up({ url: "MQTT://b" }), /type "mqtt:\/\/b"/],
    [up({ url: "mqtt://b:x" }), /upstream\.url: .*type "mqtt:\/\/HOST:PORT"/],
    [up({ protocol: 5 }), /upstream\.protocol: .*type "5"/],
    [up({ protocol: "4" }), /upstream\.protocol: .*type "3\.1\.1"/],
    [up({ keepAliveSeconds: "60s" }), /type 60, without quotes/],
    [up({ connectTimeoutSeconds: 10_000 }), /at most 600 seconds; if milliseconds were meant, type 10 /],
    [up({ mode: "aggregate" }), /type "aggregating"/],
    [{ buffer: { timeToLiveSeconds: "1h" } }, /type 3600, without quotes/],
    [{ buffer: { totalBytesMax: "64MB" } }, /type 67108864, without quotes/],
    [{ buffer: { rules: [{ topics: "a/#/b" }] } }, /# stands alone behind the last slash/],
    [{ tryOutBroker: "true" }, /type true, without quotes/],
    [udp({ rssiMin: -80 }), /transports\.0\.rssiMin: a transport of type "udp" has no such key \(type "ble" has\)/],
    [{ transports: [{ port: 1 }] }, /transports\.0\.type: is missing: type "type": "udp"/],
    [{ transports: { type: "udp" } }, /transports: must be a list in \[ \]: put it in \[ \]/],
    [{ transports: [{ type: "serial", ports: "/dev/x" }] }, /type \["\/dev\/x"\]/],
    [{ topics: { predefined: { "a/b": 1 } } }, /type \{"1":"a\/b"\}/],
    [{ topics: { predefined: { "1": "" } } }, /^topics\.predefined\.1: must not be empty[^\n]*$/],
    [{ access: { rules: [{ allow: "*", deny: "x" }] } }, /a rule has allow or deny, not both; make two of it/],
    [{ access: { rules: [{ allow: "*", from: ["localhost"] }] } }, /type "127\.0\.0\.1"/],
    [{ access: { rules: [{ allow: "*", from: ["10.0.0.0/33"] }] } }, /at most 32: type "10\.0\.0\.0\/24"/],
    [
      { access: { rules: [{ allow: "*", from: ["transport:lora"] }] } },
      /there is no transport "lora"; type one of "udp"/,
    ],
    [{ retry: { rules: [{ transports: ["lora"] }] } }, /retry\.rules\.0\.transports: there is no transport "lora"/],
    [{ log: { level: "verbose" } }, /type "debug"/],
    [{ status: { topic: "gw/#" } }, /status\.topic: must not hold a wildcard/],
    [{ upstream: null }, /upstream: must be an object in \{ \}; for the default, leave the key out/],
    [up({ password: { env: "HOME" } }), /upstream\.username: is missing/],
    [up({ tls: {} }), /upstream\.tls: .*type "url": "mqtts:\/\/127\.0\.0\.1:8883"/],
    [{ ...up({}), api: { port: 1 } }, /api\.port: 1 is the port of the broker on this machine/],
    [udp({ host: "203.0.113.9" }), /transports\.0\.host: 203\.0\.113\.9 is no address of this machine; type/],
    [udp({ host: "myhost" }), /transports\.0\.host: "myhost" is a name; type/],
    [udp({ multicast: { group: "239.1.2.3", port: 5, interfaces: ["eth99"] } }), /this machine has no "eth99"/],
    [{ store: { folder: "/proc/x" } }, /store\.folder: nothing can be written in \/proc/],
    [up({ username: "a", password: { file: "none" } }), /upstream\.password\.file: there is no file .*none/],
    [up({ username: "a", password: { env: "NO_SUCH_ENV" } }), /type: export NO_SUCH_ENV=/],
    [up({ username: "a", passwordCommand: ["no-such-program"] }), /there is no program no-such-program/],
    [tls({ cert: "c.pem" }), /upstream\.tls\.key: is missing; cert and key go together/],
    [
      { transports: ["a", "b"].map((name) => ({ type: "udp", name, port: 5 })) },
      /transports\.1\.port: transports\.0 has UDP port 5 already/,
    ],
    [
      { transports: ["a", "b"].map((name) => ({ type: "serial", name, ports: ["/dev/x"] })) },
      /transports\.1\.ports: transports\.0 has \/dev\/x already/,
    ],
  ])("%j", (raw, sentence) => {
    expect(said(raw).problems).toMatch(sentence);
  });

  test.each([
    ['{ "log": { "level": "info", } }', /line 1, column 27: delete this comma/],
    ['{ # hello\n "log": {} }', /line 1, column 3: a comment begins with \/\/, not with #/],
    ['{ "log": {} } /* and so on', /line 1, column 15: a comment that begins here does not end/],
    ['/* { "log": {} }', /line 1, column 1: a comment that begins here does not end/],
    ['{ "log": /* { } }', /line 1, column 10: a comment that begins here does not end/],
    ["// nothing", /the file is empty/],
    ['{\n "log": {', /line 2, column 10: it ends too early: a } is missing for line 2, column 9/],
    ["{ 'log': {} }", /double quotes/],
    ["", /the file is empty/],
    ["transports:\n  - type: udp\n", /not YAML/],
    ['{ "log": {}\n "api": {} }', /line 2, column 2: a comma is missing/],
    ['{ "tryOutBroker": True }', /type true, false or null/],
    ['{ "log": { "level": "info", "level": "debug" } }', /^log\.level: appears twice, again at line 1, column 29/],
  ])("no JSON: %j", (text, sentence) => {
    expect(said(text).problems).toMatch(sentence);
  });

  test("comments may stand in it, wherever blanks may; in a text they are text", () => {
    const text =
      '// ours\n{ /* a */ "log" /* b */ : { "level" : // c\n"debug" }, "status": { "topic": "a//b/*c*/" } } // d';
    expect(parseJson(Buffer.from(text), "f")).toEqual({
      value: { log: { level: "debug" }, status: { topic: "a//b/*c*/" } },
    });
    expect(said('{ // first\n "log": { "level": "debug" } /* last */ }')).toEqual({ problems: "", warnings: "" });
    // Places are those of the file.
    expect(said('{ /* x\n */ "log": { "level" "debug" } }').problems).toMatch(/line 2, column 22: a colon/);
  });

  test("the mark that editors write before UTF-8 is taken, UTF-16 is told", () => {
    expect(parseJson(Buffer.from('\ufeff{ "log": {} }'), "f")).toEqual({ value: { log: {} } });
    expect(parseJson(Buffer.from("\ufeff{}", "utf16le"), "f")).toEqual({
      problems: ["f: is UTF-16; save it as UTF-8"],
    });
  });
});

describe("works, and is not what it looks like", () => {
  test.each([
    [up({ keepAliveSeconds: 60_000 }), /upstream\.keepAliveSeconds: 60000 seconds are 16\.7 hours; .*type 60$/],
    [up({ sessionExpirySeconds: 3_600_000 }), /sessionExpirySeconds: .*type 3600$/],
    [up({ topicPrefix: "site1" }), /upstream\.topicPrefix: .*type "site1\/"/],
    [up({ connections: 4 }), /upstream\.connections: has an effect only with mode "aggregating"/],
    [up({ url: "mqtt://127.0.0.1:1/foo" }), /upstream\.url: what follows host and port is not used with mqtt:\/\//],
    [{ topics: { predefined: { "1": "a", "2": "a" } } }, /topics\.predefined\.2: "a" has the id 1 already/],
    [{ buffer: { bytesMax: 2_000_000, totalBytesMax: 1_000 } }, /buffer\.bytesMax: one client may have 2000000/],
    [{ store: { kind: "memory" } }, /uplink\.whenAway: "store" needs a disk/],
    [{ access: { rules: [{ allow: "*", from: ["192.168.1.5/24"] }] } }, /means all of 192\.168\.1\.0\/24/],
    [{ access: { rules: [{ allow: "*", from: ["transport:ble"] }] } }, /there is no transport "ble"/],
    [{ transports: [{ type: "serial", ports: ["/dev/no-such"] }] }, /\/dev\/no-such is not there now/],
  ])("%j", (raw, sentence) => {
    const { problems, warnings } = said(raw);
    expect(problems).toBe("");
    expect(warnings).toMatch(sentence);
  });

  test("of what is usual, nothing is said", () => {
    const usual = {
      upstream: { sessionExpirySeconds: 30 * 86_400, keepAliveSeconds: 900 },
      topics: { predefined: { "1": "a" } },
    };
    expect(warningsOf(parseConfig(usual))).toEqual([]);
    expect(warningsOf(parseConfig({}))).toEqual([]);
  });
});

test("what is wrong in one place hides nothing elsewhere, and blames nothing that was left out", () => {
  const { problems } = said({
    lgo: {},
    gateway: { id: 256 },
    upstream: { url: "tcp://b", tls: { ca: "none.pem" } },
    transports: [{ type: "udp", host: "203.0.113.9", port: 5 }],
    api: { port: 1883 },
    buffer: { bytesMax: "1k" },
    topics: { predefined: { "0": "a" } },
  });
  expect(problems.split("\n").map((line) => line.split(":")[0])).toEqual([
    "gateway.id",
    "upstream.url",
    "buffer.bytesMax",
    "lgo",
    "topics.predefined.0",
    "upstream.tls.ca",
    "transports.0.host",
  ]);
});

test("a password in a url without its scheme is not repeated", () => {
  const { problems } = said(up({ url: "user:hunter2@broker.example.com:1883" }));
  expect(problems).toMatch(/type "mqtt:\/\/\*\*\*@broker\.example\.com:1883"/);
  expect(problems).not.toMatch(/hunter/);
});

describe("certificates and keys are opened", () => {
  const at = (name: string) => join(folder, name);
  beforeAll(() => {
    const fixture = (name: string) => readFileSync(new URL(`../helpers/fixtures/${name}`, import.meta.url));
    file("one.pem", fixture("client.pem"));
    file("one.key", fixture("client-key.pem"));
    file("two.pem", fixture("ca.pem"));
    file("two.key", fixture("server-key.pem"));
    file("one.der", new X509Certificate(fixture("client.pem")).raw);
    const lock = { type: "pkcs8", format: "pem", cipher: "aes-128-cbc", passphrase: "hunter2" } as const;
    file("locked.key", createPrivateKey(fixture("client-key.pem")).export(lock));
    for (const name of ["one.key", "two.key", "locked.key"]) chmodSync(at(name), 0o600);
    file("garbage.pem", "not a pem\n");
    file("secret", "hunter2\n");
    chmodSync(at("secret"), 0o600);
  });

  test.each([
    [{ ca: "garbage.pem" }, /upstream\.tls\.ca: .* holds no certificate/],
    [{ ca: "one.der" }, /openssl x509 -inform der/],
    [{ cert: "one.pem", key: "two.key" }, /upstream\.tls\.key: .*two\.key does not belong to the certificate/],
    [{ cert: "one.pem", key: "one.pem" }, /upstream\.tls\.key: .* holds no private key/],
    [{ cert: "one.pem", key: "locked.key" }, /is encrypted; type "passphrase"/],
    [
      { cert: "one.pem", key: "locked.key", passphrase: { file: "garbage.pem" } },
      /upstream\.tls\.passphrase: does not open/,
    ],
    [{ psk: { identity: "a", key: { file: "garbage.pem" } } }, /upstream\.tls\.psk\.key: .* is not hexadecimal/],
  ])("%j", (options, sentence) => {
    expect(said(tls(options)).problems).toMatch(sentence);
  });

  test("what fits is valid, and the end of a certificate is told a month before", () => {
    const options = tls({ ca: "two.pem", cert: "one.pem", key: "locked.key", passphrase: { file: "secret" } });
    expect(said(options)).toEqual({ problems: "", warnings: "" });
    const config = loadConfig(file("gateway.config.json", JSON.stringify(options)));
    const end = (name: string) => Date.parse(new X509Certificate(readFileSync(at(name))).validTo);
    expect(lookAtFiles(config, end("two.pem") - 10 * 86_400_000).warnings.join("\n")).toMatch(/tls\.ca: .* expires on/);
    expect(lookAtFiles(config, end("one.pem") + 1_000).warnings.join("\n")).toMatch(/tls\.cert: .* has expired on/);
  });

  test("a start refuses what would fail at each connection", () => {
    const start = (options: object) =>
      new Credentials(loadConfig(file("gateway.config.json", JSON.stringify(tls(options)))).upstream);
    expect(() => start({ ca: "garbage.pem" })).toThrow(/holds no certificate/);
    expect(() => start({ psk: { identity: "a", key: { file: "secret" } } })).toThrow(/hexadecimal/);
  });

  test("who else can read a secret is told", () => {
    chmodSync(at("secret"), 0o644);
    expect(said(up({ username: "a", password: { file: "secret" } })).warnings).toMatch(/everybody .*chmod o-rwx/);
    chmodSync(at("secret"), 0o600);
  });
});
