/**
 * Clients that do not see what is larger than their buffer, or have no code for a REGISTER, at 30 % loss: what they cannot
 * take costs neither them nor their other messages, and nothing else is ever given up. `SIM_SEEDS` and `SIM_FIRST` choose.
 */
import { expect, test } from "vitest";
import type { Core } from "../../src/core/core.ts";
import type { Effect } from "../../src/core/effect.ts";
import { testOptions } from "./options.ts";
import { liveSmall, smallWorld } from "./small-world.ts";
import type { WorldOptions } from "./swarm.ts";

const first = Number(process.env["SIM_FIRST"] ?? 1);
const count = Math.min(Number(process.env["SIM_SEEDS"] ?? 3), 1_000);

for (const mode of ["transparent", "aggregating"] as const) {
  test(`small clients get what they can take (${mode}, ${count} seeds from ${first})`, { timeout: 600_000 }, () => {
    let givenUp = 0;
    for (let seed = first; seed < first + count; seed++) {
      const world = smallWorld(seed, mode);
      try {
        givenUp += liveSmall(world).law.seen.get("unanswered") ?? 0;
      } catch (error) {
        const lines = Number(process.env["SIM_TRACE"] ?? 0);
        if (lines > 0) process.stderr.write(`${world.trace.slice(-lines).join("\n")}\n`);
        throw new Error(`${error instanceof Error ? error.message : error} SEED=${seed} ${mode}`, { cause: error });
      }
    }
    // A world in which no client ever gets a message that is too large proves nothing.
    if (count >= 3) expect(givenUp).toBeGreaterThan(0);
  });
}

const saying =
  (say: (effect: Effect) => readonly Effect[]): NonNullable<WorldOptions["wrap"]> =>
  (core: Core): Core => ({
    handle: (input, now) => core.handle(input, now).flatMap(say),
    timeout: (now) => core.timeout(now).flatMap(say),
    nextDeadline: () => core.nextDeadline(),
    isConnecting: (peer) => core.isConnecting(peer),
  });

const faults: Record<string, { readonly more: () => Partial<WorldOptions>; readonly finding: RegExp }> = {
  "three copies are taken for proof": {
    more: () => ({ cheat: { retry: { ...testOptions.retry, retryLimit: 0 } } }),
    finding: /could have taken it|in flight|is unanswered/,
  },
  "who speaks is lost over a message": {
    more: () => {
      let messages = 0;
      return {
        wrap: saying((effect) => {
          if (effect.kind !== "send" || effect.message.type !== "PUBLISH" || effect.message.qos === 0) return [effect];
          if (!effect.message.dup || ++messages % 10 > 0 || effect.message.data.length < 200) return [effect];
          const clientId = effect.to.slice("sim/".length, effect.to.lastIndexOf(":"));
          const why = "no answer to a message";
          return [
            effect,
            { kind: "report", event: { event: "client_state", clientId, state: "lost", peer: effect.to, why } },
          ];
        }),
      };
    },
    finding: /is lost over a message/,
  },
  "what stands aside comes back under another MsgId": {
    more: () => ({
      wrap: saying((effect) => {
        if (effect.kind !== "send" || effect.message.type !== "PUBLISH" || effect.message.data.length < 200)
          return [effect];
        if (!effect.message.dup) return [effect];
        return [{ ...effect, message: { ...effect.message, msgId: (effect.message.msgId % 30_000) + 1 } }];
      }),
    }),
    finding: /then as|in flight|without DUP|is unanswered|has DUP|times/,
  },
  "the next one does not wait for a round": {
    more: () => {
      let copies = 0;
      return {
        wrap: saying((effect) => {
          if (effect.kind !== "send" || effect.message.type !== "PUBLISH" || effect.message.qos !== 1) return [effect];
          if (!effect.message.dup || ++copies % 20 > 0) return [effect];
          const msgId = (effect.message.msgId % 30_000) + 1;
          return [effect, { ...effect, message: { ...effect.message, msgId, dup: false } }];
        }),
      };
    },
    finding: /in flight|is unanswered|then as/,
  },
};

for (const [name, { more, finding }] of Object.entries(faults)) {
  test(`found: ${name}`, { timeout: 300_000 }, () => {
    let found = "";
    for (let seed = 1; seed <= 30 && !finding.test(found); seed++) {
      try {
        liveSmall(smallWorld(seed, "transparent", more()));
      } catch (error) {
        found = error instanceof Error ? error.message : String(error);
      }
    }
    expect(found).toMatch(finding);
  });
}
