/** Commands over MQTT: joins the list of commands and the connection that receives them. */
import type { GatewayConfig } from "./config/schema.ts";
import type { GatewayEvent } from "./core/event.ts";
import { controlId } from "./core/own-ids.ts";
import { Remote, type RemoteParts } from "./remote/remote.ts";
import { OwnConnection } from "./upstream/own-connection.ts";
import { waysOf } from "./upstream/presets.ts";
import type { WireOctets } from "./upstream/wire-octets.ts";

export class RemoteControl {
  readonly #remote: Remote;
  readonly #connection: OwnConnection;

  /**
   * @param topic `control.topic`
   * @throws {GatewayError} ERR_UPSTREAM_OPTIONS
   */
  constructor(
    { upstream, control }: GatewayConfig,
    topic: string,
    parts: RemoteParts & { readonly random: () => number; readonly wire: WireOctets },
  ) {
    // At QoS 2 a command is executed only once.
    this.#remote = new Remote({ ...control, topic, qos: waysOf(upstream).qosMax }, parts);
    this.#connection = new OwnConnection(upstream, controlId(upstream), this.#remote, parts);
  }

  start(): void {
    this.#connection.start();
  }

  happened(event: GatewayEvent): void {
    this.#remote.happened(event);
  }

  reload({ upstream }: GatewayConfig): void {
    this.#connection.reload(upstream);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
