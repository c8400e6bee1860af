/** The acceptance suite's ways over DTLS and behind a forwarder, in short: devices that know nothing of it, the proxy, and the gateway as the suite has it. */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { fileURLToPath } from "node:url";
import { connectAsync } from "mqtt";
import { expect, test } from "vitest";
import { startTryOutBroker } from "../../src/tryout-broker.ts";
import { freePort } from "../helpers/ports.ts";
import { until } from "../helpers/test-gateway.ts";

const adapter = fileURLToPath(new URL("../conformance/adapter.mjs", import.meta.url));

test.each([
  { how: "over DTLS", setting: { DTLS: "1" }, says: [/device0.* ccm8/, /device1.* ccm8/] },
  { how: "behind a forwarder [6.17]", setting: { FORWARDED: "1" }, says: [/udp\/127\.0\.0\.2:\d+#[0-9a-f]{8}/] },
])("two devices that know nothing of it are heard $how, each by itself, and hear", async ({ setting, says }) => {
  const [snPort, brokerPort] = [await freePort(), await freePort()];
  const broker = await startTryOutBroker({ host: "127.0.0.1", port: brokerPort });
  const watcher = await connectAsync(`mqtt://127.0.0.1:${brokerPort}`);
  const heard: string[] = [];
  watcher.on("message", (topic, payload) => heard.push(`${topic} ${payload}`));
  await watcher.subscribeAsync("#");
  const env = {
    ...process.env,
    MODE: "transparent",
    ...setting,
    SN_PORT: String(snPort),
    BROKER_PORT: String(brokerPort),
    LOG_LEVEL: "debug",
  };
  const gateway: ChildProcess = spawn(process.execPath, [adapter], { env: { ...env, PREDEF: "1=plain/1" } });
  let printed = "";
  for (const stream of [gateway.stdout, gateway.stderr]) stream?.on("data", (data) => (printed += data));
  const sockets: Socket[] = [];
  const device = () => {
    const socket = createSocket("udp4");
    sockets.push(socket);
    const got: string[] = [];
    socket.on("message", (bytes) => got.push(bytes.toString("hex")));
    return { got, say: (hex: string) => socket.send(Buffer.from(hex, "hex"), snPort, "127.0.0.1") };
  };
  try {
    await until("ready", () => printed.includes("READY") || gateway.exitCode !== null);
    expect(printed).toContain("READY");
    const [one, two] = [device(), device()];
    one.say("0b0404010005616161" + "6162");
    two.say("0b0404010005616161" + "6163");
    await until("both are let in", () => [one, two].every(({ got }) => got.includes("030500")));
    one.say("080c21000100016f");
    two.say("080c210001000274");
    await until("both are acknowledged", () => one.got.length > 1 && two.got.length > 1);
    expect([one.got[1], two.got[1]]).toEqual(["070d0001000100", "070d0001000200"]);
    await until("the broker has both", () => heard.includes("plain/1 o") && heard.includes("plain/1 t"));
    for (const expected of says) expect(printed).toMatch(expected);
  } finally {
    for (const socket of sockets) socket.close();
    if (gateway.exitCode === null) await new Promise((done) => gateway.once("exit", done).kill("SIGKILL"));
    await watcher.endAsync(true);
    if (broker.kind === "started") await broker.close();
  }
});
