/**
 * Part of the composition root: DTLS in a fleet. The socket and its door are at the front, and exist once in a process;
 * the contexts belong to the gateway of each shard. Keys and certificates are read once for all of them.
 */
import type { GatewayConfig } from "./config/schema.ts";
import { GatewayError } from "./errors.ts";
import type { SecureCounters } from "./secure/messages.ts";
import { newCounters } from "./secure/messages.ts";
import { DtlsDoor } from "./transports/dtls/door.ts";
import { DtlsTransport, dtlsCarrier } from "./transports/dtls/dtls.ts";
import { HandOverSeal } from "./transports/dtls/hand-over.ts";
import { KnownDevices } from "./transports/dtls/known-devices.ts";
import { createTransport } from "./transports/index.ts";
import { systemTimers } from "./transports/timers.ts";
import type { SecureReport, Transport, TurnedAway } from "./transports/transport.ts";

interface EncryptedNetwork {
  readonly door: DtlsDoor;
  readonly devices: KnownDevices;
  readonly seal: HandOverSeal;
}

export type NamedReport = SecureReport & { readonly transport: string };

export class FleetNetworks {
  /** The real transports, in the order of the configuration. */
  readonly transports: readonly Transport[];
  readonly doors: ReadonlyMap<string, DtlsDoor>;
  readonly #encrypted = new Map<string, EncryptedNetwork>();

  /**
   * `key`: the secret of the fleet. `turnedAway`: called when a device has shown a certificate that is not accepted.
   * @throws {GatewayError} ERR_CONFIG_INVALID when DTLS has no key.
   */
  constructor({ transports }: GatewayConfig, key: Uint8Array | undefined, turnedAway: (refusal: TurnedAway) => void) {
    this.transports = transports.map((options) => {
      if (options.type !== "dtls") return createTransport(options);
      if (!key) throw new GatewayError("ERR_CONFIG_INVALID", { problems: ["fleet.key: is missing"] });
      const [devices, seal, carrier] = [new KnownDevices(options), new HandOverSeal(key), dtlsCarrier(options)];
      this.#encrypted.set(options.name, {
        devices,
        seal,
        door: new DtlsDoor(options, { devices, seal, carrier, turnedAway }),
      });
      return carrier;
    });
    this.doors = new Map([...this.#encrypted].map(([name, { door }]) => [name, door]));
  }

  /** Reads keys and certificates. @throws {GatewayError} ERR_TRANSPORT_OPEN; those of that transport stay as they were. */
  read(): void {
    for (const { devices } of this.#encrypted.values()) devices.read();
  }

  /** Advice for the operator, in plain sentences. */
  get warnings(): readonly string[] {
    return [...this.#encrypted.values()].flatMap(({ devices }) => devices.warnings);
  }

  /** The transports of a shard's gateway. `config`: that of the shard; `ports`: those of the front. */
  ofShard({ transports }: GatewayConfig, ports: readonly Transport[]): Transport[] {
    return ports.map((port, i) => {
      const options = transports[i];
      const network = this.#encrypted.get(port.name);
      if (options?.type !== "dtls" || !network) return port;
      const { devices, seal } = network;
      const handedOver = (bytes: Uint8Array) => seal.opened(bytes);
      return new DtlsTransport(options, systemTimers, undefined, port, { devices, handedOver });
    });
  }

  /** The counters of the doors. */
  reports(): readonly NamedReport[] {
    return [...this.doors].map(([transport, door]) => ({ ...door.report(), transport }));
  }
}

/** The counters of DTLS of all shards in this process and of its doors, as sums. */
export class SecureTotals {
  readonly #now: () => readonly NamedReport[];
  /** The counts of gateways that have ended, by transport. */
  readonly #ended = new Map<string, SecureCounters>();

  constructor(now: () => readonly NamedReport[]) {
    this.#now = now;
  }

  /** A gateway ends, or its shard moves to another process. */
  retire(reports: readonly NamedReport[]): void {
    for (const { transport, counters } of reports)
      this.#ended.set(transport, sumOf(counters, this.#ended.get(transport)));
  }

  reports(): readonly NamedReport[] {
    const sums = new Map<string, NamedReport>();
    for (const { transport, contexts, handshakes, counters } of this.#now()) {
      const before = sums.get(transport);
      sums.set(transport, {
        transport,
        contexts: contexts + (before?.contexts ?? 0),
        handshakes: handshakes + (before?.handshakes ?? 0),
        counters: sumOf(counters, before?.counters ?? this.#ended.get(transport)),
      });
    }
    return [...sums.values()];
  }
}

function sumOf(one: SecureCounters, other: SecureCounters = newCounters()): SecureCounters {
  const sum = { ...one, certificatesRefused: addedTo(one.certificatesRefused, other.certificatesRefused) };
  for (const name of names) sum[name] += other[name];
  return sum;
}

function addedTo<Name extends string>(one: Record<Name, number>, other: Record<Name, number>): Record<Name, number> {
  const sum = { ...one };
  for (const name of Object.keys(sum) as Name[]) sum[name] += other[name];
  return sum;
}

type NumberName = Exclude<keyof SecureCounters, "certificatesRefused">;
const names = Object.keys(newCounters()).filter((name): name is NumberName => name !== "certificatesRefused");
