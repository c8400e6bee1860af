/**
 * Part of the composition root: the MQTT connections of the gateway's own beside those for devices, for Home Assistant
 * and for commands of the operator.
 */
import type { GatewayConfig } from "./config/schema.ts";
import type { GatewayEvent } from "./core/event.ts";
import type { GatewayCore } from "./core/gateway-core.ts";
import type { Input } from "./core/input.ts";
import type { PayloadPolicy } from "./core/payloads.ts";
import { HomeAssistant } from "./gateway-home.ts";
import { RemoteControl } from "./gateway-remote.ts";
import type { Answer } from "./runtime/command.ts";
import type { CommandName } from "./runtime/commands.ts";
import type { Asker } from "./runtime/desk.ts";
import type { Told } from "./upstream/own-connection.ts";
import type { WireOctets } from "./upstream/wire-octets.ts";

export interface OwnConnectionsParts {
  readonly version: string;
  /** The core and the driver are made after this object, so they are passed as functions. */
  readonly core: () => GatewayCore;
  readonly handle: (input: Input) => void;
  readonly ask: (who: Asker, name: CommandName, query: URLSearchParams) => Promise<Answer>;
  readonly now: () => number;
  /** Milliseconds since 1970. */
  readonly wallClock: () => number;
  readonly told: Told;
  /** From 0 to just below 1. */
  readonly random: () => number;
  /** Counts the octets of the default upstream, because these connections are at the same broker. */
  readonly wire: WireOctets;
}

export class OwnConnections {
  readonly #home: HomeAssistant | undefined;
  readonly #remote: RemoteControl | undefined;

  /** @throws {GatewayError} ERR_UPSTREAM_OPTIONS */
  constructor(config: GatewayConfig, parts: OwnConnectionsParts) {
    const { version, core, handle, ask, now, wallClock, told, random, wire } = parts;
    if (config.homeAssistant.enabled)
      this.#home = new HomeAssistant({ config, version, core, handle, told, random, wire });
    const { topic } = config.control;
    if (topic !== undefined)
      this.#remote = new RemoteControl(config, topic, { desk: { ask }, now, wallClock, told, random, wire });
  }

  /** The gateway serves. */
  start(): void {
    this.#home?.start();
    this.#remote?.start();
  }

  happened(event: GatewayEvent): void {
    this.#home?.happened(event);
    this.#remote?.happened(event);
  }

  /** Home Assistant sees the values of the declarations. */
  watching(policy: PayloadPolicy | undefined): PayloadPolicy | undefined {
    return this.#home ? this.#home.watching(policy) : policy;
  }

  reload(config: GatewayConfig): void {
    this.#home?.reload(config);
    this.#remote?.reload(config);
  }

  async close(): Promise<void> {
    await Promise.all([this.#home?.close(), this.#remote?.close()]);
  }
}
