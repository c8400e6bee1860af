/** The shipped command, as a process: `npm test` builds it first. */
import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { freePort } from "../helpers/ports.ts";
import { main, Processes } from "../helpers/processes.ts";
import { until } from "../helpers/test-gateway.ts";

const processes = new Processes("command");

async function udpPort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((done) => socket.bind(0, "127.0.0.1", done));
  const { port } = socket.address();
  await new Promise<void>((done) => socket.close(() => done()));
  return port;
}

async function config(over: Record<string, unknown> = {}) {
  const ports = { udp: await udpPort(), broker: await freePort(), api: await freePort() };
  const file = join(processes.folder, "gateway.config.json");
  const write = (more: Record<string, unknown> = {}) =>
    writeFileSync(
      file,
      JSON.stringify({
        transports: [{ type: "udp", host: "127.0.0.1", port: ports.udp }],
        tryOutBroker: true,
        upstream: { url: `mqtt://127.0.0.1:${ports.broker}` },
        api: { port: ports.api },
        ...over,
        ...more,
      }),
    );
  write();
  return { ports, file, write };
}

const run = (...args: string[]) => processes.command(args);
const runIn = (env: NodeJS.ProcessEnv, ...args: string[]) => processes.command(args, { env });

describe("start", () => {
  test("serves pub and sub, health and metrics, and ends in order at SIGTERM", async () => {
    const { ports } = await config();
    const gateway = run("start");
    await gateway.says("ready");
    expect(gateway.output.text).toMatch(/only for trying out: it stores and protects nothing/);
    const port = String(ports.udp);
    const sub = run("sub", "-p", port, "-t", "a/#", "-q", "2", "-v", "-C", "3");
    await sub.says("subscribed");
    for (const qos of ["0", "1", "2"]) {
      const pub = run("pub", "-p", port, "-t", "a/b", "-m", `m${qos}`, "-q", qos);
      await pub.ends();
      expect(pub.output).toEqual({ text: "", code: 0 });
    }
    await sub.ends();
    expect(sub.output.text.split("\n").filter((line) => line.startsWith("a/b"))).toEqual([
      "a/b m0",
      "a/b m1",
      "a/b m2",
    ]);
    const health = await fetch(`http://127.0.0.1:${ports.api}/healthz`);
    expect([health.status, ((await health.json()) as { ok: boolean }).ok]).toEqual([200, true]);
    expect(await (await fetch(`http://127.0.0.1:${ports.api}/metrics`)).text()).toContain(
      'mqttsn_messages_received_total{type="PUBLISH"} 3',
    );
    const metrics = await (await fetch(`http://127.0.0.1:${ports.api}/metrics`)).text();
    // Of the three one is at QoS 0.
    expect(metrics).toContain('mqttsn_upstream_acknowledgement_seconds_count{upstream="default"} 2');
    expect(metrics).toMatch(/mqttsn_upstream_bytes_total\{upstream="default",direction="out"\} [1-9]/);
    const outOf = (name: string) =>
      Number(new RegExp(`${name}\\{upstream="default",direction="out"\\} (\\d+)`).exec(metrics)?.[1]);
    expect(outOf("mqttsn_upstream_wire_bytes_total")).toBeGreaterThan(outOf("mqttsn_upstream_bytes_total"));
    expect(metrics).toMatch(/mqttsn_store_commit_seconds_count [1-9]/);
    gateway.child.kill("SIGTERM");
    await gateway.ends();
    expect(gateway.output.code).toBe(0);
  });

  test("a gateway without a broker is alive and ready; health and metrics name each upstream", async () => {
    const { ports } = await config({
      tryOutBroker: false,
      upstreams: [{ name: "meters", clients: "meter-*", url: "mqtt://127.0.0.1:1", serviceClientId: "gw-meters" }],
    });
    const gateway = run("start");
    await gateway.says("ready");
    const get = (path: string) => fetch(`http://127.0.0.1:${ports.api}${path}`);
    expect([(await get("/livez")).status, (await get("/readyz")).status, (await get("/healthz")).status]).toEqual([
      200, 200, 503,
    ]);
    const { upstreams, store } = (await (await get("/healthz")).json()) as Record<string, unknown>;
    expect(store).toBe("ok");
    expect(upstreams).toEqual({ default: { ok: false, connections: 0 }, meters: { ok: false, connections: 0 } });
    expect(await (await get("/metrics")).text()).toContain('mqttsn_upstream_up{upstream="meters"} 0');
  });

  test("a sleeper fetches what came meanwhile", async () => {
    const { ports } = await config();
    await run("start").says("ready");
    const port = String(ports.udp);
    const sub = run("sub", "-p", port, "-t", "a", "-q", "1", "--sleep", "1", "--wakes", "60", "-C", "1");
    await sub.says("subscribed");
    await run("pub", "-p", port, "-t", "a", "-m", "while asleep", "-q", "1").ends();
    await sub.says("while asleep");
    await sub.ends();
    expect(sub.output.code).toBe(0);
  });

  test("sessions and queue are asked for over the socket; what changes something is a line in the log", async () => {
    const { ports } = await config({ log: { level: "debug" } });
    const gateway = run("start");
    await gateway.says("ready");
    const sub = run("sub", "-p", String(ports.udp), "-i", "sleeper", "-t", "a", "-q", "1", "--sleep", "60");
    await sub.says("subscribed");
    const said = async (...words: string[]) => {
      const command = run(...words);
      await command.ends();
      return { ...command.output };
    };
    await gateway.says("client sleeper is asleep");
    expect((await said("status")).text).toMatch(/there; \d{4}-\d\d-\d\d: [1-9]\d* octets out, [1-9]\d* in/);
    expect((await said("sessions")).text).toMatch(/^client .*\nsleeper +asleep +udp\/127/);
    expect(JSON.parse((await said("sessions", "--json")).text)).toMatchObject([{ clientId: "sleeper", linkUp: true }]);
    expect(await said("queue")).toMatchObject({
      code: 0,
      text: expect.stringContaining("dead letters:   0") as string,
    });
    expect(await said("queue", "purge", "3")).toEqual({ code: 0, text: "0 deleted\n" });
    expect(await said("sessions", "drop", "sleeper")).toEqual({
      code: 0,
      text: "the session of sleeper has ended\n",
    });
    expect(await said("sessions", "drop", "sleeper")).toEqual({
      code: 1,
      text: 'there is no session of "sleeper"\n',
    });
    expect(gateway.output.text).toContain("client sleeper is disconnected: ended by the operator");
    const audit = gateway.output.text.split("\n").filter((line) => line.includes('"operator_command"'));
    expect(audit.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
      'control socket: queue.purge {"ids":"3"}: done {"purged":0}',
      'control socket: sessions.drop {"client":"sleeper"}: done {"dropped":"sleeper"}',
      'control socket: sessions.drop {"client":"sleeper"}: refused: there is no session of "sleeper"',
    ]);
  });

  test("SIGHUP: new predefined topics count at once, a broken file changes nothing, other keys are named", async () => {
    const { ports, write, file } = await config();
    const gateway = run("start");
    await gateway.says("ready");
    const publish = async () => {
      const pub = run("pub", "-p", String(ports.udp), "--predefined", "5", "-m", "x", "-q", "1");
      await pub.ends();
      return pub.output;
    };
    expect((await publish()).text).toMatch(/invalid topic id/);
    writeFileSync(file, "{ broken");
    gateway.child.kill("SIGHUP");
    await gateway.says("the settings stay as they were");
    write({ topics: { predefined: { "5": "five" } }, gateway: { id: 9 } });
    gateway.child.kill("SIGHUP");
    await gateway.says("these changes take effect after a restart: gateway");
    expect(await publish()).toEqual({ text: "", code: 0 });
  });

  test("every problem of the configuration at once, no stack, exit code 1", async () => {
    await config({ bufer: {}, log: { level: "loud" } });
    const { output, ends } = run("start");
    await ends();
    expect(output.code).toBe(1);
    expect(output.text).toMatch(/did you mean "buffer"/);
    expect(output.text).toMatch(/log\.level/);
    expect(output.text).not.toMatch(/\n\s+at /);
  });

  test("a UDP port that is taken: one clear line, exit code 1", async () => {
    const { ports } = await config();
    const socket = createSocket("udp4");
    await new Promise<void>((done) => socket.bind(ports.udp, "127.0.0.1", done));
    const { output, ends } = run("start");
    await ends();
    socket.close();
    expect(output.code).toBe(1);
    expect(output.text).toMatch(/another program has this port/);
  });

  test("something that is no broker on the try-out broker's port: one clear line, exit code 1", async () => {
    const { ports } = await config();
    const server = createServer((socket) => socket.end("HTTP/1.1 400\r\n"));
    await new Promise<void>((done) => server.listen(ports.broker, "127.0.0.1", done));
    const { output, ends } = run("start");
    await ends();
    server.close();
    expect(output.code).toBe(1);
    expect(output.text).toMatch(/no MQTT broker; change the port in upstream\.url/);
  });

  test("health's port is taken: a warning, and the gateway runs", async () => {
    const { ports } = await config();
    const server = createServer();
    await new Promise<void>((done) => server.listen(ports.api, "127.0.0.1", done));
    const gateway = run("start");
    await gateway.says("The gateway runs without");
    await gateway.says("ready");
    server.close();
  });

  test("two gateways with the try-out broker: the second uses the first one's", async () => {
    const { file, ports } = await config();
    await run("start").says("ready");
    writeFileSync(
      file,
      JSON.stringify({
        transports: [{ type: "udp", host: "127.0.0.1", port: await udpPort() }],
        tryOutBroker: true,
        upstream: { url: `mqtt://127.0.0.1:${ports.broker}`, serviceClientId: "second" },
        store: { folder: "second" },
        api: { enabled: false },
      }),
    );
    await run("start").says("the gateway uses it");
  });
});

test("Bluetooth without its package: UDP serves, and one line says what to type", async () => {
  const { write, ports } = await config();
  // npm leaves out both where there is no compiler and nothing prebuilt fits.
  const withoutNoble = join(processes.folder, "without-noble.cjs");
  writeFileSync(
    withoutNoble,
    `const Module = require("node:module");
    const load = Module._load;
    Module._load = function (name, ...rest) {
      if (!/bluetooth-hci-socket$/.test(name)) return load.call(this, name, ...rest);
      throw Object.assign(new Error("Cannot find module '" + name + "'"), { code: "MODULE_NOT_FOUND" });
    };`,
  );
  write({ transports: [{ type: "udp", host: "127.0.0.1", port: ports.udp }, { type: "ble" }] });
  const gateway = runIn({ ...process.env, NODE_OPTIONS: `--require ${withoutNoble}` }, "start");
  await gateway.says(
    "neither driver can be used: @abandonware/noble is not installed, @stoprocent/noble is not installed",
  );
  await gateway.says(". The gateway continues and tries again");
  const published = spawnSync(process.execPath, [
    main,
    "pub",
    "-p",
    String(ports.udp),
    "-t",
    "ab",
    "-m",
    "x",
    "-q",
    "1",
  ]);
  expect(published.status).toBe(0);
});

describe("other commands", () => {
  const output = (...args: string[]) => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [main, ...args], {
      cwd: processes.folder,
      encoding: "utf8",
    });
    return { stdout, stderr, status };
  };

  test("check says what would run, or what is wrong", async () => {
    const { write } = await config();
    expect(output("check")).toMatchObject({ status: 0, stdout: expect.stringContaining("is valid") as string });
    write({ upstream: { url: "mqtts://b:8883", password: { env: "NOT_SET_ANYWHERE" } }, tryOutBroker: false });
    expect(output("check")).toMatchObject({ status: 1, stderr: expect.stringContaining("NOT_SET_ANYWHERE") as string });
  });

  test("decode", () => {
    expect(output("decode", "02", "16").stdout).toMatch(/PINGREQ/);
    expect(output("decode", "0100").stdout).toMatch(/not a message \(too-short\)/);
    expect(output("decode", "xyz")).toMatchObject({ status: 1, stdout: "" });
  });

  test("pub says what is missing, and when nobody answers what to check", async () => {
    expect(output("pub", "-m", "x").stderr).toMatch(/the topic is missing/);
    expect(output("pub", "-t", "a/b", "-m", "x", "-q", "-1").stderr).toMatch(/QoS -1 needs/);
    const silent = output("pub", "-p", String(await udpPort()), "-t", "ab", "-m", "x", "--retry-interval", "1");
    expect(silent).toMatchObject({ status: 1, stderr: expect.stringContaining("no answer from 127.0.0.1") as string });
  });

  test("--version and --help", () => {
    expect(output("--version").stdout).toMatch(/^\d+\.\d+\.\d+/);
    expect(output("--help").stdout).toMatch(/start.*\n.*check/);
  });
});

describe("secrets", () => {
  test("a password in a url is nowhere to be seen: check, log, what systemd is told, health, metrics", async () => {
    const told = join(processes.folder, "told");
    const notify = join(processes.folder, "systemd-notify");
    writeFileSync(notify, `#!/bin/sh\necho "$@" >> ${told}\n`, { mode: 0o755 });
    const { ports, file } = await config({ tryOutBroker: false, log: { level: "trace" } });
    const url = `mqtt://user:hunter2@127.0.0.1:${ports.broker}`;
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), upstream: { url } }));
    const check = run("check");
    await check.ends();
    expect(check.output.code).toBe(0);
    expect(check.output.text).toMatch(/Broker: mqtt:\/\/\*\*\*@127\.0\.0\.1/);
    expect(check.output.text).toMatch(/Warning: upstream: a password stands in the url/);
    const environment = { ...process.env, NOTIFY_SOCKET: "@none", PATH: `${processes.folder}:${process.env["PATH"]}` };
    const gateway = runIn(environment, "start");
    await gateway.says("ready");
    await gateway.says("no connection to the broker");
    await until("what systemd is told", () => existsSync(told) && /STATUS/.test(readFileSync(told, "utf8")));
    const pages = ["healthz", "metrics"].map((page) => fetch(`http://127.0.0.1:${ports.api}/${page}`));
    const seen = await Promise.all(pages.map(async (page) => (await page).text()));
    const all = [check.output.text, gateway.output.text, readFileSync(told, "utf8"), ...seen].join("\n");
    expect(all).not.toMatch(/hunter/);
  });

  test("a mistake beside a secret is named without it", async () => {
    const { file } = await config();
    writeFileSync(file, JSON.stringify({ upstream: { url: "mqtt://user:hunter2@b:x", password: "hunter3", x: 1 } }));
    const check = run("check");
    await check.ends();
    expect(check.output.code).toBe(1);
    expect(check.output.text).toMatch(/upstream\.password/);
    expect(check.output.text).not.toMatch(/hunter/);
  });
});
