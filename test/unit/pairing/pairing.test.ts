/** Pairing as the central, step by step: with a device that follows the standard, and with any other packets. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addressOctets, type Bond } from "../../../src/pairing/bond.ts";
import { Pairing, type PairingOptions, type PairingStep } from "../../../src/pairing/pairing.ts";
import { pairingCrypto } from "../../../src/transports/ble/pairing-crypto.ts";
import { type Flash, privateAddress, Responder, type ResponderOptions } from "../../ble/lab/responder.ts";

const own = { address: "00:aa:01:00:00:01", type: "public" } as const;
const device = { address: "c0:00:00:00:00:01", type: "random" } as const;
const irk = Uint8Array.from(Buffer.from("ec0234a357c8ad05341010a60a397d9b", "hex"));

/** Both sides with nothing between them. The link is encrypted when both name the same key. */
function paired(options: Partial<PairingOptions> = {}, other: ResponderOptions = {}, flash: Flash = {}): PairingStep[] {
  const all = { method: "just-works", passkey: 0, takesLegacy: true, own, device, ...options } as const;
  const pairing = new Pairing(all, pairingCrypto);
  const ends = [addressOctets(all.own), addressOctets(all.device)] as const;
  const toGateway: Uint8Array[] = [];
  const responder = new Responder(other, flash, ends, (pdu) => toGateway.push(pdu));
  const outcome: PairingStep[] = [];
  const perform = (steps: readonly PairingStep[]): void => {
    for (const step of steps) {
      if (step.is === "send") responder.receive(step.packet);
      else if (step.is === "encrypt") {
        expect(Buffer.from(responder.keyFor(new Uint8Array(8), 0) ?? [])).toEqual(Buffer.from(step.key));
        responder.encrypted();
        perform(pairing.encrypted());
      } else outcome.push(step);
    }
  };
  perform(pairing.start());
  for (let pdu = toGateway.shift(); pdu; pdu = toGateway.shift()) perform(pairing.receive(pdu));
  return outcome;
}

function bondOf(steps: readonly PairingStep[]): Bond | undefined {
  const [step] = steps;
  return step?.is === "bonded" ? step.bond : undefined;
}

describe("with a device that keeps to the standard", () => {
  test.each([
    ["just works", true, undefined],
    ["just works, legacy", false, undefined],
    ["passkey", true, 123_456],
    ["passkey, legacy", false, 123_456],
    ["passkey zero", true, 0],
    ["the largest passkey", false, 999_999],
  ] as const)("%s: both have the same key", (_name, secureConnections, passkey) => {
    const flash: Flash = {};
    const options = passkey === undefined ? {} : ({ method: "passkey", passkey } as const);
    const other = { secureConnections, ...(passkey !== undefined && { passkey }) };
    const bond = bondOf(paired(options, other, flash));
    expect(bond).toMatchObject({ identity: device, secureConnections, authenticated: passkey !== undefined });
    expect(Buffer.from(bond?.longTermKey ?? [])).toEqual(Buffer.from(flash.longTermKey ?? [1]));
    expect(bond?.diversifier).toBe(flash.diversifier ?? 0);
  });

  test("it shows a number, and none is demanded: just works", () => {
    expect(bondOf(paired({}, { passkey: 1 }))).toMatchObject({ authenticated: false });
  });

  test("its identity counts, not the address that it has now", () => {
    const identity = { irk, address: "c0:00:00:00:00:77" };
    const now = { address: privateAddress(irk), type: "random" } as const;
    expect(bondOf(paired({ device: now }, { identity }))?.identity.address).toBe("c0:00:00:00:00:77");
  });
});

describe("no bond", () => {
  const identity = { irk, address: "c0:00:00:00:00:77" };
  const other = { address: privateAddress(Uint8Array.from(irk).reverse()), type: "random" } as const;
  test.each<[string, Partial<PairingOptions>, ResponderOptions, string]>([
    ["a wrong passkey", { method: "passkey", passkey: 1 }, { passkey: 2 }, "passkey"],
    ["a wrong passkey, legacy", { method: "passkey", passkey: 1 }, { passkey: 2, secureConnections: false }, "passkey"],
    ["it has no passkey, and one is demanded", { method: "passkey", passkey: 1 }, {}, "insecure"],
    ["legacy where that is not allowed", { takesLegacy: false }, { secureConnections: false }, "insecure"],
    ["a short key", {}, { keyOctets: 7 }, "insecure"],
    ["no bonding", {}, { keepsBonds: false }, "not-kept"],
    ["it refuses", {}, { refuses: 5 }, "refused"],
    ["it changes its address and gives no identity", { device: other }, {}, "not-kept"],
    ["its identity key does not fit its address", { device: other }, { identity }, "broken"],
    ["it has one address and says that it is another device", {}, { identity }, "broken"],
    ["a confirm value that does not fit", {}, { change: (pdu) => changed(pdu, 0x03) }, "broken"],
    ["a check that does not fit", {}, { change: (pdu) => changed(pdu, 0x0d) }, "broken"],
    ["a public key that is none", {}, { change: (pdu) => changed(pdu, 0x0c) }, "broken"],
  ])("%s", (_name, options, responder, fault) => {
    expect(paired(options, responder)).toMatchObject([{ is: "failed", fault }]);
  });

  test("our own public key is not taken back, nor the debug key of the standard", () => {
    const debug =
      "20b003d2f297be2c5e2c83a7e9f9a5b9eff49111acf4fddbcc0301480e359de6dc809c49652aeb6d63329abf5a52155c766345c28fed3024741c8ed01589d28b";
    for (const from of ["own", "debug"] as const) {
      const options = { method: "just-works", passkey: 0, takesLegacy: true, own, device } as const;
      const pairing = new Pairing(options, pairingCrypto);
      pairing.start();
      const [sent] = pairing.receive(Uint8Array.of(2, 3, 0, 9, 16, 0, 0));
      const packet = sent?.is === "send" ? sent.packet : new Uint8Array();
      const octets = Buffer.from(debug, "hex");
      const theirs = [0x0c, ...octets.subarray(0, 32).reverse(), ...octets.subarray(32).reverse()];
      const steps = pairing.receive(from === "own" ? packet : Uint8Array.from(theirs));
      expect(steps).toMatchObject([{ is: "send" }, { is: "failed", fault: from === "own" ? "broken" : "insecure" }]);
    }
  });
});

test("what we say is not taken back: a legacy device that repeats our own values has shown no passkey", () => {
  const options = { method: "passkey", passkey: 123_456, takesLegacy: true, own, device } as const;
  const pairing = new Pairing(options, pairingCrypto);
  pairing.start();
  // It has a keyboard, bonds, knows no Secure Connections, and gives its key.
  const [confirm] = pairing.receive(Uint8Array.of(2, 2, 0, 5, 16, 0, 1));
  const back = confirm?.is === "send" ? confirm.packet : new Uint8Array();
  expect(pairing.receive(back)).toMatchObject([{ is: "send" }, { is: "failed", fault: "passkey" }]);
});

test("whatever a device says, in whatever order: nothing is thrown, and there is no bond without encryption", () => {
  const packet = fc.oneof(
    fc.uint8Array({ maxLength: 70 }),
    fc.constantFrom(
      Uint8Array.of(2, 3, 0, 9, 16, 0, 0),
      Uint8Array.of(2, 0, 0, 5, 16, 0, 3),
      Uint8Array.of(2, 4, 0, 1, 16, 0, 1),
    ),
    fc
      .tuple(fc.constantFrom(3, 4, 6, 8, 10, 13), fc.uint8Array({ minLength: 16, maxLength: 16 }))
      .map(([code, data]) => Uint8Array.of(code, ...data)),
  );
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 12 }), fc.constantFrom("just-works", "passkey"), (packets, method) => {
      const options = { method, passkey: 7, takesLegacy: true, own, device } as const;
      const pairing = new Pairing(options, pairingCrypto);
      const steps = [...pairing.start(), ...packets.flatMap((each) => pairing.receive(each))];
      expect(steps.some(({ is }) => is === "bonded" || is === "encrypt")).toBe(false);
      expect(steps.filter(({ is }) => is === "failed").length).toBeLessThanOrEqual(1);
    }),
    { numRuns: 300 },
  );
});

function changed(pdu: Uint8Array, code: number): Uint8Array {
  return pdu[0] === code ? pdu.map((octet, i) => (i === 5 ? octet ^ 1 : octet)) : pdu;
}
