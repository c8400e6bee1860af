/** Part of the composition root: the parts with which the gateway of a shard in a fleet is made. */
import type { Managed } from "./config/managed.ts";
import type { GatewayEvent } from "./core/event.ts";
import type { ScriptProcess } from "./gateway-scripts.ts";
import type { Live } from "./observe/live.ts";
import type { PairMember } from "./storage/redis.ts";
import type { RedisSource } from "./storage/redis-source.ts";
import type { Transport, TurnedAway } from "./transports/transport.ts";

/** The parts that a shard's gateway gets from its process, in place of its own. */
export interface ShardParts {
  /** The ports of the fleet's front. */
  readonly transports: readonly Transport[];
  readonly managed: Managed;
  readonly member: PairMember;
  /** Called before anything is sent. False: another gateway owns the shard. */
  readonly owns: () => boolean;
  readonly redis: RedisSource;
  /** Runs the scripts for the payloads of all shards. It outlives the shard's gateway. */
  readonly scripts: ScriptProcess;
  /** The MQTT client ids of all own connections of the fleet. */
  readonly reservedIds: Pick<ReadonlySet<string>, "has">;
  /** Called with notices about the store, as it was found. */
  readonly noticed: (say: string) => void;
  /** The open pages of the console, which show all shards of the process. */
  readonly page: Pick<Live, "tap">;
  /** Called when a device could not prove its identity. */
  readonly turnedAway: (refusal: TurnedAway) => void;
  /** Called with each event of the shard's core. */
  readonly report: (event: GatewayEvent) => void;
}
