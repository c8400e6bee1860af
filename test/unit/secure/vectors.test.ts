/** Octets from other sources: if both ends are ours, they may share a mistake. */
import { createCipheriv, createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { masterSecret, premasterOfPsk, prf, trafficKeys } from "../../../src/secure/key-schedule.ts";
import { openRecord, readRecord, sealedRecord } from "../../../src/secure/record.ts";
import { suites } from "../../../src/secure/suites.ts";
import { ReplayWindow } from "../../../src/secure/window.ts";
import { nodeCrypto } from "../../../src/transports/dtls/node-crypto.ts";

const bytes = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
const text = (of: Uint8Array) => Buffer.from(of).toString("hex");

describe("keys", () => {
  test("P_SHA256: the vector that the TLS working group's list has", () => {
    const made = prf(
      nodeCrypto,
      bytes("9bbe436ba940f017b17652849a71db35"),
      "test label",
      bytes("a0ba9f936cda311827a6f796ffd5198c"),
      100,
    );
    expect(text(made)).toBe(
      "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def" +
        "17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66",
    );
  });

  test("the premaster secret of a pre-shared key: zeros as long as it, and it, each behind its length [RFC 4279 2]", () => {
    const [clientRandom, serverRandom] = [bytes("11".repeat(32)), bytes("22".repeat(32))];
    const premaster = Buffer.from("0003000000" + "0003abcdef", "hex");
    const seed = Buffer.concat([Buffer.from("master secret"), clientRandom, serverRandom]);
    const hmac = (of: Uint8Array) => createHmac("sha256", premaster).update(of).digest();
    const a1 = hmac(seed);
    const expected = Buffer.concat([hmac(Buffer.concat([a1, seed])), hmac(Buffer.concat([hmac(a1), seed]))]);
    const psk = bytes("abcdef");
    const made = masterSecret(nodeCrypto, {
      premaster: premasterOfPsk(psk),
      clientRandom,
      serverRandom,
      sessionHash: undefined,
    });
    expect(text(made)).toBe(expected.toString("hex", 0, 48));
  });

  test("the key block is cut as RFC 5246 6.3 has it: both keys, then both IVs", () => {
    const randoms = { clientRandom: bytes("11".repeat(32)), serverRandom: bytes("22".repeat(32)) };
    const master = bytes("33".repeat(48));
    const seed = bytes("22".repeat(32) + "11".repeat(32));
    const block = prf(nodeCrypto, master, "key expansion", seed, 40);
    const { clientKey, serverKey, clientIv, serverIv } = trafficKeys(nodeCrypto, suites.gcm, master, randoms);
    expect([clientKey, serverKey, clientIv, serverIv].map(text).join("")).toBe(text(block));
  });
});

describe("records, put together by hand as the RFCs say", () => {
  const key = bytes("c0".repeat(16));
  const iv = bytes("01020304");
  const seqBytes = "0001000000000005";

  /** Straight from the text of the RFC, with nothing of ours. */
  function byHand(about: string, inner: string, cipher: "aes-128-ccm" | "aes-128-gcm", authTagLength: number): string {
    const nonce = bytes(`01020304${seqBytes}`);
    const plaintextLength = inner.length / 2;
    const made =
      cipher === "aes-128-ccm"
        ? createCipheriv(cipher, key, nonce, { authTagLength })
        : createCipheriv(cipher, key, nonce, { authTagLength });
    made.setAAD(bytes(about), { plaintextLength });
    const sealed = Buffer.concat([made.update(bytes(inner)), made.final(), made.getAuthTag()]);
    return sealed.toString("hex");
  }

  const direction = (suite: (typeof suites)["ccm8"]) => ({
    aead: nodeCrypto.aead(suite.aead, key),
    iv,
    tagOctets: suite.tagOctets,
  });

  test.each([
    ["ccm8", "aes-128-ccm", 8],
    ["ccm", "aes-128-ccm", 16],
    ["gcm", "aes-128-gcm", 16],
  ] as const)("%s, bare [RFC 5246 6.2.3.3, RFC 6655 3]", (name, cipher, tag) => {
    const content = bytes("0c0062000000010203");
    const record = sealedRecord(direction(suites[name]), { type: 23, seq: 5, cid: undefined, content });
    const sealed = byHand(`${seqBytes}17fefd0009`, text(content), cipher, tag);
    expect(text(record)).toBe(`17fefd${seqBytes}00${(17 + tag).toString(16)}${seqBytes}${sealed}`);
    const read = readRecord(record, 0, 8);
    expect(read && openRecord(direction(suites[name]), read)).toMatchObject({ type: 23 });
  });

  test("with a connection id [RFC 9146 4, 5.3]", () => {
    const content = bytes("0c0062000000010203");
    const cid = bytes("a1a2a3a4a5a6a7a8");
    const record = sealedRecord(direction(suites.ccm8), { type: 23, seq: 5, cid, content });
    const about = `ffffffffffffffff190819fefd${seqBytes}${text(cid)}000a`;
    const sealed = byHand(about, `${text(content)}17`, "aes-128-ccm", 8);
    expect(text(record)).toBe(`19fefd${seqBytes}${text(cid)}001a${seqBytes}${sealed}`);
    const read = readRecord(record, 0, 8);
    expect(read && text(openRecord(direction(suites.ccm8), read)?.content ?? bytes(""))).toBe(text(content));
  });

  test("padded with zeros inside [RFC 9146 4]; zeros alone are none", () => {
    const cid = "a1a2a3a4a5a6a7a8";
    const open = (inner: string) => {
      const length = (inner.length / 2).toString(16).padStart(4, "0");
      const sealed = byHand(`ffffffffffffffff190819fefd${seqBytes}${cid}${length}`, inner, "aes-128-ccm", 8);
      const body = `${seqBytes}${sealed}`;
      const read = readRecord(
        bytes(`19fefd${seqBytes}${cid}${(body.length / 2).toString(16).padStart(4, "0")}${body}`),
        0,
        8,
      );
      return read && openRecord(direction(suites.ccm8), read);
    };
    expect(open("0216170000000000")).toEqual({ type: 23, content: Buffer.from("0216", "hex") });
    expect(open("0000000000")).toBeUndefined();
  });
});

describe("the window of what came [RFC 6347 4.1.2.6]", () => {
  test("says of each number what a list of all of them says", () => {
    let state = 7;
    const dice = (below: number) => {
      state = (state * 48_271) % 2_147_483_647;
      return state % below;
    };
    for (let round = 0; round < 200; round++) {
      const start = round % 3 === 0 ? -1 : dice(1_000);
      const window = new ReplayWindow(start);
      const came = new Set<number>();
      let top = start;
      for (let i = 0; i < 300; i++) {
        const spread = [3, 40, 70, 200][dice(4)] ?? 3;
        const seq = Math.max(0, top + dice(spread) - Math.floor(spread / 2) + (dice(50) === 0 ? 2 ** 40 : 0));
        const isFresh = seq > top || (seq > top - 64 && seq > start && !came.has(seq));
        const said = [window.isFresh(seq)];
        const right = [isFresh];
        if (isFresh) {
          said.push(window.take(seq), window.isFresh(seq));
          right.push(seq > top, false);
          came.add(seq);
          top = Math.max(top, seq);
        }
        if (said.join() !== right.join() || window.top !== top) expect.fail(`round ${round}, number ${seq}: ${said}`);
      }
    }
  });
});
