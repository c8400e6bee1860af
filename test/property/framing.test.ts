/** However a stream of messages is cut into chunks, the same messages come out. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { messageLength, pieces, Reassembler } from "../../src/transports/framing.ts";
import { messageOf } from "../helpers/message-of.ts";

const options = { maxMessageBytes: 1_024, resyncMs: 2_000 };

const anyMessage = fc
  .tuple(
    fc.oneof(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 41, max: 1_024 })),
    fc.integer({ min: 0, max: 255 }),
  )
  .map(([length, fill]) => messageOf(length, fill));
/** The same, encapsulated by a forwarder. [§5.5] */
const anyEncapsulated = fc
  .tuple(fc.uint8Array({ maxLength: 20 }), anyMessage)
  .filter(([, inner]) => inner.length <= 1_000)
  .map(([nodeId, inner]) => new Uint8Array([3 + nodeId.length, 0xfe, 0, ...nodeId, ...inner]));
const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 40 });

function cutUp(stream: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0, i = 0; at < stream.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    parts.push(stream.subarray(at, at + size));
    at += size;
  }
  return parts;
}

test("split or joined, the messages that were sent come out, in order", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(anyMessage, anyEncapsulated), { maxLength: 8 }), cuts, (messages, sizes) => {
      const reassembler = new Reassembler(options);
      const got = cutUp(Buffer.concat(messages), sizes).flatMap((part) => reassembler.take(part, 0));
      expect(got.map((bytes) => Buffer.from(bytes).toString("hex"))).toEqual(
        messages.map((bytes) => Buffer.from(bytes).toString("hex")),
      );
      expect(reassembler.pendingBytes).toBe(0);
      expect(reassembler.discardedBytes).toBe(0);
    }),
  );
});

test("whatever comes, nothing longer than allowed is kept, nothing is lost from the books, and silence starts afresh", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 100 }), { maxLength: 30 }),
      anyMessage,
      (noise, good) => {
        const reassembler = new Reassembler(options);
        let taken = 0;
        for (const part of noise) {
          for (const bytes of reassembler.take(part, 0)) {
            taken += bytes.byteLength;
            expect(messageLength(bytes)).toBe(bytes.byteLength);
          }
          expect(reassembler.pendingBytes).toBeLessThan(options.maxMessageBytes);
        }
        const sent = noise.reduce((sum, part) => sum + part.byteLength, 0);
        expect(taken + reassembler.pendingBytes + reassembler.discardedBytes).toBe(sent);
        expect(reassembler.take(good, options.resyncMs)).toEqual([good]);
      },
    ),
  );
});

test("a message cut for the link is the same message", () => {
  fc.assert(
    fc.property(anyMessage, fc.integer({ min: 20, max: 253 }), (bytes, size) => {
      const parts = [...pieces(bytes, size)];
      expect(parts.every((part) => part.byteLength <= size && part.byteLength > 0)).toBe(true);
      expect(new Uint8Array(Buffer.concat(parts))).toEqual(bytes);
    }),
  );
});
