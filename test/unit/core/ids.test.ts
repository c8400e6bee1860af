import { expect, test } from "vitest";
import { linkIdOf, ownerOfLink } from "../../../src/core/link-id.ts";
import { forwardedNodeOf, neighbourOf, peerBehind, transportNameOf } from "../../../src/core/peer-id.ts";
import type { PeerId } from "../../../src/core/types.ts";

test("a node behind a forwarder is named by both, and taken apart into both [5.5] [5.3.11]", () => {
  const forwarder: PeerId = "serial//dev/ttyUSB0";
  const node = peerBehind(forwarder, Uint8Array.of(0x0a, 0, 0xff));
  expect(node).toBe("serial//dev/ttyUSB0#0a00ff");
  expect(forwardedNodeOf(node)).toEqual({ forwarder, nodeId: "0a00ff" });
  expect(neighbourOf(node)).toBe(forwarder);
  expect(transportNameOf(node)).toBe("serial");
  expect(forwardedNodeOf(peerBehind(forwarder, new Uint8Array(0)))).toEqual({ forwarder, nodeId: "" });
});

test("what a transport hears itself is no node behind another [5.3.11]", () => {
  const peer: PeerId = "udp6/[fe80::1%eth0]:1883";
  expect(forwardedNodeOf(peer)).toBeUndefined();
  expect(neighbourOf(peer)).toBe(peer);
  expect(transportNameOf(peer)).toBe("udp6");
});

test("all links of a client have one owner, whatever its id looks like [5.3.11]", () => {
  expect(linkIdOf("c1", 7)).toBe("c1~7");
  expect(ownerOfLink(linkIdOf("a~1", 7))).toBe(ownerOfLink(linkIdOf("a~1", 8)));
  expect(ownerOfLink(linkIdOf("a~1", 7))).not.toBe(ownerOfLink(linkIdOf("a", 1)));
});
