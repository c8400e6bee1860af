/** The console's password as it is stored: salted, with a slow hash. */
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";

/** Costs a tenth of a second and 32 MiB on a Raspberry Pi 4. */
const cost = { N: 2 ** 15, r: 8, p: 1 };
const octets = 32;

export const passwordCharactersMin = 10;

export async function hashOfPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const hash = await derived(password, salt, cost);
  const { N, r, p } = cost;
  return ["scrypt", N, r, p, salt.toString("base64url"), hash.toString("base64url")].join("$");
}

/** Also returns false if the hash is not valid. */
export async function isPasswordOf(hash: string, password: string): Promise<boolean> {
  const [kind, N, r, p, salt, expected] = hash.split("$");
  if (kind !== "scrypt" || salt === undefined || expected === undefined) return false;
  const wanted = Buffer.from(expected, "base64url");
  const found = await derived(password, Buffer.from(salt, "base64url"), { N: Number(N), r: Number(r), p: Number(p) });
  return found.length === wanted.length && timingSafeEqual(found, wanted);
}

function derived(password: string, salt: Buffer, options: typeof cost): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const maxmem = 256 * options.N * options.r;
    scrypt(password, salt, octets, { ...options, maxmem }, (error, key) => (error ? reject(error) : resolve(key)));
  });
}
