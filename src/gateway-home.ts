/** Home Assistant in this gateway: the data for it, and the connection over which they are published. */
import { statusTopicOf } from "./config/core-options.ts";
import { Declarations } from "./config/payloads.ts";
import type { GatewayConfig } from "./config/schema.ts";
import type { GatewayEvent } from "./core/event.ts";
import type { GatewayCore } from "./core/gateway-core.ts";
import type { Input } from "./core/input.ts";
import { homeId } from "./core/own-ids.ts";
import type { PayloadPolicy } from "./core/payloads.ts";
import { Home } from "./home-assistant/home.ts";
import { OwnConnection, type Speaker, type Told } from "./upstream/own-connection.ts";
import type { WireOctets } from "./upstream/wire-octets.ts";

export interface HomeParts {
  readonly config: GatewayConfig;
  readonly version: string;
  /** The core is created after this object, so it is passed as a function. */
  readonly core: () => GatewayCore;
  readonly handle: (input: Input) => void;
  readonly told: Told;
  readonly random: () => number;
  /** Counts the octets of the default upstream, because Home Assistant is at the same broker. */
  readonly wire: WireOctets;
}

export class HomeAssistant {
  #declarations: Declarations;
  readonly #home: Home;
  readonly #connection: OwnConnection;

  /** @throws {GatewayError} ERR_UPSTREAM_OPTIONS */
  constructor({ config, version, core, handle, told, random, wire }: HomeParts) {
    const { upstream, homeAssistant, payloads } = config;
    this.#declarations = new Declarations(payloads);
    const isDeclaring = () => this.#declarations.isSayingSomething;
    this.#home = new Home(
      {
        prefix: homeAssistant.prefix,
        gateway: upstream.serviceClientId,
        version,
        topicPrefix: upstream.topicPrefix,
        statusTopic: `${upstream.topicPrefix}${statusTopicOf(config) ?? ""}`,
      },
      {
        client: (clientId) => {
          const found = core().session(clientId);
          return found && factsOf(found);
        },
        clientIds: () => idsOf(core()),
        says: (clientId, topicName) => this.#declarations.says(clientId, topicName),
        takes: (clientId, topicName) => this.#declarations.takes(clientId, topicName),
        get isDeclaring() {
          return isDeclaring();
        },
        counts: () => countsOf(core()),
        forgetState: (clientId) => handle({ kind: "stateUnwanted", clientId }),
      },
      { set: (callback, ms) => endOf(setTimeout(callback, ms)) },
    );
    this.#connection = new OwnConnection(upstream, homeId(upstream), speakerFor(this.#home), { told, random, wire });
  }

  /** The same policy; decoded publications are also reported to Home Assistant. */
  watching(policy: PayloadPolicy | undefined): PayloadPolicy | undefined {
    if (!policy) return undefined;
    return {
      up: (clientId, topicName, payload, origin) => {
        const made = policy.up(clientId, topicName, payload, origin);
        if (made?.is === "made" && clientId !== undefined) this.#home.saw(clientId, topicName);
        return made;
      },
      down: policy.down,
    };
  }

  start(): void {
    this.#connection.start();
  }

  happened(event: GatewayEvent): void {
    this.#home.happened(event);
  }

  reload({ payloads, upstream }: GatewayConfig): void {
    this.#declarations = new Declarations(payloads);
    this.#home.declarationsChanged();
    this.#connection.reload(upstream);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}

function endOf(timer: NodeJS.Timeout): () => void {
  timer.unref();
  return () => clearTimeout(timer);
}

function factsOf({ view, record }: NonNullable<ReturnType<GatewayCore["session"]>>) {
  const { keepAliveSeconds, sleepSeconds } = view;
  return { keepAliveSeconds, sleepSeconds, filters: record.subscriptions.map(({ filter }) => filter) };
}

function* idsOf(core: GatewayCore): IterableIterator<string> {
  for (const { clientId } of core.sessions()) yield clientId;
}

/** The connection's publications are retained by the broker; received payloads are converted to text. */
function speakerFor(home: Home): Speaker {
  return {
    filters: home.filters,
    qos: 1,
    words: { works: "devices are announced to Home Assistant", fails: "devices cannot be announced to Home Assistant" },
    connected: (outlet) =>
      home.connected({ publish: (topicName, text) => outlet.publish(topicName, text, { qos: 1, retain: true }) }),
    disconnected: () => home.disconnected(),
    received: (topicName, payload, { retain }) =>
      home.received(topicName, Buffer.from(payload).toString("utf8"), retain),
  };
}

function countsOf({ sessionsByState, counters, sizes }: GatewayCore) {
  const { asleep, awake, lost } = sessionsByState;
  return { clients: sizes.sessions, asleep: asleep + awake, lost, waiting: counters.bufferedMessages };
}
