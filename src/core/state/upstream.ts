/**
 * The upstreams of the gateway, and which client uses which. A session keeps its upstream as long as it exists. After a
 * restart the rules decide again, and what the gateway has accepted for the client goes to the upstream that they
 * choose.
 */
import type { UpstreamPolicy, UpstreamsPolicy } from "../options.ts";
import { ownIdsOf } from "../own-ids.ts";
import type { Copies, PeerId } from "../types.ts";
import { BrokerEvidence } from "./broker-evidence.ts";
import { BrokerSession } from "./broker-session.ts";
import type { ExchangeClient } from "./exchanges.ts";
import { hashOfText, SharedConnection } from "./shared-connection.ts";

/** One broker, with one set of credentials and rules. */
export class Upstream<Client extends ExchangeClient> {
  /** "" for the one that serves whom no rule names. */
  readonly name: string;
  readonly options: UpstreamPolicy;
  /** The gateway's own MQTT session there: QoS -1, status, and the answer to "is the broker there?". */
  readonly service: BrokerSession<Client>;
  /** Connections that clients share; none where each has its own. The first is also the service's. */
  readonly sharedConnections: readonly SharedConnection<Client>[];
  /** MQTT sessions of an earlier run that are left in order. */
  readonly leaving = new Set<SharedConnection<Client>>();
  readonly evidence = new BrokerEvidence();
  /** Something waits until their subscriptions are ended. */
  isHolding = false;
  /** While sessions are restored: clients that used a shared connection, by its key. */
  readonly movers: [home: string, client: Client][] = [];
  /**
   * How this broker sends copies to a connection several of whose filters match; see `UpstreamPolicy.copies`. `counted`: it
   * could not be found out, and copies are counted.
   */
  copies: Copies | "unknown" | "asked" | "counted";
  /** All sessions of an earlier run are back, and each filter stands where it belongs. */
  isSettled = false;

  constructor(name: string, options: UpstreamPolicy, random: () => number) {
    this.name = name;
    this.options = options;
    const count = options.mode === "aggregating" ? options.connections : 0;
    this.sharedConnections = Array.from(
      { length: count },
      (_, i) => new SharedConnection<Client>(this, i, Math.floor(random() * 65_535)),
    );
    this.copies = options.protocol === "5" ? "one" : (options.copies ?? "unknown");
    this.service = this.sharedConnections[0]?.broker ?? new BrokerSession(0);
  }

  get isThere(): boolean {
    const sessions =
      this.sharedConnections.length > 0 ? this.sharedConnections.map(({ broker }) => broker) : [this.service];
    return sessions.every(({ link }) => link?.up === true);
  }

  /** Those that clients share, their lanes, and those that are left. */
  *allShared(): IterableIterator<SharedConnection<Client>> {
    for (const shared of this.sharedConnections) yield* shared.all();
    yield* this.leaving;
  }

  /** The connection that this client shares; undefined when it has its own. */
  sharedOf(clientId: string): SharedConnection<Client> | undefined {
    return this.sharedConnections.length > 1
      ? this.sharedConnections[hashOfText(clientId) % this.sharedConnections.length]
      : this.sharedConnections[0];
  }
}

export class Upstreams<Client extends ExchangeClient> {
  readonly default: Upstream<Client>;
  readonly all: readonly Upstream<Client>[];
  /**
   * The MQTT client ids of the gateway's own connections. No client may have one of them, at whichever broker: two names
   * may stand for the same machine, and a broker gives everything to who comes last with an id. [MQTT-3.1.4-2]
   */
  readonly ownIds: ReadonlySet<string>;
  readonly #rules: UpstreamsPolicy | undefined;

  constructor(general: UpstreamPolicy, further: UpstreamsPolicy | undefined, random: () => number) {
    this.default = new Upstream<Client>("", general, random);
    const named = further?.named ?? [];
    this.all = [this.default, ...named.map(({ name, policy }) => new Upstream<Client>(name, policy, random))];
    this.#rules = further;
    this.ownIds = new Set(this.all.flatMap(({ options }) => ownIdsOf(options)));
  }

  /** Clients that would have the same id at the same broker as this one, were they there. */
  *rivalsOf(clientId: string, upstream: Upstream<Client>): IterableIterator<[clientId: string, of: Upstream<Client>]> {
    const mqttClientId = upstream.options.clientIdPrefix + clientId;
    for (const other of this.all) {
      if (other === upstream || other.sharedConnections.length > 0 || !mayMeet(other.options, upstream.options))
        continue;
      const { clientIdPrefix } = other.options;
      if (mqttClientId.startsWith(clientIdPrefix)) yield [mqttClientId.slice(clientIdPrefix.length), other];
    }
  }

  /** Whose broker this client uses; `clientId` is undefined for who publishes without a session. */
  of(clientId: string | undefined, peer: PeerId | undefined): Upstream<Client> {
    const name = this.#rules?.nameOf(clientId, peer);
    return (name !== undefined && this.all.find((upstream) => upstream.name === name)) || this.default;
  }
}

/** May these be the same broker? */
export function mayMeet(a: UpstreamPolicy, b: UpstreamPolicy): boolean {
  if (a.places === undefined || b.places === undefined) return true;
  const places = new Set(a.places);
  return b.places.some((place) => places.has(place));
}
