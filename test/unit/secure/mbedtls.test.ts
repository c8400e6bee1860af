/**
 * Recorded with mbed TLS 3.6.6, which has connection ids as RFC 9146 says: what it sent is taken, and what we answer is octet by
 * octet what it took then. A new port twice, and a restart of ours between; there was one handshake.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { SecureEffect, SecureInput } from "../../../src/secure/messages.ts";
import { SecureServer } from "../../../src/secure/server.ts";
import { nodeCrypto } from "../../../src/transports/dtls/node-crypto.ts";
import { testOptions } from "../../helpers/secure-world.ts";

interface Step {
  readonly up?: string;
  readonly down?: string;
  readonly address?: string;
  readonly heard?: string;
  readonly restart?: boolean;
}

const file = new URL("../../fixtures/mbedtls-3.6.6-dtls.json", import.meta.url);
const { recordings } = JSON.parse(readFileSync(file, "utf8")) as {
  recordings: readonly { suite: string; random: readonly string[]; steps: readonly Step[] }[];
};
const key = Buffer.from("00112233445566778899aabbccddeeff", "hex");

test.each(recordings)("$suite: handshake, five messages, two new ports and a restart", ({ random, steps }) => {
  const dice = [...random];
  const crypto = { ...nodeCrypto, random: () => Uint8Array.from(Buffer.from(dice.shift() ?? "", "hex")) };
  let server = new SecureServer(crypto, testOptions, 0);
  let stored: Uint8Array | undefined;
  const played: Step[] = [];
  const handle = (input: SecureInput) => {
    for (const effect of server.handle(input, 0)) perform(effect);
  };
  const perform = (effect: SecureEffect) => {
    if (effect.kind === "transmit")
      played.push({ down: Buffer.from(effect.bytes).toString("hex"), address: effect.address });
    else if (effect.kind === "askKey") handle({ kind: "key", token: effect.token, key });
    else if (effect.kind === "persist") {
      stored = effect.changes[0]?.record;
      handle({ kind: "persisted", token: effect.token, ok: true });
    } else if (effect.kind === "deliver") {
      const heard = Buffer.from(effect.bytes).toString();
      played.push({ heard });
      handle({ kind: "send", identity: "dev1", bytes: Buffer.from(`echo ${heard}`) });
    }
  };
  for (const { up, address, restart } of steps) {
    if (up !== undefined && address !== undefined) {
      played.push({ up, address });
      handle({ kind: "datagram", address, bytes: Uint8Array.from(Buffer.from(up, "hex")) });
    }
    if (!restart || !stored) continue;
    played.push({ restart });
    server = new SecureServer(crypto, testOptions, 0);
    handle({ kind: "restored", records: [stored] });
  }
  expect(played).toEqual(steps);
  expect(played.flatMap(({ heard }) => heard ?? [])).toEqual([0, 1, 2, 3, 4].map((i) => `hello ${i}`));
});
