/**
 * Log-in to the console. There is no initial password: a user at a terminal of this machine gets a link with a token that is valid once and
 * for ten minutes. A browser keeps a random cookie. The gateway and its disk have only the hash of the cookie, so nobody can log in with a
 * copy of the file.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Role } from "../roles.ts";

const tokenMs = 600_000;
const tokensMax = 20;
const loginMs = 7 * 86_400_000;

export interface Login {
  /** SHA-256 of the cookie, in hexadecimal. */
  readonly hash: string;
  readonly role: Role;
  /** Milliseconds since 1970. */
  readonly until: number;
}

/** A token of a program, which is valid until it is removed. */
export interface Token {
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the token, in hexadecimal. */
  readonly hash: string;
}

export interface LoginStore {
  logins(): readonly Login[];
  change(change: (logins: readonly Login[]) => readonly Login[]): Promise<void>;
  /** True if this is the password; false if there is none. Slow on purpose, so that guessing takes long. */
  isPassword(password: string): Promise<boolean>;
  /** Tokens of programs. */
  tokens(): readonly Token[];
}

export interface LoggedIn {
  readonly role: Role;
  /**
   * The name in the log. For a browser it differs from other browsers and does not reveal the cookie; for a token it is
   * the token's name.
   */
  readonly name: string;
  readonly by: "console" | "token" | "ingress";
}

export class LogIn {
  readonly #store: LoginStore;
  readonly #wallClock: () => number;
  readonly #now: () => number;
  /** Tokens for one login, by hash. */
  readonly #tokens = new Map<string, { readonly role: Role; readonly until: number }>();

  /** @param now monotonic milliseconds, for tokens: setting the clock must not make a token valid for longer */
  constructor(store: LoginStore, wallClock: () => number, now: () => number) {
    this.#store = store;
    this.#wallClock = wallClock;
    this.#now = now;
  }

  /** Makes a token for one login. It may be shown on a terminal, and must not be logged. */
  newToken(role: Role): string {
    const token = randomBytes(24).toString("base64url");
    this.#tokens.set(hashOf(token), { role, until: this.#now() + tokenMs });
    const oldest = this.#tokens.keys().next();
    if (this.#tokens.size > tokensMax && !oldest.done) this.#tokens.delete(oldest.value);
    return token;
  }

  /** Returns a cookie; undefined: the token was used, is too old, or was never made. */
  async byToken(token: string): Promise<string | undefined> {
    const hash = hashOf(token);
    const found = this.#tokens.get(hash);
    this.#tokens.delete(hash);
    if (!found || found.until < this.#now()) return undefined;
    return this.#begin(found.role);
  }

  /** Returns a cookie; undefined: the password is wrong, or there is none. */
  async byPassword(password: string): Promise<string | undefined> {
    return (await this.#store.isPassword(password)) ? this.#begin("operator") : undefined;
  }

  who(cookie: string | undefined): LoggedIn | undefined {
    if (cookie === undefined) return undefined;
    const hash = hashOf(cookie);
    const login = this.#store.logins().find((each) => each.hash === hash);
    if (!login || login.until < this.#wallClock()) return undefined;
    return { role: login.role, name: hash.slice(0, 6), by: "console" };
  }

  /** The program that has this token; undefined: the token is not known. */
  byBearer(token: string): LoggedIn | undefined {
    const hash = hashOf(token);
    const found = this.#store.tokens().find((each) => each.hash === hash);
    return found && { role: found.role, name: found.name, by: "token" };
  }

  async end(cookie: string): Promise<void> {
    const hash = hashOf(cookie);
    await this.#store.change((logins) => logins.filter((each) => each.hash !== hash));
  }

  async #begin(role: Role): Promise<string> {
    const cookie = randomBytes(32).toString("base64url");
    const now = this.#wallClock();
    const login = { hash: hashOf(cookie), role, until: now + loginMs };
    await this.#store.change((logins) => [...logins.filter(({ until }) => until >= now), login]);
    return cookie;
  }
}

/** Seconds for which a browser keeps its cookie. */
export const loginSeconds = loginMs / 1_000;

const attemptsMs = 60_000;
const attemptsPerAddress = 5;
const attemptsMax = 30;

/** Limits guessing: five attempts a minute from one address, thirty from all addresses. */
export class Attempts {
  readonly #now: () => number;
  #since = 0;
  readonly #byAddress = new Map<string, number>();
  #all = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Counts an attempt. Returns the seconds to wait if there were too many. */
  tryFrom(address: string): number | undefined {
    const now = this.#now();
    if (this.#all === 0 || now - this.#since >= attemptsMs) {
      this.#since = now;
      this.#byAddress.clear();
      this.#all = 0;
    }
    const before = this.#byAddress.get(address) ?? 0;
    if (before >= attemptsPerAddress || this.#all >= attemptsMax)
      return Math.max(1, Math.ceil((this.#since + attemptsMs - now) / 1_000));
    this.#byAddress.set(address, before + 1);
    this.#all++;
    return undefined;
  }
}

/** The secrets are random values of 192 bits or more, so a fast hash is as secure as a slow one. */
export function hashOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
