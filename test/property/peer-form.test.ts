/** Addresses of peers as octets come back exactly as they were, and are told apart, whatever they look like. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { OctetReader, OctetWriter } from "../../src/core/octet-form.ts";
import { PeerForm } from "../../src/core/peer-form.ts";
import type { PeerId } from "../../src/core/types.ts";
import { anyCharacter } from "../helpers/any-text.ts";
import { cases } from "../helpers/cases.ts";

const transport = fc.constantFrom("udp", "udp-2", "dtls", "ble", "serial", "", "ud", "udpü", "a.b", "10");
const ipv4 = fc.ipV4();
const port = fc.integer({ min: 0, max: 65_535 }).map(String);
/** What is nearly an address of the usual form. */
const oddNumber = fc.constantFrom(
  "00",
  "01",
  "010",
  "256",
  "65536",
  "99999",
  "-1",
  "+1",
  "1e3",
  " 1",
  "1 ",
  "",
  "0x1",
  "²",
  "٣",
);
const number = fc.oneof({ weight: 3, arbitrary: port }, { weight: 1, arbitrary: oddNumber });
const nearly = fc
  .tuple(fc.array(number, { minLength: 3, maxLength: 5 }), fc.constantFrom(":", "::", "", ".", "#"), number)
  .map(([parts, mark, end]) => parts.join(".") + mark + end);
const place = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(ipv4, port).map(([host, at]) => `${host}:${at}`) },
  fc.tuple(fc.ipV6(), port).map(([host, at]) => `[${host}]:${at}`),
  fc.tuple(fc.domain(), port).map(([host, at]) => `${host}:${at}`),
  fc.tuple(ipv4, port, fc.string()).map(([host, at, node]) => `${host}:${at}#${node}`),
  nearly,
  fc.constantFrom(
    "c4:64:11:22:33:44",
    "/dev/ttyUSB0",
    "/dev/ttyAMA0#0a0b",
    "dev-1",
    "a%2Fb",
    "1.2.3.4:5/6",
    "x/1.2.3.4:5",
    "",
  ),
  fc.string({ unit: anyCharacter }),
);
const peer = fc.tuple(transport, place).map(([name, at]) => `${name}/${at}` as PeerId);

function readerOf({ octets }: OctetWriter): OctetReader {
  return new OctetReader({ octets, view: new DataView(octets.buffer), at: 0 });
}

test("each comes back as it was, and no other one is taken for it", () => {
  fc.assert(
    fc.property(fc.array(peer, { minLength: 1, maxLength: 20 }), (peers) => {
      const form = new PeerForm();
      const into = new OctetWriter();
      into.begin();
      for (const each of peers) {
        form.write(into, each);
        into.octet(0x5a); // what follows is in its place
      }
      const [whole, skipped] = [readerOf(into), readerOf(into)];
      for (const each of peers) {
        expect(form.read(whole)).toBe(each);
        form.skip(skipped);
        expect([whole.octet(), skipped.octet()]).toEqual([0x5a, 0x5a]);
      }
      for (const asked of peers) {
        const from = readerOf(into);
        // One `expect` for all: with one for each pair, these would take most of the time.
        const found = peers.map(() => [form.isNext(from, asked), from.octet()]);
        expect(found).toEqual(peers.map((each) => [each === asked, 0x5a]));
      }
    }),
    {
      numRuns: cases(3_000),
      examples: [
        [["udp/010.1.1.1:05", "udp/10.1.1.1:5", "udp/10.1.1.1:05", "udp/10.1.1.1:5#0a", "dtls/10.1.1.1:5"] as PeerId[]],
        [["udp/0.0.0.0:0", "udp/255.255.255.255:65535", "udp/255.255.255.255:65536", "udp/256.0.0.0:0"] as PeerId[]],
        [
          [
            "ble/c4:64:11:22:33:44",
            "serial//dev/ttyUSB0",
            "udp/[2001:db8::1]:1884",
            "udp/host.example:1884",
          ] as PeerId[],
        ],
      ],
    },
  );
});

test("the usual form takes 7 octets; addresses of more transports than a gateway has are texts", () => {
  const form = new PeerForm();
  const into = new OctetWriter();
  const lengths = Array.from({ length: 20 }, (_, i) => {
    into.begin();
    form.write(into, `udp-${i}/192.0.2.7:1884`);
    expect(form.read(readerOf(into))).toBe(`udp-${i}/192.0.2.7:1884`);
    return into.length;
  });
  expect(new Set(lengths.slice(0, 16))).toEqual(new Set([7]));
  expect(Math.min(...lengths.slice(16))).toBeGreaterThan(20);
});
