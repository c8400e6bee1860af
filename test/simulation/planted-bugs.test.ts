/** A simulation that never failed is not yet trusted: each of these faults, put between core and edges, must be found. */
import { expect, test } from "vitest";
import type { Core } from "../../src/core/core.ts";
import { v12 } from "../../src/core/dialects/v12.ts";
import type { Effect } from "../../src/core/effect.ts";
import type { GatewayCore } from "../../src/core/gateway-core.ts";
import type { Input } from "../../src/core/input.ts";
import type { ToClient } from "../../src/core/words.ts";
import { swarm } from "./swarm.ts";
import { World } from "./world.ts";

const seedsMax = 60;

/** The same core, with changed effects. */
function changing(
  core: Core,
  change: (effects: readonly Effect[], input: Input | undefined) => readonly Effect[],
): Core {
  return {
    handle: (input, now) => change(core.handle(input, now), input),
    timeout: (now) => change(core.timeout(now), undefined),
    nextDeadline: () => core.nextDeadline(),
    isConnecting: (peer) => core.isConnecting(peer),
  };
}

/** Changes messages on the way to devices; an array replaces one message by several. */
const sending = (change: (message: ToClient) => ToClient | ToClient[]) => (core: Core) =>
  changing(core, (effects) =>
    effects.flatMap((effect): readonly Effect[] =>
      effect.kind === "send" ? [change(effect.message)].flat().map((message) => ({ ...effect, message })) : [effect],
    ),
  );

const bugs: Record<string, (core: Core) => Core> = {
  "PUBACK carries another topic id": sending((m) =>
    m.type === "PUBACK" && m.reason === "accepted" ? { ...m, topicId: m.topicId + 1 } : m,
  ),
  "PUBLISH goes under an id that was not told": sending((m) =>
    m.type === "PUBLISH" && m.topicIdType === "normal" ? { ...m, topicId: m.topicId + 1 } : m,
  ),
  "two messages in flight": sending((m) =>
    m.type === "PUBLISH" && m.qos === 1 ? [m, { ...m, msgId: (m.msgId % 65_535) + 1 }] : m,
  ),
  "a QoS 2 message again instead of PUBREL": (core) => {
    const last = new Map<number, ToClient>();
    return sending((m) => {
      if (m.type === "PUBLISH" && m.qos === 2) last.set(m.msgId, m);
      const again = m.type === "PUBREL" ? last.get(m.msgId) : undefined;
      return again?.type === "PUBLISH" ? [m, { ...again, msgId: (again.msgId + 7) % 65_000 }] : m;
    })(core);
  },
  "a device's message is acknowledged and forgotten": (core) =>
    changing(core, (effects, input) =>
      effects.flatMap((effect): readonly Effect[] => {
        if (effect.kind !== "publish" || effect.publication.qos !== 1 || input?.kind !== "datagram") return [effect];
        const msgId = ((input.bytes[5] ?? 0) << 8) | (input.bytes[6] ?? 0);
        const topicId = ((input.bytes[3] ?? 0) << 8) | (input.bytes[4] ?? 0);
        return [
          {
            kind: "send",
            dialect: v12,
            to: input.from,
            message: { type: "PUBACK", topicId, msgId, reason: "accepted" },
          },
        ];
      }),
    ),
  "the broker is acknowledged, the message dropped": (core) => ({
    ...changing(core, (effects) => effects),
    handle: (input, now) => {
      if (input.kind !== "delivered" || input.publication.qos !== 1) return core.handle(input, now);
      return [{ kind: "ackBroker", linkId: input.linkId, ack: "puback", packetId: input.packetId }];
    },
  }),
  "QoS 2 is published again under another packet id": (core) =>
    changing(core, (effects) =>
      effects.map((effect) =>
        effect.kind === "publish" && effect.dup && effect.publication.qos === 2
          ? { ...effect, packetId: (effect.packetId % 65_000) + 100 }
          : effect,
      ),
    ),
  "a sleeping client is spoken to": (core) =>
    changing(core, (effects, input) => {
      if (input?.kind !== "delivered") return effects;
      const message: ToClient = {
        type: "PUBLISH",
        dup: false,
        qos: 0,
        retain: false,
        topicIdType: "short",
        topicId: 0x6162,
        msgId: 0,
        data: new Uint8Array(0),
      };
      const asleep = [...(core as GatewayCore).sessions()].filter(
        ({ state, peer }) => state === "asleep" && peer !== undefined,
      );
      return [
        ...effects,
        ...asleep.map(({ peer }): Effect => ({ kind: "send", dialect: v12, to: peer ?? "/", message })),
      ];
    }),
  "the old will is published": (core) =>
    changing(core, (effects) =>
      effects.map((effect) =>
        effect.kind === "publish" && effect.publication.topicName.startsWith("w/")
          ? {
              ...effect,
              publication: {
                ...effect.publication,
                payload: new TextEncoder().encode(`${effect.publication.topicName.slice(2)} will 0`),
              },
            }
          : effect,
      ),
    ),
  "silence counts also while the gateway stood still": (core) => ({
    ...changing(core, (effects) => effects),
    handle: (input, now) => (input.kind === "stoodStill" ? [] : core.handle(input, now)),
  }),
  "nobody watches the clock": (core) => ({ ...changing(core, (effects) => effects), nextDeadline: () => undefined }),
};

for (const [name, plant] of Object.entries(bugs)) {
  test(`found: ${name}`, { timeout: 120_000 }, () => {
    let found = "";
    for (let seed = 1; seed <= seedsMax && found === ""; seed++) {
      try {
        const world = new World({ ...swarm(seed), wrap: plant });
        world.live();
      } catch (error) {
        found = error instanceof Error ? error.message : String(error);
      }
    }
    expect(found, `not found within ${seedsMax} seeds`).not.toBe("");
  });
}
