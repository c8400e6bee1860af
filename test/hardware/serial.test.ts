/** Serial lines that are pseudo-terminals: the gateway's own transport, and the forwarder in C, against the real gateway. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Gateway } from "../../src/gateway.ts";
import { startTryOutBroker } from "../../src/tryout-broker.ts";
import { startGateway, until } from "../helpers/test-gateway.ts";
import { hardware, make, missingCompiler } from "./compiler.ts";
import { RadioModule } from "./line-device.ts";
import { PtyLine } from "./pty-line.ts";

const noise = Uint8Array.of(0x40, 0x00, 0xff, 0x13, 0x37);
const nodeA = Uint8Array.of(0x0a, 0x01);
const nodeB = Uint8Array.of(0x0b);

/** Why the package cannot be used; undefined = it can. */
function missingPackage(): string | undefined {
  try {
    createRequire(import.meta.url)("serialport");
    return undefined;
  } catch {
    if (process.env["CI"]) throw new Error("the package serialport is not there");
    return "the package serialport is not there";
  }
}

const missing = missingCompiler();
const open: (() => unknown)[] = [];
let folder = "";

function prepare(): void {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "serial-"));
    PtyLine.build(folder);
    return () => rmSync(folder, { recursive: true });
  });
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close();
  });
}

async function plug(name: string): Promise<PtyLine> {
  const line = await PtyLine.plug(folder, join(folder, name));
  open.push(() => line.unplug());
  return line;
}

/** Its address. */
async function broker(): Promise<string> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  await new Promise((done) => server.close(done));
  const started = await startTryOutBroker({ host: "127.0.0.1", port });
  open.push(() => started.kind === "started" && started.close());
  return `mqtt://127.0.0.1:${port}`;
}

async function gatewayWith(config: Record<string, unknown>): Promise<{ gateway: Gateway; port: number }> {
  const started = await startGateway(config);
  open.push(() => started.gateway.stop());
  return started;
}

function devices(module: RadioModule, ...who: [string, Uint8Array?][]) {
  const made = who.map(([clientId, nodeId]) => module.device(clientId, nodeId));
  open.push(() => {
    for (const device of made) device.close();
  });
  return made;
}

const noSerial = missing ?? missingPackage();
describe.skipIf(noSerial !== undefined)(
  `serial transport${noSerial === undefined ? "" : ` (skipped: ${noSerial})`}`,
  () => {
    prepare();

    test("one device on one line, many behind the other; noise; pulled out and put back", async () => {
      const url = await broker();
      const line = await plug("one");
      const many = await plug("many");
      const { gateway } = await gatewayWith({
        transports: [{ type: "serial", ports: [line.path, many.path, join(folder, "absent")] }],
        upstream: { url },
        retry: { intervalSeconds: 1, limit: 20 },
      });
      const [alone, module] = [new RadioModule(), new RadioModule()];
      alone.attach(line);
      module.attach(many);
      const [single] = devices(alone, ["single"]);
      const [a, b] = devices(module, ["a", nodeA], ["b", nodeB]);
      if (!single || !a || !b) throw new Error("devices");
      await until("two of three open", () => gateway.links()[0]?.devices.filter(({ linked }) => linked).length === 2);

      await Promise.all([single, a, b].map((device) => device.connect()));
      await Promise.all([single, a, b].map((device) => device.subscribe("all")));
      await Promise.all([single, a, b].map((device, i) => device.publish("all", `from ${i}`)));
      for (const device of [single, a, b]) for (let i = 0; i < 3; i++) await device.got(`from ${i}`);

      alone.send(noise);
      module.send(noise);
      await single.publish("all", "after noise");
      await b.got("after noise");

      await line.unplug();
      await until("the gateway to notice", () => gateway.links()[0]?.devices[0]?.linked === false);
      await a.publish("all", "meanwhile");
      alone.attach(await plug("one"));
      await single.got("meanwhile");
      await single.publish("all", "back again");
      await b.got("back again");
      expect(single.events.filter(({ event }) => event === "connected").length).toBe(1);
    });

    test("two gateways do not share a line", async () => {
      const url = await broker();
      const line = await plug("one");
      const transports = [{ type: "serial", ports: [line.path] }];
      const first = await gatewayWith({ transports, upstream: { url } });
      await until("open", () => first.gateway.links()[0]?.up === true);
      const second = await gatewayWith({ transports, upstream: { url, serviceClientId: "second" } });
      await until("refused", () => /another program has it/.test(second.gateway.links()[0]?.condition ?? ""));
    });
  },
);

describe.skipIf(missing !== undefined)(`forwarder${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  prepare();
  const program = join(hardware, "forwarder/build/mqtt-sn-forwarder");
  beforeAll(() =>
    make("forwarder", "CFLAGS=-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all", "OUT=build"),
  );

  /** Runs it until the test is over; what it says. */
  function forwarder(...options: string[]): { child: ChildProcessWithoutNullStreams; said: () => string } {
    const child = spawn(program, options);
    let text = "";
    child.stderr.on("data", (chunk) => {
      text += chunk;
    });
    open.push(async () => {
      const over = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      expect(await over, text).toBe(0);
    });
    return { child, said: () => text };
  }

  test("two nodes at once, QoS 1 both ways; noise; a gateway that restarts; a line that is pulled out", async () => {
    const url = await broker();
    const store = { kind: "disk", folder: join(folder, "store") };
    const first = await startGateway({ upstream: { url }, store });
    const line = await plug("radio");
    const module = new RadioModule();
    module.attach(line);
    const { said } = forwarder("-d", line.path, "-g", "127.0.0.1", "-p", String(first.port));
    await until("the line to be open", () => said().includes("open, 115200 baud"));
    const [a, b] = devices(module, ["a", nodeA], ["b", nodeB]);
    if (!a || !b) throw new Error("devices");

    await Promise.all([a.connect(), b.connect()]);
    await Promise.all([a.subscribe("to/a"), b.subscribe("to/b")]);
    for (let i = 0; i < 10; i++) {
      await Promise.all([a.publish("to/b", `${i} for b`), b.publish("to/a", `${i} for a`)]);
    }
    await a.got("9 for a");
    await b.got("9 for b");
    expect(b.received.length).toBe(10);
    expect(module.pieces.every((piece) => piece[1] === 0xfe)).toBe(true);

    module.send(noise);
    await a.publish("to/b", "after noise");
    await b.got("after noise");

    await first.gateway.stop();
    const late = a.publish("to/b", "while it was down");
    const second = await startGateway({
      upstream: { url },
      store,
      transports: [{ type: "udp", host: "127.0.0.1", port: first.port }],
    });
    open.push(() => second.gateway.stop());
    await late;
    await b.got("while it was down");

    await line.unplug();
    await until("the forwarder to notice", () => said().includes("tried again by itself"));
    module.attach(await plug("radio"));
    await b.publish("to/a", "after the line");
    await a.got("after the line");
    expect([a, b].map(({ events }) => events.filter(({ event }) => event === "connected").length)).toEqual([1, 1]);
  });

  test("a device that is alone on its line speaks plainly, and is node 01 to the gateway", async () => {
    const { gateway, port } = await gatewayWith({ upstream: { url: await broker() } });
    const line = await plug("radio");
    const module = new RadioModule();
    module.attach(line);
    forwarder("-d", line.path, "-g", "localhost", "-p", String(port), "-n", "01");
    const [only] = devices(module, ["only"]);
    await only?.connect();
    await only?.subscribe("here");
    await only?.publish("here", "x".repeat(900));
    await only?.got("x".repeat(900));
    expect(gateway.sessions().map(({ peer }) => peer)).toEqual([expect.stringMatching(/^udp\/127\.0\.0\.1:\d+#01$/)]);
  });

  test("random octets on the line for a while: nothing breaks, and a message passes afterwards", async () => {
    const { port } = await gatewayWith({ upstream: { url: await broker() } });
    const line = await plug("radio");
    const module = new RadioModule();
    module.attach(line);
    const { child, said } = forwarder("-d", line.path, "-g", "127.0.0.1", "-p", String(port), "-n", "01");
    await until("the line to be open", () => said().includes("open, 115200 baud"));
    let seed = 7;
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed >> 16;
    };
    for (let i = 0; i < 200; i++) line.send(Uint8Array.from({ length: 1 + (random() % 700) }, () => random() & 0xff));
    const [only] = devices(module, ["only"]);
    await only?.connect();
    await only?.publish("here", "still there");
    child.kill("SIGUSR1");
    await until("the report", () => /noise [1-9]\d* octets/.test(said()));
  });

  test("its command line is checked", async () => {
    for (const options of [[], ["-d", "x"], ["-d", "x", "-g", "y", "-n", "abc"], ["-d", "x", "-g", "y", "z"]]) {
      const child = spawn(program, options);
      expect(await new Promise((done) => child.once("exit", done))).toBe(2);
    }
  });
});
