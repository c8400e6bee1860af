/**
 * The brokers that the gateway serves, and which client uses which. A session keeps its upstream as long as it lives;
 * after a restart the rules are asked anew, and what is owed for the client goes where they say then.
 */
import type { UpstreamPolicy, UpstreamsPolicy } from "../options.ts";
import type { PeerId } from "../types.ts";
import { BrokerSession } from "./broker-session.ts";

/** One broker, with one set of credentials and rules. */
export class Upstream {
  /** "" for the one that serves whom no rule names. */
  readonly name: string;
  readonly options: UpstreamPolicy;
  /** The gateway's own MQTT session there: QoS -1, status, and the answer to "is the broker there?". */
  readonly service: BrokerSession;

  constructor(name: string, options: UpstreamPolicy) {
    this.name = name;
    this.options = options;
    this.service = new BrokerSession(0);
  }

  get isThere(): boolean {
    return this.service.link?.up === true;
  }
}

export class Upstreams {
  readonly default: Upstream;
  readonly all: readonly Upstream[];
  readonly #rules: UpstreamsPolicy | undefined;

  constructor(general: UpstreamPolicy, further: UpstreamsPolicy | undefined) {
    this.default = new Upstream("", general);
    this.all = [this.default, ...(further?.named ?? []).map(({ name, policy }) => new Upstream(name, policy))];
    this.#rules = further;
  }

  /** Whose broker this client uses; `clientId` is undefined for who publishes without a session. */
  of(clientId: string | undefined, peer: PeerId | undefined): Upstream {
    const name = this.#rules?.nameOf(clientId, peer);
    return (name !== undefined && this.all.find((upstream) => upstream.name === name)) || this.default;
  }
}
