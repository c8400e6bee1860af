/**
 * The upstreams of the gateway, and which client uses which. A session keeps its upstream as long as it exists. After a
 * restart the rules decide again, and publications that the gateway has accepted for the client go to the upstream that
 * the rules choose.
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
  /** "" for the upstream of all clients that no rule names. */
  readonly name: string;
  readonly options: UpstreamPolicy;
  /**
   * The gateway's own MQTT session at the broker: for QoS -1, for the status, and to know whether the broker can be
   * reached.
   */
  readonly service: BrokerSession<Client>;
  /** Connections that clients share; none if each client has its own. The first one is also the gateway's own. */
  readonly sharedConnections: readonly SharedConnection<Client>[];
  /** MQTT sessions of an earlier run that are left in order. */
  readonly leaving = new Set<SharedConnection<Client>>();
  readonly evidence = new BrokerEvidence();
  /** Clients wait until the subscriptions of the sessions in `leaving` are ended. */
  isHolding = false;
  /** While sessions are restored: clients that used a shared connection, by its key. */
  readonly movers: [home: string, client: Client][] = [];
  /**
   * How the broker sends a message to a connection with several matching filters; see `UpstreamPolicy.copies`.
   * `counted`: this could not be found out, and copies are counted.
   */
  copies: Copies | "unknown" | "asked" | "counted";
  /** All sessions of an earlier run are restored, and each filter is assigned to its connection. */
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

  /** The connections that clients share, their lanes, and the sessions that are left. */
  *allShared(): IterableIterator<SharedConnection<Client>> {
    for (const shared of this.sharedConnections) yield* shared.all();
    yield* this.leaving;
  }

  /** The connection that this client shares; undefined: it has its own. */
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
   * The MQTT client ids of the gateway's own connections. No client may have one of them, at any upstream: two names
   * may stand for the same broker, and a broker gives a session to the last client with its id. [MQTT-3.1.4-2]
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

  /** Client ids of other upstreams that would have the same MQTT client id at the same broker as this client. */
  *rivalsOf(clientId: string, upstream: Upstream<Client>): IterableIterator<[clientId: string, of: Upstream<Client>]> {
    const mqttClientId = upstream.options.clientIdPrefix + clientId;
    for (const other of this.all) {
      if (other === upstream || other.sharedConnections.length > 0 || !mayMeet(other.options, upstream.options))
        continue;
      const { clientIdPrefix } = other.options;
      if (mqttClientId.startsWith(clientIdPrefix)) yield [mqttClientId.slice(clientIdPrefix.length), other];
    }
  }

  /** The upstream of this client. `clientId` is undefined for a sender without a session. */
  of(clientId: string | undefined, peer: PeerId | undefined): Upstream<Client> {
    const name = this.#rules?.nameOf(clientId, peer);
    return (name !== undefined && this.all.find((upstream) => upstream.name === name)) || this.default;
  }
}

/** Whether these may be the same broker. */
export function mayMeet(a: UpstreamPolicy, b: UpstreamPolicy): boolean {
  if (a.places === undefined || b.places === undefined) return true;
  const places = new Set(a.places);
  return b.places.some((place) => places.has(place));
}
