/** Devices of a test that speak DTLS: their keys in a file, and a relay for each. Half of them have a connection id. */
import { writeFileSync } from "node:fs";
import { suites } from "../../src/secure/suites.ts";
import { SecureRelay } from "./secure-relay.ts";

const key = "00112233445566778899aabbccddeeff";

export class KeyedDevices {
  /** The file for the gateways. */
  readonly file: string;
  /** The port that the encrypted datagrams go to. */
  port = 0;
  readonly #relays = new Map<string, SecureRelay>();
  readonly #settled = new Map<string, number>();

  /** `names`: nobody else may use them without a key. */
  constructor(file: string, names: readonly string[]) {
    this.file = file;
    writeFileSync(file, JSON.stringify(Object.fromEntries(names.map((name) => [name, key]))), { mode: 0o600 });
  }

  get count(): number {
    return this.#relays.size;
  }

  /** All have a context. A handshake in a moment in which a shard moves may have been made twice before. */
  settled(): void {
    for (const [name, { handshakes }] of this.#relays) this.#settled.set(name, handshakes);
  }

  /** Devices that made another handshake since they were settled, or whose context has ended. */
  get again(): readonly string[] {
    return [...this.#relays].flatMap(([name, { handshakes, outcome }]) =>
      handshakes === this.#settled.get(name) && outcome === "opened"
        ? []
        : [`${name}: ${handshakes} handshakes, ${outcome}`],
    );
  }

  /** The port that a device of this name has to write to. */
  async portFor(identity: string): Promise<number> {
    const cidOctets = this.#relays.size % 2 === 0 ? 0 : undefined;
    const relay = new SecureRelay(this.port, {
      ...{ identity, key: Buffer.from(key, "hex"), suites: [suites.ccm8], cidOctets },
    });
    this.#relays.set(identity, relay);
    return relay.open();
  }

  async close(): Promise<void> {
    for (const relay of this.#relays.values()) await relay.close();
  }
}
