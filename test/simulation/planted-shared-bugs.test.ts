/** Faults of a gateway whose clients share one connection, each put between core and edges: judge or observer finds them. */
import { expect, test } from "vitest";
import type { Core } from "../../src/core/core.ts";
import type { Effect } from "../../src/core/effect.ts";
import type { Input } from "../../src/core/input.ts";
import { swarm, type WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

const seedsMax = 40;

function changing(hear: (input: Input) => Input, say: (effect: Effect) => readonly Effect[]): WorldOptions["wrap"] {
  return (core: Core): Core => ({
    handle: (input, now) => core.handle(hear(input), now).flatMap(say),
    timeout: (now) => core.timeout(now).flatMap(say),
    nextDeadline: () => core.nextDeadline(),
    isConnecting: (peer) => core.isConnecting(peer),
  });
}

const asHeard = (input: Input) => input;
const asSaid = (effect: Effect) => [effect];

const faults: Record<string, { readonly wrap: () => WorldOptions["wrap"]; readonly finding: RegExp }> = {
  "the broker is acknowledged, and not every copy is on disk": {
    wrap: () => {
      let count = 0;
      return changing(asHeard, (effect) => {
        if (effect.kind !== "persist") return [effect];
        const changes = effect.changes.filter(({ of, record }) => of !== "queued" || !record || ++count % 5 > 0);
        return [{ ...effect, changes }];
      });
    },
    finding: /never got|after a later one|got the QoS 2 message .* times/,
  },
  "a copy is acknowledged and goes to nobody": {
    wrap: () => {
      let count = 0;
      return changing(
        (input) =>
          input.kind === "delivered" && input.publication.qos > 0 && ++count % 20 === 0
            ? { ...input, publication: { ...input.publication, topicName: "nobody" } }
            : input,
        asSaid,
      );
    },
    finding: /never got|after a later one/,
  },
  "a delivery that comes again after a cut is taken for a new one": {
    wrap: () =>
      changing(
        (input) => (input.kind === "delivered" && input.dup ? { ...input, packetId: input.packetId + 30_000 } : input),
        asSaid,
      ),
    finding: /got the QoS 2 message .* times|does not wait for/,
  },
  "what is retained goes to nobody now and then": {
    wrap: () => {
      let count = 0;
      return changing(
        (input) =>
          input.kind === "delivered" && input.publication.retain && ++count % 3 === 0
            ? { ...input, publication: { ...input.publication, topicName: "nobody" } }
            : input,
        asSaid,
      );
    },
    finding: /never got the retained/,
  },
  "what is retained goes to all who are subscribed": {
    wrap: () =>
      changing(
        (input) =>
          input.kind === "delivered" && input.publication.retain
            ? { ...input, publication: { ...input.publication, retain: false } }
            : input,
        asSaid,
      ),
    finding: /got the QoS 2 message .* times|after a later one|again after its PUBREC/,
  },
  "a publication is sent again under a new packet id": {
    wrap: () =>
      changing(asHeard, (effect) => [
        effect.kind === "publish" && effect.dup ? { ...effect, packetId: effect.packetId + 1 } : effect,
      ]),
    finding: /arrived 2 times|wait for the broker|neither|reached the broker after/,
  },
};

for (const [name, { wrap, finding }] of Object.entries(faults)) {
  test(`found: ${name}`, { timeout: 120_000 }, () => {
    expect(firstFinding(wrap), `within ${seedsMax} seeds`).toMatch(finding);
  });
}

function firstFinding(newWrap: () => WorldOptions["wrap"]): string {
  for (let seed = 1; seed <= seedsMax; seed++) {
    const wrap = newWrap();
    const options = swarm(seed, "aggregating");
    const core = { ...options.core, durable: true };
    try {
      const world = new World({ ...options, core, crashes: true, storeFailure: 0, ...(wrap && { wrap }) });
      world.live();
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
  return "nothing";
}
