/** What a front sees in a datagram at a glance is what the whole codec reads in it, whatever the octets. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { datagramWords } from "../../src/core/dialects/glance.ts";
import { peerBehind } from "../../src/core/peer-id.ts";
import { decode } from "../../src/wire/v12/codec.ts";
import { layouts } from "../../src/wire/v12/layout.ts";
import { cases } from "../helpers/cases.ts";

const codes = layouts.map(({ code }) => code);
const from = "udp/192.0.2.1:1884";

/** A message with a right length in either form, of a type that there is, with any octets behind. */
const message = fc
  .tuple(fc.constantFrom(...codes), fc.uint8Array({ maxLength: 40 }), fc.boolean())
  .map(([code, rest, isLong]) => {
    const length = rest.length + (isLong ? 4 : 2);
    return Uint8Array.of(...(isLong ? [1, 0, length] : [length]), code, ...rest);
  });
const encapsulated = fc
  .tuple(fc.uint8Array({ maxLength: 5 }), message)
  .map(([node, inner]) => Uint8Array.of(3 + node.length, 0xfe, 0, ...node, ...inner));
const anything = fc.oneof(message, encapsulated, fc.uint8Array({ maxLength: 30 }));

test("client ids, nodes, and what kind of message it is, as the codec reads them", () => {
  fc.assert(
    fc.property(anything, (bytes) => {
      const heard = decode(bytes);
      const says = heard.ok ? heard.message : undefined;
      const named = says && (says.type === "CONNECT" || says.type === "PINGREQ") ? says.clientId : "";
      expect(datagramWords.clientIn(bytes)).toBe(typeof named === "string" && named !== "" ? named : undefined);
      const { forwarded } = heard;
      expect(datagramWords.nodeOf(from, bytes)).toBe(forwarded ? peerBehind(from, forwarded.nodeId) : from);
      if (datagramWords.isPlain(bytes)) {
        expect(named).toBe("");
        expect(forwarded).toBeUndefined();
        expect(says?.type).not.toBe("SEARCHGW");
      }
      if (!says) {
        expect(datagramWords.isForAnybody(bytes)).toBe(true);
        return;
      }
      expect(datagramWords.isSearch(bytes)).toBe(says.type === "SEARCHGW");
      expect(datagramWords.confirms(bytes)).toBe(says.type === "PINGRESP");
      const isConnAck = says.type === "CONNACK" && says.returnCode === 0;
      expect(datagramWords.accepts(bytes)).toBe(isConnAck || says.type === "WILLTOPICREQ");
    }),
    {
      numRuns: cases(5_000),
      examples: [
        [Uint8Array.of(1, 0, 5, 0x05, 0)],
        [Uint8Array.of(1, 0, 5, 0x05, 3)],
        [Uint8Array.of(3, 0xfe, 0, 1, 0, 5, 0x05, 0)],
      ],
    },
  );
});

test.each([
  ["PUBLISH at QoS 1", [7, 0x0c, 0x20, 0, 1, 0, 1], false],
  ["PUBLISH at QoS -1", [7, 0x0c, 0x60, 0, 1, 0, 0], true],
  ["PINGREQ of a client that is awake", [2, 0x16], false],
  ["DISCONNECT", [2, 0x18], false],
  ["GWINFO of another gateway", [3, 0x02, 1], true],
  ["CONNECT without a client id", [6, 0x04, 0, 1, 0, 9], true],
  ["PUBLISH in the long form", [1, 0, 9, 0x0c, 0, 0, 1, 0, 0], false],
])("%s needs a session or not, and is plain but for a CONNECT", (what, octets, isForAnybody) => {
  expect(datagramWords.isPlain(Uint8Array.from(octets))).toBe(!what.startsWith("CONNECT"));
  expect(datagramWords.isForAnybody(Uint8Array.from(octets))).toBe(isForAnybody);
});
