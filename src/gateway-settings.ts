/**
 * Part of the composition root: the settings that may change while the gateway runs (predefined topics, access,
 * payloads and their scripts), and the stage at which messages wait for a script.
 */
import { createAccessPolicy } from "./config/access.ts";
import { coreOptions, predefinedTopics } from "./config/core-options.ts";
import { hostForLimits } from "./config/host-network.ts";
import { type Managed, managedKeys, withManagedTopics } from "./config/managed.ts";
import { payloadPolicy } from "./config/payloads.ts";
import { afterReload, needRestart } from "./config/restart.ts";
import type { GatewayConfig } from "./config/schema.ts";
import { hasScripts, readScripts } from "./config/scripts.ts";
import type { AccessPolicy } from "./core/access.ts";
import type { GatewayCore } from "./core/gateway-core.ts";
import type { Input } from "./core/input.ts";
import type { CoreOptions } from "./core/options.ts";
import type { PayloadPolicy } from "./core/payloads.ts";
import type { PeerId } from "./core/types.ts";
import { type ScriptProcess, Scripts } from "./gateway-scripts.ts";
import { transportOf } from "./runtime/perform.ts";
import type { ScriptSource } from "./script/question.ts";
import type { Told } from "./script/runner.ts";
import type { Transport } from "./transports/transport.ts";

export interface SettingsParts {
  readonly managed: Managed;
  /** Filled before `hostOf` is called for the first time. */
  readonly transports: ReadonlyMap<string, Transport>;
  /** The core and the driver are made after this object, so they are passed as functions. */
  readonly core: () => GatewayCore;
  /** Passes the input to the core immediately, without the stage for scripts. */
  readonly submit: (input: Input) => void;
  /** Home Assistant sees the values of the declarations. */
  readonly watching: (policy: PayloadPolicy | undefined) => PayloadPolicy | undefined;
  /** The process of scripts that a fleet has for all its shards here. Undefined: this gateway has its own. */
  readonly sharedScripts: ScriptProcess | undefined;
  readonly told: Told;
  /** Milliseconds since 1970. */
  readonly wallClock: () => number;
}

export class Settings {
  /** The configuration at the start, with the parts that were read again since. */
  #config: GatewayConfig;
  readonly #parts: SettingsParts;
  #access: AccessPolicy | undefined;
  /** Undefined until the first declaration with a script. */
  #scripts: Scripts | undefined;
  /** This gateway ends, so no scripts begin. */
  #isOver = false;

  /** @throws {GatewayError} when a script cannot be read. */
  constructor(config: GatewayConfig, parts: SettingsParts) {
    this.#config = config;
    this.#parts = parts;
    this.#ownScripts(config); // if one cannot be read, the error is thrown now
  }

  get config(): GatewayConfig {
    return this.#config;
  }

  get scripts(): Scripts | undefined {
    return this.#scripts;
  }

  /** The options with which a core of this configuration begins. */
  coreOptions(): CoreOptions & { readonly payloads: PayloadPolicy | undefined } {
    const topics = withManagedTopics(this.#config.topics, this.#parts.managed.state);
    const options = coreOptions({ ...this.#config, topics }, this.#accessPolicy(this.#config));
    return { ...options, payloads: this.#payloads(this.#config) };
  }

  /** Called when the core exists. Scripts run from `startScripts` on. */
  loadScripts(payloads: PayloadPolicy | undefined): void {
    if (!hasScripts(this.#config.payloads)) return;
    this.#scripts = this.#newScripts();
    this.#scripts.load(this.#config, payloads);
  }

  async startScripts(): Promise<void> {
    const sources = this.#ownScripts(this.#config);
    if (sources) await this.#scripts?.start(sources);
  }

  /** No message waits for a script any more. */
  async endScripts(): Promise<void> {
    this.#isOver = true;
    await this.#scripts?.close();
  }

  /** Passes the input to the core, after its script if it has one. */
  handle(input: Input): void {
    if (this.#scripts) this.#scripts.stage.take(input);
    else this.#parts.submit(input);
  }

  /** The name under which limits count this peer's host. */
  hostOf(peer: PeerId): string {
    const transport = transportOf(peer, this.#parts.transports);
    const isInside = () => this.#access?.isInside(peer, transport.identityOf(peer)) === true;
    return hostForLimits(transport.hostOf(peer), isInside);
  }

  /** The console or the operator has changed the admission of a client, or a device's key. */
  accessChanged(): void {
    for (const transport of this.#parts.transports.values()) transport.keysChanged?.();
    this.handle({ kind: "accessChanged", access: this.#accessPolicy(this.#config) });
  }

  /** Topic ids that were given by hand have priority over those of the configuration. */
  predefinedChanged({ topics }: GatewayConfig = this.#config): void {
    const predefined = predefinedTopics(withManagedTopics(topics, this.#parts.managed.state));
    this.handle({ kind: "predefinedChanged", predefined });
  }

  /**
   * Takes over predefined topics, access rules, payloads and scripts.
   * @returns the sections that take effect only after a restart
   * @throws {GatewayError} when a script cannot be read; nothing is changed then.
   */
  reload(config: GatewayConfig): readonly string[] {
    const sources = this.#ownScripts(config);
    const restart = needRestart(this.#config, config);
    this.predefinedChanged(config);
    this.handle({ kind: "accessChanged", access: this.#accessPolicy(config) });
    const payloads = this.#payloads(config);
    this.handle({ kind: "payloadsChanged", payloads });
    this.#reloadScripts(config, payloads, sources);
    return restart;
  }

  /** All settings that can change while running were taken over, some of them by other parts. */
  taken(config: GatewayConfig): void {
    this.#config = afterReload(this.#config, config);
  }

  #reloadScripts(config: GatewayConfig, payloads: PayloadPolicy | undefined, sources?: readonly ScriptSource[]): void {
    if (this.#isOver) return;
    if (this.#scripts) return this.#scripts.load(config, payloads, sources);
    if (!hasScripts(config.payloads)) return;
    this.#scripts = this.#newScripts();
    this.#scripts.load(config, payloads);
    if (sources) void this.#scripts.start(sources);
  }

  /** Undefined: the owner of the shared process reads them, once for all shards. */
  #ownScripts({ payloads }: GatewayConfig): readonly ScriptSource[] | undefined {
    return this.#parts.sharedScripts ? undefined : readScripts(payloads);
  }

  #newScripts(): Scripts {
    const { core, submit, told, wallClock, sharedScripts: shared } = this.#parts;
    return new Scripts(this.#config, { core: core(), handle: submit, told, wallClock, shared });
  }

  #payloads({ payloads }: GatewayConfig): PayloadPolicy | undefined {
    return this.#parts.watching(payloadPolicy(payloads));
  }

  #accessPolicy({ access }: GatewayConfig): AccessPolicy {
    const { managed, transports } = this.#parts;
    const hostOf = (peer: PeerId) => transportOf(peer, transports).hostOf(peer);
    this.#access = createAccessPolicy(access, hostOf, managed.state.admitted, (clientId) => this.#hasKey(clientId));
    return this.#access;
  }

  /** If there is a key of this name, only a device with this key may use the name. */
  #hasKey(clientId: string): boolean {
    const { managed, transports } = this.#parts;
    if (managedKeys(managed).has(clientId)) return true;
    return [...transports.values()].some((transport) => transport.reserves?.(clientId) === true);
  }
}
