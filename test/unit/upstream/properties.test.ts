/** What a publication says of itself on the wire of MQTT 5. [MQTT-5 3.3.2.3] */
import { expect, test } from "vitest";
import { publishProperties } from "../../../src/upstream/properties.ts";

test("when it was accepted is a user property, in ISO 8601 and UTC, behind the others", () => {
  const octets = Buffer.from(
    publishProperties({ userProperties: [["client", "c1"]], originAt: Date.UTC(2026, 0, 2, 3, 4, 5, 6) }),
  );
  const text = "\x26\x00\x06client\x00\x02c1\x26\x00\x08accepted\x00\x182026-01-02T03:04:05.006Z";
  expect(octets).toEqual(Buffer.concat([Buffer.of(text.length), Buffer.from(text, "latin1")]));
});
