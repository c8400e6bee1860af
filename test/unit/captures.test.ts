/** Each file of test/captures is a test case: see test/captures/README.md. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { ReadDatagram } from "../../src/capture/capture-file.ts";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import { played, readDatagrams } from "../helpers/capture-case.ts";

const folder = new URL("../captures/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".pcapng"));

test.each(files)("%s: the core answers as the gateway did", (name) => {
  const devices = played(readDatagrams(readFileSync(new URL(name, folder))));
  expect(devices.length).toBeGreaterThan(0);
  for (const { peer, answers, difference } of devices) {
    expect(difference, peer).toBeUndefined();
    expect(answers, peer).toBeGreaterThan(0);
  }
});

describe("what the comparison sees", () => {
  const whole = readDatagrams(readFileSync(new URL("publish-and-subscribe.pcapng", folder)));
  const differences = (datagrams: readonly ReadDatagram[]) =>
    played(datagrams).flatMap(({ difference }) => difference ?? []);
  const typeOf = ({ payload }: ReadDatagram) => {
    const decoded = decode(payload);
    return decoded.ok ? decoded.message.type : "";
  };

  test("an answer that the capture has and the core does not give, and one that it has not", () => {
    const ack = whole.findIndex((each) => typeOf(each) === "PUBACK" && each.direction === "out");
    expect(differences(whole.filter((_, i) => i !== ack))).toEqual([
      { missing: [], extra: ["PUBACK code 0"], isOrderOnly: false },
    ]);
    const twice = whole.flatMap((each, i) => (i === ack ? [each, each] : [each]));
    expect(differences(twice)).toEqual([{ missing: ["PUBACK code 0"], extra: [], isOrderOnly: false }]);
  });

  test("another code", () => {
    const refused = whole.map((each) =>
      typeOf(each) === "CONNACK" && each.device === whole[0]?.device
        ? { ...each, payload: encode({ type: "CONNACK", returnCode: 3 }) }
        : each,
    );
    expect(differences(refused)).toEqual([
      { missing: ["CONNACK code 3"], extra: ["CONNACK code 0"], isOrderOnly: false },
    ]);
  });
});
