/** `capture`, `decode` and `replay` as processes: the datagrams of a gateway are captured, read and sent again. */
import { spawnSync } from "node:child_process";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { freePort } from "../helpers/ports.ts";
import { main, Processes } from "../helpers/processes.ts";

const example = fileURLToPath(new URL("../captures/publish-and-subscribe.pcapng", import.meta.url));
const processes = new Processes("capture");

const run = (...args: string[]) => processes.command(args);

function output(args: readonly string[], input: string | Uint8Array = "") {
  const { stdout, stderr, status } = spawnSync(process.execPath, [main, ...args], { cwd: processes.folder, input });
  return { stdout: String(stdout), stderr: String(stderr), status };
}

async function started() {
  const ports = { udp: await freePort(), broker: await freePort() };
  const config = {
    transports: [{ type: "udp", host: "127.0.0.1", port: ports.udp }],
    tryOutBroker: true,
    upstream: { url: `mqtt://127.0.0.1:${ports.broker}` },
    api: { enabled: false },
  };
  writeFileSync(join(processes.folder, "gateway.config.json"), JSON.stringify(config));
  const gateway = run("start");
  await gateway.says("ready");
  return { gateway, to: `127.0.0.1:${ports.udp}` };
}

test("what is captured can be read, and said again to the gateway; it ends with Ctrl-C, or with the gateway", async () => {
  const { gateway, to } = await started();
  const file = join(processes.folder, "file.pcapng");
  const whole = run("capture", "-w", file);
  const bare = run("capture", "--client", "pubber", "--no-payload");
  await whole.says("wireshark -k -i - -o mqttsn.udp.port:1883");
  await bare.says("capturing");
  const first = output(["replay", example, "--to", to, "--speed", "max"]);
  expect(first).toMatchObject({ status: 0, stdout: "" });
  expect(first.stderr).toMatch(/of 4 devices, 20 answers: as in the capture/);
  await bare.says("PUBLISH · QoS 2 · topic id");
  expect(bare.output.text).toMatch(/MsgId 0 · 2 octets left out/);
  expect(bare.output.text).not.toMatch(/subber|"m0"/);
  whole.child.kill("SIGINT");
  await whole.ends();
  expect([whole.output.code, whole.output.text]).toEqual([0, expect.stringMatching(/40 datagrams/)]);
  expect(whole.output.text).not.toMatch(/has ended/);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const decoded = output(["decode", "-1", "-r", file]);
  expect(decoded.status).toBe(0);
  expect(decoded.stdout.split("\n")[0]).toMatch(
    / > client subber at udp\/.*: CONNECT · clean session · client "subber"/,
  );
  expect(output(["replay", file, "--to", to, "--speed", "max"])).toMatchObject({ status: 0, stdout: "" });
  expect(output(["capture", "--transport", "ble"])).toMatchObject({
    status: 1,
    stderr: 'there is no transport "ble"\n',
  });
  gateway.child.kill("SIGTERM");
  await bare.ends();
  expect([bare.output.code, bare.output.text]).toEqual([0, expect.stringMatching(/the gateway has ended/)]);
});

test("replay says what is answered otherwise, device by device", async () => {
  const silent = output([
    "replay",
    example,
    "--to",
    `127.0.0.1:${await freePort()}`,
    "--speed",
    "max",
    "--patience",
    "1",
  ]);
  expect(silent.status).toBe(2);
  expect(silent.stdout).toMatch(/missing: CONNACK code 0, SUBACK code 0, REGISTER "a\/b"/);
  expect(silent.stderr).toMatch(/4 devices got other answers/);
});

test("replay says that a capture begins within a session", async () => {
  const { gateway, to } = await started();
  const file = join(processes.folder, "within.pcapng");
  writeFileSync(file, withoutFirstPacket(readFileSync(example)));
  const { status, stdout } = output(["replay", file, "--to", to, "--speed", "max", "--patience", "1"]);
  expect([status, stdout]).toEqual([
    2,
    expect.stringMatching(/DISCONNECT \(the capture does not begin with its CONNECT\)/),
  ]);
  expect(stdout.match(/does not begin/g)).toHaveLength(1);
  gateway.child.kill("SIGTERM");
  await gateway.ends();
});

/** Blocks of pcapng have their type and their length in front; 6 is a packet. */
function withoutFirstPacket(octets: Buffer): Buffer {
  let at = 0;
  while (octets.readUInt32LE(at) !== 6) at += octets.readUInt32LE(at + 4);
  return Buffer.concat([octets.subarray(0, at), octets.subarray(at + octets.readUInt32LE(at + 4))]);
}

test("decode: hexadecimal, lines and captures; 0 all are messages, 2 one is not, 1 nothing to read", () => {
  expect(output(["decode", "-1"], "0216 # a ping\n\n0217\n")).toEqual({
    status: 0,
    stdout: "PINGREQ\nPINGRESP\n",
    stderr: "",
  });
  expect(output(["decode"], "0216").stdout).toMatch(/PINGREQ \[5\.4\.19\]/);
  expect(output(["decode", "-1"], "0216\n0100\n")).toMatchObject({
    status: 2,
    stdout: "PINGREQ\nnot a message (too-short)\n",
  });
  expect(output(["decode", "0100"]).status).toBe(2);
  for (const [input, why] of [
    ["", /there was no input/],
    ["0216\nno octets\n", /in hexadecimal/],
    [Buffer.from("d4c3b2a1020004000000000000000000", "hex"), /editcap -F pcapng/],
    [readFileSync(example).subarray(0, 400), /ends within a block/],
  ] as const)
    expect(output(["decode"], input)).toMatchObject({ status: 1, stderr: expect.stringMatching(why) as string });
  const capture = output(["decode"], readFileSync(example));
  expect(capture.status).toBe(0);
  expect(capture.stdout).toMatch(/CONNECT \[5\.4\.4\]/);
  expect(output(["decode", "--port", "7", "-r", example])).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/no UDP datagram to or from port 7/) as string,
  });
  expect(output(["decode", "-r", "none"])).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/ENOENT/) as string,
  });
});

test("try-device says what a device does right, what was not played, and what is no situation", async () => {
  const port = String(await freePort());
  const trial = run(
    "try-device",
    "--host",
    "127.0.0.1",
    "-p",
    port,
    "--only",
    "lost-connack",
    "retained",
    "long-message",
  );
  await trial.says("waiting for a device");
  const device = run("sub", "-p", port, "-i", "d1", "-t", "cmd/x", "-q", "1", "--retry-interval", "1");
  await trial.ends();
  expect(trial.output.code).toBe(0);
  expect(trial.output.text).toMatch(
    /ok {5}lost-connack[\s\S]*ok {5}retained[\s\S]*ok {5}long-message[\s\S]*3 of 3 right, 0 wrong/,
  );
  device.child.kill("SIGKILL");
  const alone = output(["try-device", "--host", "127.0.0.1", "-p", port, "--only", "register", "-W", "1"]);
  expect(alone).toMatchObject({
    status: 2,
    stdout: expect.stringMatching(/begins when the device sends SUBSCRIBE/) as string,
  });
  expect(output(["try-device", "--only", "flood"])).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/no situation "flood"; there are lost-connack/) as string,
  });
});
