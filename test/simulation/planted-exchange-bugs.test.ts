/** Faults in the exchange with a device, each put between core and edges: the observer has to find them. */
import { expect, test } from "vitest";
import type { Core } from "../../src/core/core.ts";
import { v12 } from "../../src/core/dialects/v12.ts";
import type { Effect } from "../../src/core/effect.ts";
import type { Input } from "../../src/core/input.ts";
import type { ToClient } from "../../src/core/words.ts";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { testOptions } from "./options.ts";
import { swarm, type WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

type Send = Extract<Effect, { kind: "send" }>;
type Plant = Pick<WorldOptions, "wrap" | "cheat">;

const seedsMax = 40;

/** The same core; its messages to devices are changed. */
function sending(newChange: () => (send: Send, heard: Message | undefined) => readonly Effect[]): Plant {
  return onEffects(() => {
    const change = newChange();
    return (effects, heard) => effects.flatMap((effect) => (effect.kind === "send" ? change(effect, heard) : [effect]));
  });
}

function onEffects(
  newChange: () => (effects: readonly Effect[], heard: Message | undefined) => readonly Effect[],
): Plant {
  return {
    wrap: (core: Core): Core => {
      const change = newChange();
      return {
        handle: (input, now) => change(core.handle(input, now), messageIn(input)),
        timeout: (now) => change(core.timeout(now), undefined),
        nextDeadline: () => core.nextDeadline(),
        isConnecting: (peer) => core.isConnecting(peer),
      };
    },
  };
}

/** The same core; its inputs are changed. */
function hearing(change: (input: Input) => Input): Plant {
  return {
    wrap: (core: Core): Core => ({
      handle: (input, now) => core.handle(change(input), now),
      timeout: (now) => core.timeout(now),
      nextDeadline: () => core.nextDeadline(),
      isConnecting: (peer) => core.isConnecting(peer),
    }),
  };
}

function messageIn(input: Input): Message | undefined {
  if (input.kind !== "datagram") return undefined;
  const decoded = decode(input.bytes);
  return decoded.ok ? decoded.message : undefined;
}

/** The device's answer, as if it had come. */
function pretending(answer: (message: ToClient) => Message | undefined): Plant {
  return {
    wrap: (core: Core): Core => {
      const handle: Core["handle"] = (input, now) =>
        core.handle(input, now).flatMap((effect): readonly Effect[] => {
          const reply = effect.kind === "send" ? answer(effect.message) : undefined;
          if (effect.kind !== "send" || !reply) return [effect];
          return [effect, ...handle({ kind: "datagram", from: effect.to, bytes: encode(reply) }, now)];
        });
      return {
        handle,
        timeout: (now) => core.timeout(now),
        nextDeadline: () => core.nextDeadline(),
        isConnecting: (peer) => core.isConnecting(peer),
      };
    },
  };
}

/** Every message becomes PINGREQ, which no procedure of the core sends. */
const pinging = { ...v12, encode: () => encode({ type: "PINGREQ", clientId: "" }) };

/** Fault -> what the finding says. */
const faults: Record<string, { readonly plant: Plant; readonly finding: RegExp }> = {
  "an accepted publication is acknowledged before it is on disk": {
    plant: sending(() => (send) => {
      if (send.message.type !== "PUBACK" && send.message.type !== "PUBREC") return [send];
      return [{ kind: "send", dialect: send.dialect, to: send.to, message: send.message }];
    }),
    finding: /neither the broker has|the broker never got it/,
  },
  "what is read of a backlog is not all of it": {
    plant: hearing((input) => (input.kind === "fetched" ? { ...input, entries: input.entries.slice(1) } : input)),
    finding: /the broker never got it|reached the broker after/,
  },
  "a repetition forgets DUP": {
    plant: sending(() => (send) => [
      send.message.type === "PUBLISH" ? { ...send, message: { ...send.message, dup: false } } : send,
    ]),
    finding: /again without DUP/,
  },
  "a first PUBLISH claims to be a repetition": {
    plant: sending(() => (send) => [
      send.message.type === "PUBLISH" && send.message.qos === 1
        ? { ...send, message: { ...send.message, dup: true } }
        : send,
    ]),
    finding: /has DUP/,
  },
  "a QoS 2 repetition gets a MsgId of its own": {
    plant: sending(() => (send) => [
      send.message.type === "PUBLISH" && send.message.qos === 2 && send.message.dup
        ? { ...send, message: { ...send.message, msgId: (send.message.msgId % 65_000) + 400 } }
        : send,
    ]),
    finding: /then as|is unanswered|two in flight/,
  },
  "PINGRESP does not wait for the last acknowledgement": {
    plant: sending(
      () => (send, heard) =>
        heard?.type === "PINGREQ" && send.message.type === "PUBLISH" && send.message.qos > 0
          ? [send, { ...send, message: { type: "PINGRESP" } }]
          : [send],
    ),
    finding: /PINGRESP to .* is unanswered/,
  },
  "the next message does not wait for the acknowledgement": {
    plant: pretending((m) =>
      m.type === "PUBLISH" && m.topicIdType !== "name" && m.qos === 1
        ? { type: "PUBACK", topicId: m.topicId, msgId: m.msgId, returnCode: 0 }
        : undefined,
    ),
    finding: /is unanswered|two in flight/,
  },
  "REGISTER is taken for acknowledged": {
    plant: pretending((m) =>
      m.type === "REGISTER" ? { type: "REGACK", topicId: m.topicId, msgId: m.msgId, returnCode: 0 } : undefined,
    ),
    finding: /is unanswered|told as|two in flight/,
  },
  "PUBACK comes before the broker has the message": {
    plant: onEffects(() => (effects, heard) => {
      const publish = effects.find((effect) => effect.kind === "publish");
      if (heard?.type !== "PUBLISH" || heard.qos !== 1 || publish?.kind !== "publish") return effects;
      const to = /^(.*)~/.exec(publish.linkId)?.[1] ?? "";
      const message = { type: "PUBACK", topicId: heard.topicId, msgId: heard.msgId, reason: "accepted" } as const;
      return [...effects, { kind: "send", dialect: v12, to: `sim/${to}:1`, message }];
    }),
    finding: /neither the broker has/,
  },
  "two messages of one topic change places": {
    plant: onEffects(() => {
      let late: Send | undefined;
      return (effects) =>
        effects.flatMap((effect): readonly Effect[] => {
          if (effect.kind !== "send" || effect.message.type !== "PUBLISH" || effect.message.qos !== 0) return [effect];
          if (!late) {
            late = effect;
            return [];
          }
          const both = [effect, late];
          late = undefined;
          return both;
        });
    }),
    finding: /after a later one|which is asleep/,
  },
  "a goodbye does not stop the will": {
    plant: onEffects(() => (effects, heard) => {
      if (heard?.type !== "DISCONNECT" || heard.duration) return effects;
      return effects.map((effect) => (effect.kind === "closeLink" ? { ...effect, how: "abandon" } : effect));
    }),
    finding: /after its goodbye/,
  },
  "every stray message is told to connect again, and again": {
    plant: sending(
      () => (send, heard) =>
        send.message.type === "DISCONNECT" && heard && heard.type !== "DISCONNECT" ? [send, send] : [send],
    ),
    finding: /second unasked DISCONNECT/,
  },
  "the sleeper's answers are followed by a ping": {
    plant: sending(
      () => (send, heard) =>
        send.message.type === "DISCONNECT" && heard?.type === "DISCONNECT" && heard.duration
          ? [send, { ...send, dialect: pinging }]
          : [send],
    ),
    finding: /PINGREQ to .* asleep/,
  },
  "the buffer has no limit": {
    plant: { cheat: { buffer: { ...testOptions.buffer, messagesMax: 100_000, extraPerWakeMax: 100_000 } } },
    finding: /holds \d+ messages|in one wake-up/,
  },
  "an acknowledgement goes to the broker twice": {
    plant: onEffects(
      () => (effects) =>
        effects.flatMap((effect): Effect[] => (effect.kind === "ackBroker" ? [effect, effect] : [effect])),
    ),
    finding: /does not wait for/,
  },
};

for (const [name, { plant, finding }] of Object.entries(faults)) {
  test(`found: ${name}`, { timeout: 120_000 }, () => {
    expect(firstFinding(plant), `within ${seedsMax} seeds`).toMatch(finding);
  });
}

function firstFinding(plant: Plant): string {
  for (let seed = 1; seed <= seedsMax; seed++) {
    try {
      const world = new World({ ...swarm(seed), ...plant });
      world.live();
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
  return "nothing";
}
