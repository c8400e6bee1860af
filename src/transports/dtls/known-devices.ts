/** Keys and certificates of one DTLS transport. In a fleet the transports of all shards in a process share them. */
import { type CertificateRing, readCertificateRing } from "./certificates.ts";
import { type KeyRing, readKeys, withMade } from "./key-ring.ts";
import type { DtlsOptions } from "./options.ts";

export class KnownDevices {
  readonly #options: Pick<DtlsOptions, "keys" | "certificates">;
  #keys: KeyRing | undefined;
  #certificates: CertificateRing | undefined;
  #made: () => ReadonlyMap<string, Uint8Array> = () => new Map();

  constructor(options: Pick<DtlsOptions, "keys" | "certificates">) {
    this.#options = options;
  }

  /** Undefined: nothing was read yet. */
  get keys(): KeyRing | undefined {
    return this.#keys;
  }

  /** Undefined: devices have no certificates. */
  get certificates(): CertificateRing | undefined {
    return this.#certificates;
  }

  /** Advice for the operator, in plain sentences. */
  get warnings(): readonly string[] {
    return [...(this.#keys?.warnings ?? []), ...(this.#certificates?.warnings ?? [])];
  }

  /** The keys that the gateway itself made. Called before `read`. */
  takeMade(made: () => ReadonlyMap<string, Uint8Array>): void {
    this.#made = made;
  }

  /** Reads the files, or changes nothing. @throws {GatewayError} ERR_TRANSPORT_OPEN, naming the file. */
  read(): void {
    const { certificates } = this.#options;
    const keys = withMade(readKeys(this.#options.keys), this.#made);
    this.#certificates = certificates && readCertificateRing(certificates);
    this.#keys = keys;
  }
}
