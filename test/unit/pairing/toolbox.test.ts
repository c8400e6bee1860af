/** The toolbox of pairing, held against the data that the standards themselves print. */
import { createECDH } from "node:crypto";
import { describe, expect, test } from "vitest";
import { ah, c1, cmac, f4, f5, f6, s1 } from "../../../src/pairing/toolbox.ts";
import { pairingCrypto } from "../../../src/transports/ble/pairing-crypto.ts";

const { aes } = pairingCrypto;
const octets = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("AES-CMAC [RFC 4493, 4]", () => {
  const message =
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
  test.each([
    [0, "bb1d6929e95937287fa37d129b756746"],
    [16, "070a16b46b4d4144f79bdd9dd04a287c"],
    [40, "dfa66747de9ae63030ca32611497c827"],
    [64, "51f0bebf7e3b9d92fc49741779363cfe"],
  ])("%i octets", (length, expected) => {
    const key = octets("2b7e151628aed2a6abf7158809cf4f3c");
    expect(hex(cmac(aes, key, octets(message).subarray(0, length)))).toBe(expected);
  });
});

describe("sample data of Bluetooth Core 5.4", () => {
  const nonces = [
    octets("d5cb8454 d177733e ffffb2ec 712baeab"),
    octets("a6e8e7cc 25a75f6e 216583f7 ff3dc4cf"),
  ] as const;
  const addresses = [octets("00561237 37bfce"), octets("00a71370 2dcfc1")] as const;
  const u = octets("20b003d2 f297be2c 5e2c83a7 e9f9a5b9 eff49111 acf4fddb cc030148 0e359de6");
  const v = octets("55188b3d 32f6bb9a 900afcfb eed4e72a 59cb9ac2 f19d7cfb 6b4fdd49 f47fc5fd");
  const shared = "ec0234a3 57c8ad05 341010a6 0a397d9b 99796b13 b4f866f1 868d34f3 73bfa698";

  test("f4 [3.H.D.2]", () => {
    expect(hex(f4(aes, u, v, nonces[0], 0))).toBe("f2c916f107a9bd1cf1eda1bea974872d");
  });

  test("f5 [3.H.D.3]", () => {
    const { macKey, ltk } = f5(aes, octets(shared), nonces, addresses);
    expect(hex(macKey)).toBe("2965f176a1084a02fd3f6a20ce636e20");
    expect(hex(ltk)).toBe("6986791169d7cd23980522b594750a38");
  });

  test("f6 [3.H.D.4]", () => {
    const macKey = octets("2965f176 a1084a02 fd3f6a20 ce636e20");
    const r = octets("12a3343b b453bb54 08da42d2 0c2d0fc8");
    expect(hex(f6(aes, macKey, nonces, r, octets("010102"), addresses))).toBe("e3c473989cd0e8c5d26c0b09da958f61");
  });

  test("ah [3.H.D.7]", () => {
    expect(hex(ah(aes, octets("ec0234a3 57c8ad05 341010a6 0a397d9b"), octets("708194")))).toBe("0dfbaa");
  });

  test("c1 and s1 of legacy pairing [3.H.2.2.3, 3.H.2.2.4]", () => {
    const none = new Uint8Array(16);
    const said = { request: octets("07071000000101"), response: octets("05000800000302") };
    const ends = { initiator: octets("01 a1a2a3a4a5a6"), responder: octets("00 b1b2b3b4b5b6") };
    const random = octets("5783d52156ad6f0e6388274ec6702ee0");
    expect(hex(c1(aes, none, random, said, ends))).toBe("1e1e3fef878988ead2a74dc5bef13b86");
    const [responder, initiator] = ["000f0e0d0c0b0a091122334455667788", "010203040506070899aabbccddeeff00"].map(octets);
    expect(hex(s1(aes, none, responder ?? none, initiator ?? none))).toBe("9a1fe1f0e8b0f49b5b4216ae796da062");
  });

  test("the secret of two key pairs on P-256 [2.G.7.1.2.1]", () => {
    const pair = createECDH("prime256v1");
    pair.setPrivateKey("3f49f6d4a3c55f3874c9b3e3d2103f504aff607beb40b7995899b8a6cd3c1abd", "hex");
    const other =
      "041ea1f0f01faf1d9609592284f19e4c0047b58afd8615a69f559077b22faaa1904c55f33e429dad377356703a9ab85160472d1130e28e36765f89aff915b1214a";
    expect(pair.computeSecret(other, "hex", "hex")).toBe(shared.replaceAll(" ", ""));
    expect(pair.getPublicKey("hex").slice(2, 66)).toBe(hex(u));
  });

  test("a point that is not on the curve is no public key", () => {
    expect(pairingCrypto.newKeyPair().sharedWith(new Uint8Array(64).fill(1))).toBeUndefined();
  });
});
