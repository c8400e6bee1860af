/** A broker whose certificate is not valid yet, as one meets it after a power cut without a clock. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { expect, test } from "vitest";
import { MqttUpstream } from "../../src/upstream/mqtt-upstream.ts";
import { upstreamOptions } from "../../src/upstream/options.ts";
import { fixture } from "../helpers/mosquitto.ts";
import { until } from "../helpers/test-gateway.ts";
import { upstreamEvents } from "../helpers/upstream-events.ts";

test("it is named as a matter of the clock, and tried again when the clock is set, not at the end of the pause", async () => {
  const folder = mkdtempSync(join(tmpdir(), "certificate-time-"));
  const ca = join(folder, "ca.pem");
  writeFileSync(ca, ["not-yet-valid.pem", "ca.pem"].map((name) => readFileSync(fixture(name))).join("\n"));
  const pair = (cert: string, key: string) => ({ cert: readFileSync(fixture(cert)), key: readFileSync(fixture(key)) });
  const server = createServer(pair("not-yet-valid.pem", "not-yet-valid-key.pem"));
  let accepted = 0;
  server.on("secureConnection", (socket) => {
    socket.on("error", () => {});
    socket.on("data", () => accepted++); // CONNECT came through
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  let wall = 12_000;
  const clock = { now: () => wall, trusted: () => (wall > 1e12 ? wall : undefined) };
  const options = upstreamOptions.parse({
    url: `mqtts://localhost:${port}`,
    reconnect: { minSeconds: 600, maxSeconds: 600 },
    tls: { ca },
  });
  const upstream = new MqttUpstream(options, clock);
  const downs: string[] = [];
  await upstream.start(
    upstreamEvents({
      down: (_link, { reason }) => downs.push(reason),
    }),
  );
  try {
    const whose = {
      linkId: "l~1" as const,
      upstream: "",
      mqttClientId: "c",
      identity: "c",
      clean: true,
      will: undefined,
    };
    upstream.open(whose);
    await until("the first attempt", () => downs.length === 1);
    expect(downs[0]).toMatch(/certificate is not valid yet, but the clock of this machine cannot be trusted/);
    expect(accepted).toBe(0);
    server.setSecureContext(pair("server.pem", "server-key.pem")); // OpenSSL takes the real time: the certificate gives way
    wall = Date.now();
    upstream.onClockSet();
    await until("CONNECT", () => accepted > 0);
    expect(downs).toHaveLength(1);
  } finally {
    await upstream.shutdown(200);
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
