/** What every transport must do. A new one joins with one line in transports.test.ts. */
import { afterEach, describe, expect, test } from "vitest";
import type { PeerId } from "../../src/core/types.ts";
import type { Transport, TransportEvents } from "../../src/transports/transport.ts";
import { messageOf } from "../helpers/message-of.ts";
import { until } from "../helpers/test-gateway.ts";

/** The other end of the network: one node. */
export interface Node {
  send(bytes: Uint8Array): void;
  readonly received: Uint8Array[];
  close(): Promise<void>;
}

export interface Subject {
  readonly transport: Transport;
  /** A node that can reach the started transport. */
  node(): Promise<Node>;
}

export function transportSuite(name: string, make: (instance: number) => Subject): void {
  describe(`transport ${name}`, () => {
    const open: { close(): Promise<void> }[] = [];
    afterEach(async () => {
      for (const each of open.splice(0)) await each.close();
    });

    async function started(instance = 1) {
      const subject = make(instance);
      const seen: { from: PeerId; bytes: Uint8Array }[] = [];
      const failures: Error[] = [];
      const events: TransportEvents = {
        datagram: (from, bytes) => seen.push({ from, bytes }),
        peerGone: () => {},
        failed: (error) => failures.push(error),
        notice: () => {},
      };
      await subject.transport.start(events);
      open.push(subject.transport);
      const node = async () => {
        const other = await subject.node();
        open.push(other);
        return other;
      };
      return { ...subject, node, seen, failures };
    }

    test("carries messages of every size both ways, octet by octet", async () => {
      const { transport, node, seen } = await started();
      const other = await node();
      other.send(Uint8Array.of(2, 0x16));
      await until("the first message", () => seen.length === 1);
      const peer = seen[0]?.from ?? "/";
      const largest = transport.maxMessageBytes(peer);
      for (const size of [2, 3, 255, 256, 1_000, largest].filter((bytes) => bytes <= largest)) {
        const bytes = messageOf(size);
        transport.send(peer, bytes);
        await until(`${size} octets at the node`, () => other.received.some((got) => Buffer.compare(got, bytes) === 0));
        other.send(bytes);
        await until(`${size} octets here`, () => seen.some((got) => Buffer.compare(got.bytes, bytes) === 0));
      }
      expect(new Set(seen.map(({ from }) => from)).size).toBe(1);
    });

    test("a peer's name begins with the transport's; two nodes are two peers of hosts that are named", async () => {
      const { transport, node, seen } = await started();
      for (const other of [await node(), await node()]) other.send(Uint8Array.of(2, 0x16));
      await until("both", () => seen.length === 2);
      expect(new Set(seen.map(({ from }) => from)).size).toBe(2);
      for (const { from } of seen) {
        expect(from.startsWith(`${transport.name}/`)).toBe(true);
        expect(from).not.toContain("#");
        expect(transport.hostOf(from)).not.toBe("");
        expect(transport.identityOf(from)).toMatchObject({ by: "address", verified: false });
      }
    });

    test("send and broadcast never throw, whatever the peer, before start and after close", async () => {
      const idle = make(1).transport;
      idle.send(`${idle.name}/nowhere`, Uint8Array.of(2, 0x16));
      idle.broadcast(Uint8Array.of(2, 0x16), 0);
      const { transport, node, seen } = await started();
      (await node()).send(Uint8Array.of(2, 0x16));
      await until("a peer", () => seen.length === 1);
      const peer = seen[0]?.from ?? "/";
      for (const wrong of [
        "",
        transport.name,
        `${transport.name}/`,
        `${transport.name}/x:0`,
        peer.replace(/\d+$/, "0"),
        peer.replace(/\d+$/, "99999"),
      ]) {
        transport.send(wrong as PeerId, Uint8Array.of(2, 0x16));
      }
      transport.broadcast(Uint8Array.of(2, 0x16), 0);
      await transport.close();
      transport.send(peer, Uint8Array.of(2, 0x16));
      expect(transport.stats().sendErrors).toBeGreaterThan(0);
    });

    test("counts", async () => {
      const { transport, node, seen } = await started();
      const other = await node();
      for (let i = 0; i < 3; i++) other.send(Uint8Array.of(3, 1, i));
      await until("three", () => seen.length === 3);
      transport.send(seen[0]?.from ?? "/", Uint8Array.of(3, 2, 1));
      await until("one back", () => other.received.length === 1);
      expect(transport.stats()).toMatchObject({ datagramsIn: 3, datagramsOut: 1, bytesIn: 9, bytesOut: 3 });
    });

    test("closing twice is closing once, and nothing comes afterwards", async () => {
      const { transport, node, seen } = await started();
      const other = await node();
      await transport.close();
      await transport.close();
      other.send(Uint8Array.of(2, 0x16));
      await new Promise((done) => setImmediate(done));
      expect(seen).toEqual([]);
    });

    test("two live side by side", async () => {
      const first = await started(1);
      const second = await started(2);
      (await first.node()).send(Uint8Array.of(2, 1));
      (await second.node()).send(Uint8Array.of(2, 2));
      await until("each has its own", () => first.seen.length === 1 && second.seen.length === 1);
      expect([first.seen[0]?.bytes[1], second.seen[0]?.bytes[1]]).toEqual([1, 2]);
    });
  });
}
