/** The gateway's decisions: peer to session, discovery, QoS -1, forwarders. One instance is one gateway. */
import type { Core } from "./core.ts";
import type { Effect } from "./effect.ts";
import type { Input } from "./input.ts";
import type { CoreEnvironment, CoreOptions } from "./options.ts";
import type { Instant } from "./types.ts";

export class GatewayCore implements Core {
  readonly options: CoreOptions;
  readonly environment: CoreEnvironment;

  constructor(options: CoreOptions, environment: CoreEnvironment) {
    this.options = options;
    this.environment = environment;
  }

  handle(_input: Input, _now: Instant): readonly Effect[] {
    return [];
  }

  timeout(_now: Instant): readonly Effect[] {
    return [];
  }

  nextDeadline(): Instant | undefined {
    return undefined;
  }
}
