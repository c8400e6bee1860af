/**
 * Devices over DTLS: the shipped server, join and device side in worlds where devices move, sleep and lose power, the gateway is killed
 * between any two effects, its store is an older copy of itself, and an attacker repeats datagrams. secure-network.ts has the rules.
 * `SIM_FIRST` and `SIM_SECURE_SEEDS` choose seeds; `SIM_TRACE=n` prints the last lines before a failure.
 */
import { expect, test } from "vitest";
import { liveSecure, secureSwarm } from "./secure-world.ts";

const first = Number(process.env["SIM_FIRST"] ?? 1);
const count = Number(process.env["SIM_SECURE_SEEDS"] ?? 6);
/** The first seeds are always the same: in them each kind of event is known to happen. For other seeds this is not known. */
const isUsualRun = first === 1 && count >= 6;

test.each(["transparent", "aggregating"] as const)(
  "no nonce twice, no handshake without need, nothing lost (%s)",
  { timeout: 3_600_000 },
  (mode) => {
    const seen = { handshakes: 0, restored: 0, repeated: 0, seals: 0 };
    for (let seed = first; seed < first + count; seed++) {
      try {
        const { secure } = liveSecure(secureSwarm(seed, mode));
        if (!secure) throw new Error("no DTLS in this world");
        seen.handshakes += secure.handshakes;
        seen.restored += secure.restored;
        seen.repeated += secure.repeated;
        seen.seals += secure.nonces.seals;
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        const again = `SIM_FIRST=${seed} SIM_SECURE_SEEDS=1 SIM_TRACE=300 npx vitest run test/simulation/secure.test.ts`;
        throw new Error(`${why}\nSEED=${seed} ${mode}; replay: ${again} -t ${mode}`, { cause: error });
      }
    }
    if (process.env["SIM_TRACE"]) process.stderr.write(`${JSON.stringify(seen)}\n`);
    if (isUsualRun) expect(Object.values(seen).every((times) => times > count)).toBe(true);
  },
);
