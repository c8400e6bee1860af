/** What a connection over TCP asks of the system. */
import { once } from "node:events";
import { createServer, Socket } from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import { parseBrokerUrl } from "../../../src/upstream/broker-url.ts";
import type { ConnectionEvents } from "../../../src/upstream/connection.ts";
import { TcpConnection } from "../../../src/upstream/tcp-connection.ts";

test("no piece waits in the kernel for the broker to acknowledge the one before", async () => {
  const server = createServer((socket) => socket.resume());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const url = parseBrokerUrl(`mqtt://127.0.0.1:${typeof address === "object" ? address?.port : 0}`);
  if (!url) throw new Error("no url");
  const asked = vi.spyOn(Socket.prototype, "setNoDelay");
  const connected = new Promise<void>((done) => {
    const events = { onAsked: () => done(), onClosed: () => {}, onFailed: () => {} } as Partial<ConnectionEvents>;
    const packet = { cmd: "connect", clientId: "c", protocolVersion: 4, keepalive: 60, clean: true } as const;
    const connection = new TcpConnection(
      url,
      { packet, timeoutMs: 5_000, isPinging: true } as never,
      events as ConnectionEvents,
    );
    onTestFinished(() => {
      connection.destroy();
      server.close();
      asked.mockRestore();
    });
  });
  await connected;
  expect(asked).toHaveBeenCalledWith(true);
});
