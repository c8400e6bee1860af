/** The shipped core, whose state is looked at after every turn. */
import type { Effect } from "../../src/core/effect.ts";
import { GatewayCore } from "../../src/core/gateway-core.ts";
import type { Input } from "../../src/core/input.ts";
import type { Instant } from "../../src/core/types.ts";

export class CheckedCore extends GatewayCore {
  override handle(input: Input, now: Instant): readonly Effect[] {
    const effects = super.handle(input, now);
    this.check({ input, effects });
    return effects;
  }

  override timeout(now: Instant): readonly Effect[] {
    const effects = super.timeout(now);
    this.check({ input: undefined, effects });
    return effects;
  }
}
