/** What befalls a world, by the dice of its seed, until it heals. */
import { encode } from "../../src/wire/v12/codec.ts";
import type { World } from "./world.ts";

export class Troubles {
  readonly #world: World;
  #squatters = 0;

  constructor(world: World) {
    this.#world = world;
  }

  plan(): void {
    this.#planTroubles();
    this.#planFlaps();
    this.#planSquatters();
  }

  #planTroubles(): void {
    this.#world.time.plan(this.#world.rng.between(10_000, 120_000), () => {
      this.#planTroubles();
      if (this.#world.isHealed) return;
      const { outages, resets, moves, absences, garbage, stalls } = this.#world.options;
      if (outages && this.#world.rng.chance(0.3)) this.#outage();
      if (resets && this.#world.rng.chance(0.3)) this.#world.rng.pick(this.#world.devices).reset();
      if (moves && this.#world.rng.chance(0.5)) this.#world.rng.pick(this.#world.devices).move();
      if (absences && this.#world.rng.chance(0.5))
        this.#world.rng.pick(this.#world.devices).fallSilent(this.#world.rng.between(20_000, 400_000));
      if (absences && this.#world.rng.chance(0.3)) this.#world.rng.pick(this.#world.devices).sayGoodbye();
      if (garbage) this.#garbage();
      if (stalls && this.#world.rng.chance(0.5)) this.#world.standStill(this.#world.rng.between(500, 60_000));
    });
  }

  #planFlaps(): void {
    const { flapMs } = this.#world.options;
    if (!flapMs) return;
    this.#world.time.plan(this.#world.rng.between(...flapMs), () => {
      this.#planFlaps();
      if (!this.#world.isHealed) this.#world.broker.cutAll();
    });
  }

  #planSquatters(): void {
    if (!this.#world.options.squatters) return;
    this.#world.time.plan(this.#world.rng.between(1_000, 10_000), () => {
      this.#planSquatters();
      if (this.#world.isHealed) return;
      const number = ++this.#squatters;
      const connect = { type: "CONNECT", protocolId: 1, will: false, cleanSession: false, duration: 65_535 } as const;
      this.#world.network.fromDevice(`sim/squatter${number}:1`, encode({ ...connect, clientId: `squatter${number}` }));
    });
  }
  #outage(): void {
    this.#world.brokerLeaves(this.#world.rng.between(1_000, 120_000));
  }

  #garbage(): void {
    for (let i = 0; i < 20; i++) {
      const bytes = Uint8Array.from({ length: this.#world.rng.int(0, 40) }, () => this.#world.rng.int(0, 255));
      if (this.#world.rng.chance(0.7) && bytes.length > 1) bytes[0] = bytes.length;
      if (bytes.length > 1 && this.#world.rng.chance(0.7)) bytes[1] = this.#world.rng.int(0, 0x1e);
      this.#world.network.fromDevice(`sim/stranger${this.#world.rng.int(0, 5)}:1`, bytes);
    }
  }
}
