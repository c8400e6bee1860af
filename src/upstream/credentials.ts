/**
 * Who we are at the broker, per device: user, password, certificate. Files and variables are read once, at start, so
 * that a mistake is found then; what was read never leaves this module but towards the broker.
 */
import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContext, type TLSSocketOptions } from "node:tls";
import type { IClientOptions } from "mqtt";
import { GatewayError } from "../errors.ts";
import type { SecretReference, UpstreamOptions } from "./options.ts";

type TlsOptions = NonNullable<UpstreamOptions["tls"]>;

/** What goes into MQTT.js's options for one identity. */
export type Identity = Pick<IClientOptions, "username" | "password"> & { readonly tls: IClientOptions | undefined };

interface Group {
  readonly pattern: RegExp;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly secureContext: SecureContext | undefined;
}

export class Credentials {
  readonly #groups: readonly Group[];
  readonly #default: Group;
  readonly #tls: TlsOptions | undefined;
  readonly #psk: { identity: string; key: Buffer } | undefined;
  readonly #secure: boolean;

  /** @throws {GatewayError} ERR_UPSTREAM_OPTIONS when a file or variable is missing, or TLS options do not fit. */
  constructor(options: UpstreamOptions) {
    const { tls } = options;
    this.#tls = tls;
    this.#secure = /^(mqtts|wss):/.test(options.url);
    if (tls && !this.#secure) fail("upstream.tls is set, but upstream.url is not mqtts:// or wss://", {});
    if (tls?.psk && (tls.cert || tls.ca))
      fail("upstream.tls: a pre-shared key and certificates exclude each other", {});
    this.#psk = tls?.psk && { identity: tls.psk.identity, key: Buffer.from(readSecret(tls.psk.key), "hex") };
    this.#default = {
      pattern: /^/,
      username: options.username,
      password: options.password && readSecret(options.password),
      secureContext: this.#context(tls),
    };
    this.#groups = options.credentials.map((group) => ({
      pattern: globToRegExp(group.clients),
      username: group.username ?? options.username,
      password: group.password ? readSecret(group.password) : this.#default.password,
      secureContext: group.cert ? this.#context({ ...group, ca: tls?.ca }) : this.#default.secureContext,
    }));
  }

  /** For a device's client id, or for the gateway itself. */
  of(clientId: string | undefined): Identity {
    const group =
      (clientId !== undefined && this.#groups.find(({ pattern }) => pattern.test(clientId))) || this.#default;
    return {
      ...(group.username !== undefined && { username: group.username.replaceAll("{clientId}", clientId ?? "") }),
      ...(group.password !== undefined && { password: group.password }),
      tls: this.#secure ? this.#tlsOptions(group) : undefined,
    };
  }

  #tlsOptions(group: Group): IClientOptions {
    const tls = this.#tls;
    const psk = this.#psk;
    return {
      ...(group.secureContext && { secureContext: group.secureContext }),
      ...(tls?.serverName !== undefined && { servername: tls.serverName }),
      ...(tls?.alpn && { ALPNProtocols: tls.alpn }),
      rejectUnauthorized: tls?.verify !== "off-which-is-insecure",
      ...(psk && {
        pskCallback: () => ({ psk: psk.key, identity: psk.identity }),
        ciphers: "PSK",
        maxVersion: "TLSv1.2",
        checkServerIdentity: () => undefined,
      }),
    } satisfies TLSSocketOptions & { alpn?: never } as IClientOptions;
  }

  /** One context is shared by all connections that use it: a quarter of the memory and CPU of a connection. */
  #context(
    from:
      | {
          ca?: string | undefined;
          cert?: string | undefined;
          key?: string | undefined;
          passphrase?: SecretReference | undefined;
        }
      | undefined,
  ): SecureContext | undefined {
    if (!this.#secure || this.#psk) return undefined;
    const { ca, cert, key, passphrase } = from ?? {};
    if ((cert === undefined) !== (key === undefined)) fail("upstream.tls: cert and key go together", { cert, key });
    try {
      return createSecureContext({
        ...(ca !== undefined && { ca: readFileSync(ca) }),
        ...(cert !== undefined && { cert: readFileSync(cert) }),
        ...(key !== undefined && { key: readFileSync(key) }),
        ...(passphrase && { passphrase: readSecret(passphrase) }),
      });
    } catch (cause) {
      if (cause instanceof GatewayError) throw cause;
      return fail(`upstream.tls: ${cause instanceof Error ? cause.message : String(cause)}`, { ca, cert, key }, cause);
    }
  }
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

/** `*` is any number of characters, `?` one. */
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
