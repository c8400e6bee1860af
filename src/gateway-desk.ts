/** Part of the composition root: how a running gateway is asked. The control socket, the console and commands by MQTT ask the same desk. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { ControlServer } from "./api/control.ts";
import { ApiServer } from "./api/server.ts";
import type { GatewayConfig } from "./config/schema.ts";
import type { GatewayCore } from "./core/gateway-core.ts";
import { GatewayError } from "./errors.ts";
import type { Lookout } from "./gateway-console.ts";
import type { Vitals } from "./gateway-vitals.ts";
import { logAudit } from "./observe/audit.ts";
import type { Log } from "./observe/log.ts";
import { OperatorDesk } from "./runtime/desk.ts";
import { createOperator, type Devices, type Orders } from "./runtime/operator.ts";
import { backupOctets } from "./storage/backup.ts";
import type { Store } from "./storage/store.ts";
import type { Transport } from "./transports/transport.ts";

export interface DeskParts {
  readonly log: Log;
  readonly core: GatewayCore;
  readonly store: Store;
  readonly transports: ReadonlyMap<string, Transport>;
  readonly lookout: Lookout;
  readonly vitals: Vitals;
  readonly capture: Devices["capture"];
  readonly orders: Orders;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Why commands about sessions cannot be executed here; undefined: they can. */
  readonly saysWhyNot: () => string | undefined;
}

export class Desk {
  readonly #parts: DeskParts;
  #desk: OperatorDesk | undefined;
  #api: ApiServer | undefined;
  #control: ControlServer | undefined;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  /** The address that health and metrics are served at; "" = none. */
  get place(): string {
    return this.#api?.place ?? "";
  }

  /**
   * Opens the API and the control socket as configured. If an address cannot be opened, the log says so, and the
   * gateway runs without it.
   */
  async start({ api, store }: GatewayConfig): Promise<void> {
    await this.#startApi(api);
    await this.#startControl(store);
  }

  async close(): Promise<void> {
    await this.#api?.close();
    await this.#control?.close();
  }

  async #startApi(api: GatewayConfig["api"]): Promise<void> {
    if (!api.enabled) return;
    const { log, lookout, vitals } = this.#parts;
    const said = (who: string, what: string) => logAudit(log, { who, command: "console", input: "", outcome: what });
    const console = api.console ? lookout.console(this.operator(), said) : undefined;
    const server = new ApiServer(api, vitals.sources(), console);
    try {
      await server.start();
      this.#api = server;
      lookout.start();
      log.info(`health and metrics at ${server.place}`);
      if (console) log.info(`console at ${server.place}/ (for a link that logs in: mqtt-sn-gateway console)`);
    } catch (error) {
      this.#runsWithout(error);
    }
  }

  async #startControl(store: GatewayConfig["store"]): Promise<void> {
    if (store.kind === "memory") return;
    // A store on disk has already made the folder.
    if (store.kind === "redis") mkdirSync(store.folder, { recursive: true, mode: 0o700 });
    const server = new ControlServer(join(store.folder, "control.sock"), this.operator());
    try {
      await server.start();
      this.#control = server;
    } catch (error) {
      this.#runsWithout(error);
    }
  }

  #runsWithout(error: unknown): void {
    if (!(error instanceof GatewayError)) throw error;
    this.#parts.log.warn(`${error.message}. The gateway runs without it`);
  }

  /** The same desk is used for all ways to send commands. */
  operator(): OperatorDesk {
    if (this.#desk) return this.#desk;
    const { core, store, orders, now, lookout, log, saysWhyNot } = this.#parts;
    const operator = createOperator(core, store, orders, now, backupOctets, this.#devices(), lookout.installation);
    this.#desk = new OperatorDesk(operator, (entry) => logAudit(log, entry), saysWhyNot);
    return this.#desk;
  }

  #devices(): Devices {
    const { transports, vitals, capture } = this.#parts;
    const all = () => [...transports.values()];
    return {
      links: () => vitals.links(),
      forgetCounter: (address) => all().filter((transport) => transport.forgetCounter?.(address)).length > 0,
      bonds: () => all().flatMap((each) => (each.bonds?.() ?? []).map((bond) => ({ ...bond, transport: each.name }))),
      removeBond: (address) => all().filter((transport) => transport.removeBond?.(address)).length > 0,
      transports: [...transports.keys()],
      capture,
    };
  }
}
