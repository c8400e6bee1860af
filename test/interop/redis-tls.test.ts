/** The store at a redis-server that speaks TLS: which servers are trusted, which are not, and the messages about them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { lookAtStore } from "../../src/cli/doctor/machine.ts";
import { parseConfig } from "../../src/config/load.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { RedisStore } from "../../src/storage/redis.ts";
import { commit, session, stored } from "../conformance/store-suite.ts";
import { keyPemOf, type Made, makeCertificate } from "../helpers/make-certificate.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";

const program = findRedis();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const folder = mkdtempSync(join(tmpdir(), "redis-tls-"));
const stores: RedisStore[] = [];

function file(name: string, content: string): string {
  writeFileSync(join(folder, name), content, { mode: 0o600 });
  return join(folder, name);
}

const pairOf = (made: Made, name: string) => ({
  cert: file(`${name}.pem`, made.pem),
  key: file(`${name}.key`, keyPemOf(made)),
});

const authority = makeCertificate({ name: "the authority", isAuthority: true });
const stranger = makeCertificate({ name: "another authority", isAuthority: true });
const ca = file("ca.pem", authority.pem);
const otherCa = file("other-ca.pem", stranger.pem);

async function server(certificate: Made, more: Readonly<Record<string, string>> = {}): Promise<RedisServer> {
  if ("missing" in program) throw new Error(program.missing);
  const { cert, key } = pairOf(certificate, `server-${certificate.der.length}-${Math.random()}`);
  const settings = { "tls-cert-file": cert, "tls-key-file": key, "tls-ca-cert-file": ca, "tls-auth-clients": "no" };
  const made = await RedisServer.create(program, { ...settings, ...more });
  servers.push(made);
  return made;
}

const servers: RedisServer[] = [];

function store(url: string, redis: Record<string, unknown> = {}, password?: string): RedisStore {
  const made = new RedisStore(storeOptions.parse({ kind: "redis", redis: { url, ...redis } }).redis, () => password);
  stores.push(made);
  return made;
}

const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(() => undefined).catch((error: unknown) => error);

describe.skipIf(missing !== undefined)(
  `redis-server by TLS${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    let shared: RedisServer;
    beforeAll(async () => {
      shared = await server(
        makeCertificate({ name: "redis", by: authority, dnsNames: ["localhost"], addresses: ["127.0.0.1"] }),
        { requirepass: "barn-secret" },
      );
    });
    afterEach(async () => {
      for (const each of stores.splice(0)) await each.close();
    });
    afterAll(async () => {
      for (const each of servers.splice(0)) await each.close();
      rmSync(folder, { recursive: true, force: true });
    });

    test.each(["localhost", "127.0.0.1"])(
      "rediss://%s: keeps sessions, and Node has nothing to warn of",
      async (host) => {
        const warned = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
        const there = store(`rediss://${host}:${shared.port}`, { tls: { ca } }, "barn-secret");
        await there.open();
        await commit(there, session("a"));
        expect((await stored(there)).map((each) => each.session.clientId)).toEqual(["a"]);
        expect(warned.mock.calls).toEqual([]);
        warned.mockRestore();
      },
    );

    test("a server of another authority is refused, in a sentence that says what to do", async () => {
      const error = await errorOf(store(shared.url, { tls: { ca: otherCa } }, "barn-secret").open());
      expect(error).toMatchObject({ code: "ERR_STORE_OPEN", details: { ailment: "rights" } });
      expect(String(error)).toMatch(
        /the server's certificate is not trusted \(.*\): name the authority that signed it in store\.redis\.tls\.ca/,
      );
      const byDefault = await errorOf(store(shared.url, {}, "barn-secret").open());
      expect(String(byDefault)).toMatch(/the server's certificate is not trusted/);
      expect(String(byDefault)).not.toContain("barn-secret");
      const config = parseConfig({ store: { kind: "redis", redis: { url: shared.url, tls: { ca: otherCa } } } });
      expect(await lookAtStore(config)).toMatchObject([{ is: "wrong", hint: expect.stringMatching(/tls\.ca/) }]);
    });

    test("a certificate for another name is refused, unless that name is asked for", async () => {
      const named = await server(makeCertificate({ name: "redis", by: authority, dnsNames: ["redis.example.org"] }));
      const error = await errorOf(store(named.url, { tls: { ca } }).open());
      expect(error).toMatchObject({ code: "ERR_STORE_OPEN", details: { ailment: "rights" } });
      expect(String(error)).toMatch(/the server's certificate is for another name .*store\.redis\.tls\.serverName/s);
      await store(named.url, { tls: { ca, serverName: "redis.example.org" } }).open();
    });

    test("a server that asks for a certificate of ours gets it; without one it is said", async () => {
      const strict = await server(makeCertificate({ name: "redis", by: authority, dnsNames: ["localhost"] }), {
        "tls-auth-clients": "yes",
      });
      const own = pairOf(makeCertificate({ name: "gateway", by: authority }), "gateway");
      await store(strict.url, { tls: { ca, ...own } }).open();
      const without = await errorOf(store(strict.url, { tls: { ca } }).open());
      expect(String(without)).toMatch(
        /the server closed the connection \(.*\): if it requires a client certificate, see store\.redis\.tls\.cert and/,
      );
    });

    test("redis:// to a port that speaks TLS does not look as if nobody were there", async () => {
      const error = await errorOf(store(`redis://127.0.0.1:${shared.port}`, {}, "barn-secret").open());
      expect(error).toMatchObject({ code: "ERR_STORE_OPEN" });
      expect(String(error)).toMatch(/the server closed the connection .*rediss:\/\//s);
    });
  },
);
