/**
 * User, password and certificate of the gateway at the broker, for each device. What is read leaves this module only towards the broker.
 *
 * The files are read at the start, so that a mistake is found then. Before a connection is made they are read again if one of them has
 * changed. This needs no watcher, and detects every kind of replacement. If the new files cannot be used (a certificate is there, but its
 * key is not yet), the old ones stay in use until the files change again. Open connections keep the credentials with which they were made.
 */
import { X509Certificate } from "node:crypto";
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { createSecureContext, type SecureContext, type TLSSocketOptions } from "node:tls";
import type { IClientOptions } from "mqtt";
import { GatewayError } from "../errors.ts";
import type { BrokerUrl } from "./broker-url.ts";
import type { Notice } from "./link.ts";
import { type SecretReference, type UpstreamOptions, urlsOf } from "./options.ts";
import { PasswordCommand } from "./password-command.ts";
import { TlsSession } from "./tls-session.ts";

type TlsOptions = NonNullable<UpstreamOptions["tls"]>;

/**
 * The user and password of CONNECT for one identity at one broker, and MQTT.js's options for TLS; or why they are not
 * available now.
 */
export type Identity = Pick<IClientOptions, "username" | "password"> | { readonly failed: string };

export interface CertificateEnd {
  readonly of: "ca" | "client";
  readonly endsAt: number;
}

interface Group {
  readonly pattern: RegExp;
  readonly username: string | undefined;
  readonly password: string | PasswordCommand | undefined;
  readonly tls: TlsIdentity;
}

/**
 * The client certificate of the gateway, if it has one, and the TLS tickets that brokers gave to it. Other connections must not use these.
 */
interface TlsIdentity {
  readonly secureContext: SecureContext | undefined;
  /** One session for each broker's url in the configuration at most. */
  readonly sessions: Map<string, TlsSession>;
}

/** The data that were read at the same time. */
interface Loaded {
  readonly groups: readonly Group[];
  readonly general: Group;
  readonly psk: { readonly identity: string; readonly key: Buffer } | undefined;
  /** The stamps of the files that were read, by name. A changed stamp means a changed file. */
  readonly stamps: ReadonlyMap<string, string>;
  /** The soonest end of a certificate among each kind, milliseconds since 1970. */
  readonly certificates: readonly CertificateEnd[];
}

/** The files are checked for changes at most once in this time. */
const lookEveryMs = 1_000;

export class Credentials {
  #options: UpstreamOptions;
  #loaded: Loaded;
  readonly #told: Notice;
  readonly #now: () => number;
  #lookedAt: number;
  /** The stamps of the files when they could not be used; undefined: they could. */
  #unusable: string | undefined;

  /** @throws {GatewayError} ERR_UPSTREAM_OPTIONS when a file or variable is missing, or TLS options do not fit. */
  constructor(options: UpstreamOptions, told: Notice = () => {}, now: () => number = () => performance.now()) {
    this.#options = options;
    this.#told = told;
    this.#now = now;
    this.#loaded = load(options);
    this.#lookedAt = now();
  }

  /**
   * Reads everything again with these options.
   * @throws {GatewayError} ERR_UPSTREAM_OPTIONS; then nothing changes.
   */
  reload(options: UpstreamOptions): void {
    this.#loaded = load(options);
    this.#options = options;
    this.#unusable = undefined;
  }

  /**
   * The identity of a device's client id, or of the gateway itself. `done` is called immediately, unless a command has
   * to be asked. `session` makes the next TLS handshakes with this identity shorter; undefined: there is none.
   */
  of(
    clientId: string | undefined,
    url: BrokerUrl,
    done: (identity: Identity, session: TlsSession | undefined) => void,
  ): void {
    this.#look();
    const group = this.#groupOf(clientId);
    const { password } = group;
    const session = this.#isResuming(url) ? sessionOf(group.tls, url) : undefined;
    const username = group.username?.replaceAll("{clientId}", clientId ?? "") ?? url.username;
    const rest = {
      ...(username !== undefined && { username }),
      ...this.tlsFor(url, clientId),
    };
    if (password instanceof PasswordCommand)
      return password.ask((answer) =>
        done("failed" in answer ? answer : { ...rest, password: answer.password }, session),
      );
    const secret = password ?? url.password;
    done({ ...rest, ...(secret !== undefined && { password: secret }) }, session);
  }

  /** A resumed connection does not show a pre-shared key again, but brokers identify the gateway by it. */
  #isResuming(url: BrokerUrl): boolean {
    return url.isSecure && this.#options.tls?.resume !== false && this.#loaded.psk === undefined;
  }

  /** The broker refused this client's password. A password from a command is read again. */
  refused(clientId: string | undefined): void {
    const { password } = this.#groupOf(clientId);
    if (password instanceof PasswordCommand) password.forget();
  }

  /** The TLS options for this broker at the place where MQTT.js expects them, which differs for WebSocket. */
  tlsFor(url: BrokerUrl, clientId?: string): IClientOptions {
    const options = this.tlsOptions(url, clientId);
    if (options === undefined) return {};
    return (url.scheme === "wss" ? { wsOptions: options } : options) as IClientOptions;
  }

  /** Undefined: this broker is connected without TLS. */
  tlsOptions(url: BrokerUrl, clientId?: string): (TLSSocketOptions & { servername?: string }) | undefined {
    if (!url.isSecure) return undefined;
    const { tls } = this.#options;
    const { secureContext } = this.#groupOf(clientId).tls;
    const { psk } = this.#loaded;
    return {
      ...(secureContext && { secureContext }),
      ...(tls?.serverName !== undefined && { servername: tls.serverName }),
      ...(tls?.alpn && { ALPNProtocols: tls.alpn }),
      rejectUnauthorized: tls?.verify !== "off-which-is-insecure",
      ...(psk && {
        pskCallback: () => ({ psk: psk.key, identity: psk.identity }),
        ciphers: "PSK",
        maxVersion: "TLSv1.2",
        checkServerIdentity: () => undefined,
      }),
    };
  }

  get certificates(): readonly CertificateEnd[] {
    return this.#loaded.certificates;
  }

  #groupOf(clientId: string | undefined): Group {
    const { groups, general } = this.#loaded;
    return (clientId !== undefined && groups.find(({ pattern }) => pattern.test(clientId))) || general;
  }

  /** Reads files again that have changed. */
  #look(): void {
    if (this.#now() - this.#lookedAt < lookEveryMs) return;
    this.#lookedAt = this.#now();
    const files = [...this.#loaded.stamps.keys()];
    const changed = files.filter((file) => stampOf(file) !== this.#loaded.stamps.get(file));
    if (changed.length === 0) return;
    const seen = files.map(stampOf).join();
    if (seen === this.#unusable) return;
    try {
      this.#loaded = load(this.#options, { mayBeEmpty: false });
      this.#unusable = undefined;
      this.#told("info", `${changed.join(", ")} changed: new connections to the broker use the new content`);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      this.#unusable = seen;
      this.#told(
        "warn",
        `${changed.join(", ")} changed, and cannot be used: ${error.message}; the previous content stays in use`,
      );
    }
  }
}

/** @throws {GatewayError} ERR_UPSTREAM_OPTIONS */
function load(options: UpstreamOptions, { mayBeEmpty } = { mayBeEmpty: true }): Loaded {
  const { tls } = options;
  const stamps = new Map<string, string>();
  const isSecure = urlsOf(options).some((url) => /^(mqtts|wss):/.test(url));
  if (tls && !isSecure) fail("upstream.tls is set, but upstream.url is not mqtts:// or wss://", {});
  if (tls?.psk && (tls.cert || tls.ca)) fail("upstream.tls: set either a pre-shared key or certificates, not both", {});

  const read = (file: string): Buffer => {
    stamps.set(file, stampOf(file)); // taken before reading, so that later changes are noticed
    return readFileSync(file);
  };
  const ends = new Map<CertificateEnd["of"], number>();
  const noted = (of: CertificateEnd["of"], pem: Buffer): Buffer => {
    for (const endsAt of endsOf(pem)) ends.set(of, Math.min(endsAt, ends.get(of) ?? endsAt));
    return pem;
  };
  const secret = (reference: SecretReference): string => {
    if ("file" in reference) stamps.set(reference.file, stampOf(reference.file));
    const value = readSecret(reference);
    if (value === "" && !mayBeEmpty) fail("a secret is empty", reference);
    return value;
  };
  const contextOf = (from: Partial<TlsOptions> | undefined): SecureContext | undefined => {
    if (!isSecure || tls?.psk) return undefined;
    const { ca, cert, key, passphrase } = from ?? {};
    if ((cert === undefined) !== (key === undefined)) fail("upstream.tls: cert and key go together", { cert, key });
    try {
      // One context is shared by all connections that use it: a quarter of the memory and CPU of a connection.
      return createSecureContext({
        ...(ca !== undefined && { ca: noted("ca", certificates(read(ca), ca)) }),
        ...(cert !== undefined && { cert: noted("client", read(cert)) }),
        ...(key !== undefined && { key: read(key) }),
        ...(passphrase && { passphrase: secret(passphrase) }),
      });
    } catch (cause) {
      if (cause instanceof GatewayError) throw cause;
      return fail(`upstream.tls: ${cause instanceof Error ? cause.message : String(cause)}`, { ca, cert, key }, cause);
    }
  };
  const passwordOf = (from: Pick<UpstreamOptions, "password" | "passwordCommand">) => {
    if (from.password && from.passwordCommand) fail("upstream: set either password or passwordCommand, not both", {});
    if (from.passwordCommand) return commandOf(from.passwordCommand, options);
    return from.password && secret(from.password);
  };

  const psk = tls?.psk && { identity: tls.psk.identity, key: octetsOf(secret(tls.psk.key)) };
  const general: Group = {
    pattern: /^/,
    username: options.username,
    password: passwordOf(options),
    tls: { secureContext: contextOf(tls), sessions: new Map() },
  };
  const groups = options.credentials.map((group) => ({
    pattern: globToRegExp(group.clients),
    username: group.username ?? options.username,
    password: passwordOf(group) ?? general.password,
    tls: group.cert ? { secureContext: contextOf({ ...group, ca: tls?.ca }), sessions: new Map() } : general.tls,
  }));
  return { groups, general, psk, stamps, certificates: [...ends].map(([of, endsAt]) => ({ of, endsAt })) };
}

function sessionOf({ sessions }: TlsIdentity, { scheme, host, port }: BrokerUrl): TlsSession {
  const place = `${scheme}://${host}:${port ?? ""}`;
  const known = sessions.get(place);
  if (known) return known;
  const made = new TlsSession();
  sessions.set(place, made);
  return made;
}

/** Without this check a file without any certificate would be accepted, and then no broker would be trusted. */
function certificates(read: Buffer, ca: string): Buffer {
  if (!/-----BEGIN [A-Z0-9 ]*CERTIFICATE-----/.test(read.toString("latin1")))
    fail(`upstream.tls.ca: ${ca} holds no certificate; it begins with -----BEGIN CERTIFICATE----- (PEM)`, { ca });
  return read;
}

/**
 * The expiry times of all certificates in a file. OpenSSL ignores certificates that cannot be read, so they are left
 * out.
 */
function endsOf(pem: Buffer): number[] {
  const blocks = pem.toString("latin1").match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  return blocks.flatMap((block) => {
    try {
      return [Date.parse(new X509Certificate(block).validTo)];
    } catch {
      return [];
    }
  });
}

/**
 * Checked because Buffer.from stops without an error at the first character that is not hexadecimal; the key would be
 * shorter.
 */
function octetsOf(key: string): Buffer {
  if (!/^([0-9a-f]{2})+$/i.test(key))
    fail("upstream.tls.psk.key: it must be hexadecimal, two digits for each octet", {});
  return Buffer.from(key, "hex");
}

function commandOf(command: readonly string[], options: UpstreamOptions): PasswordCommand {
  const [program = ""] = command;
  if (program.includes("/")) {
    try {
      accessSync(program, constants.X_OK);
    } catch (cause) {
      fail(`upstream.passwordCommand: ${program} cannot be started`, { program }, cause);
    }
  }
  return new PasswordCommand(command, {
    timeoutSeconds: options.passwordCommandTimeoutSeconds,
    cacheSeconds: options.passwordCommandCacheSeconds,
  });
}

/** Changes when the file is written, replaced or removed. */
function stampOf(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false, bigint: true });
  return found ? `${found.ino} ${found.mtimeNs} ${found.size}` : "gone";
}

/** @throws {GatewayError} ERR_UPSTREAM_OPTIONS, naming the file or variable and never its content. */
export function readSecret(reference: SecretReference): string {
  if ("env" in reference) {
    const value = process.env[reference.env];
    return value ?? fail(`environment variable ${reference.env} is not set`, reference);
  }
  try {
    return readFileSync(reference.file, "utf8").replace(/\r?\n$/, "");
  } catch (cause) {
    return fail(`cannot read the secret in ${reference.file}`, reference, cause);
  }
}

/** `*` matches any number of characters, `?` one. */
export function globToRegExp(glob: string): RegExp {
  const escaped = glob
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${escaped}$`, "su");
}

function fail(say: string, details: Record<string, unknown>, cause?: unknown): never {
  throw new GatewayError("ERR_UPSTREAM_OPTIONS", details, { say, ...(cause !== undefined && { cause }) });
}
