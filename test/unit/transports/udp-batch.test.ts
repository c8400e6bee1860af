/** The limits of what batched UDP remembers, with a made-up kernel. */
import { expect, test } from "vitest";
import { type NativeBatch, UdpBatch } from "../../../src/transports/udp-batch.ts";

test("addresses beyond the limit: all are forgotten, and looked up anew when they are needed", () => {
  let lookUps = 0;
  let sent = 0;
  const native: NativeBatch = {
    open: () => 3,
    host: () => "192.0.2.1",
    address: (_host, port, words, index) => {
      lookUps++;
      words.set([0, 0, port % 65_536, 0, 0, 0, 0xffff, Math.floor(port / 65_536)], index * 8);
      return 1;
    },
    receive: () => 0,
    send: (_fd, _arena, _words, count) => {
      sent += count;
      return count;
    },
  };
  const batch = UdpBatch.open(native, "192.0.2.1", 1_883, {
    peerOf: (host, port) => `${host}:${port}`,
    addressOf: (peer) => ({ host: "192.0.2.1", port: Number(peer) }),
    datagram: () => {},
    notSent: () => {},
    sendByNode: () => {},
  });
  const one = Uint8Array.of(1);
  let taken = 0;
  for (let peer = 1; peer <= 131_072; peer++) if (batch?.send(String(peer), one)) taken++;
  expect(taken).toBe(131_072);
  expect(batch?.send("1", one)).toBe(true);
  expect(lookUps).toBe(131_072);
  expect(batch?.send("131073", one)).toBe(true);
  expect(batch?.send("1", one)).toBe(true);
  expect(lookUps).toBe(131_074);
  batch?.close();
  expect(sent).toBe(131_075);
  expect(batch?.send("1", one)).toBe(false);
});
