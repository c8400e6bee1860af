/** `console` and `check`, with the shipped command as a process: what is printed where, and what is not. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freePorts } from "../helpers/ports.ts";
import { Processes } from "../helpers/processes.ts";
import { until } from "../helpers/test-gateway.ts";

const processes = new Processes("console");

async function gateway(
  api: Record<string, unknown> = {},
  store: Record<string, unknown> = {},
): Promise<{ output: { text: string }; api: number; udp: number }> {
  const [udp = 0, broker, apiPort = 0] = await freePorts(3);
  const config = {
    transports: [{ type: "udp", host: "127.0.0.1", port: udp }],
    tryOutBroker: true,
    upstream: { url: `mqtt://127.0.0.1:${broker}` },
    api: { port: apiPort, ...api },
    store,
  };
  writeFileSync(join(processes.folder, "gateway.config.json"), JSON.stringify(config));
  const { output } = run(["start"]);
  await until(`ready in ${output.text}`, () => output.text.includes("ready"));
  return { output, api: apiPort, udp };
}

function run(args: string[], input = "", env: Record<string, string> = {}) {
  return processes.command(args, { input, env: { ...process.env, ...env } });
}

async function said(args: string[], input = "", env: Record<string, string> = {}) {
  const { output, ends } = run(args, input, env);
  await ends();
  return output;
}

const headers = { "x-mqttsn": "1" };

test("a link is for a terminal: what is no terminal has to say so, and no log ever has it", async () => {
  const { output, api } = await gateway();
  const refused = await said(["console"]);
  expect([refused.code, refused.text]).toEqual([
    1,
    expect.stringMatching(/standard output is not a terminal.*--anywhere/),
  ]);
  const { text } = await said(["console", "--anywhere", "--viewer"]);
  const token = /^http:\/\/127\.0\.0\.1:\d+\/#token=([\w-]{32})\n$/.exec(text)?.[1];
  expect(token).toBeDefined();
  const place = `http://127.0.0.1:${api}/`;
  const page = await fetch(place);
  expect(await page.text()).toContain("console.js");
  for (const name of ["console.js", "stream-worker.js", "page.css", "icon.svg"])
    expect((await fetch(place + name)).status, name).toBe(200);
  const entered = await fetch(`${place}api/v1/log-in`, { method: "POST", headers, body: JSON.stringify({ token }) });
  expect(await entered.json()).toMatchObject({ role: "viewer" });
  const cookie = entered.headers.get("set-cookie")?.split(";")[0] ?? "";
  expect(await (await fetch(`${place}api/v1/overview`, { headers: { cookie } })).json()).toMatchObject({ needs: [] });
  await until("the log-in in the log", () => output.text.includes("logged in as viewer"));
  expect(output.text).toMatch(
    /console at http:\/\/127\.0\.0\.1:\d+\/ \(for a link that logs in: mqtt-sn-gateway console\)/,
  );
  expect(output.text).toMatch(/control socket: console\.link \{\}: done"/);
  expect(output.text).not.toContain(token);
  expect(output.text).not.toContain("token=");
  expect(readFileSync(join(processes.folder, "data/managed.json"), "utf8")).not.toContain(cookie.split("=")[1]);
});

test("a password is set over standard input; it logs in, the log has neither it nor its hash, and check says that there is one", async () => {
  const { output, api } = await gateway();
  const short = await said(["console", "--lan", "--anywhere"], "short\n");
  expect([short.code, short.text]).toEqual([1, expect.stringContaining("at least 10 characters")]);
  const { text } = await said(["console", "--lan", "--anywhere"], "correct horse\n");
  expect(text).toMatch(/The password is set.*\nOnly this machine can reach the console yet/);
  const body = JSON.stringify({ password: "correct horse" });
  const entered = await fetch(`http://127.0.0.1:${api}/api/v1/log-in`, { method: "POST", headers, body });
  expect(await entered.json()).toMatchObject({ role: "operator" });
  expect(output.text).not.toMatch(/correct|scrypt/);
  const checked = await said(["check"]);
  expect(checked.text).toMatch(/Changed by hand: .*managed\.json has a password for the console/);
  expect(checked.text).toMatch(/Console: there too/);
});

test("api.console: false: there is no page, no API, and no link", async () => {
  const { api } = await gateway({ console: false });
  for (const path of ["", "console.js", "api/v1/me", "api/v1/events"])
    expect((await fetch(`http://127.0.0.1:${api}/${path}`)).status, path).toBe(404);
  expect((await fetch(`http://127.0.0.1:${api}/metrics`)).status).toBe(200);
  const { text, code } = await said(["console", "--anywhere"]);
  expect([code, text]).toEqual([
    1,
    expect.stringMatching(/there is no console: api\.enabled or api\.console is false/),
  ]);
});

test("a token for a program: shown once, kept as a hash, named in the log, and taken back", async () => {
  const { output, api } = await gateway();
  const { text, code } = await said(["console", "token", "add", "graphs", "--role", "viewer"]);
  const token = /^(mqttsn_[\w-]{43})\nIt is not shown again/.exec(text)?.[1] ?? "";
  expect([code, token.length]).toEqual([0, 50]);
  const asked = () =>
    fetch(`http://127.0.0.1:${api}/api/v1/session?client=x`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${token}` },
    });
  expect((await asked()).status).toBe(403);
  expect((await said(["console", "token", "add", "graphs", "--role", "viewer"])).text).toMatch(
    /there is a token graphs/,
  );
  expect((await said(["console", "token"])).text).toMatch(/^graphs +viewer +\d{4}-\S+ +managed\.json$/m);
  expect((await said(["console", "token", "remove", "graphs"])).code).toBe(0);
  expect((await asked()).status).toBe(401);
  expect(output.text).toContain('control socket: token.add {\\"name\\":\\"graphs\\",\\"role\\":\\"viewer\\"}: done');
  expect(output.text).toMatch(/token graphs from 127\.0\.0\.1: sessions\.drop/);
  expect(output.text).not.toContain(token);
  expect(readFileSync(join(processes.folder, "data/managed.json"), "utf8")).not.toContain(token);
});

test("with a store in memory there is no socket: sessions and queue ask by HTTP, with a token, also again and again", async () => {
  // Made before the gateway runs: such a store keeps none, so its hash goes into the configuration.
  writeFileSync(join(processes.folder, "gateway.config.json"), JSON.stringify({ store: { kind: "memory" } }));
  const made = await said(["console", "token", "add", "robot", "--role", "operator"]);
  const [, token = "", entry = "{}"] = /^(\S+)\n[\s\S]*start the gateway again:\n(.*)\n$/.exec(made.text) ?? [];
  const { api, udp, output } = await gateway({ tokens: [JSON.parse(entry)] }, { kind: "memory" });
  const device = run(["sub", "-p", String(udp), "-t", "a", "-i", "lamp"]);
  const withToken = { MQTT_SN_GATEWAY_TOKEN: token };
  const place = `http://127.0.0.1:${api}/`;
  await until(`a session in ${device.output.text}`, async () =>
    (await said(["sessions"], "", withToken)).text.includes("lamp"),
  );
  expect((await said(["sessions"])).text).toMatch(/a token is needed, in \$MQTT_SN_GATEWAY_TOKEN or by --token-file/);
  writeFileSync(join(processes.folder, "token"), `${token}\n`);
  const elsewhere = ["--url", place, "--token-file", "token"];
  expect(JSON.parse((await said(["sessions", "list", "--json", ...elsewhere])).text)).toMatchObject([
    { clientId: "lamp" },
  ]);
  expect(await said(["queue", ...elsewhere])).toMatchObject({
    code: 0,
    text: expect.stringMatching(/^for the broker: 0/),
  });
  expect((await said(["queue", "--url", place], "", { MQTT_SN_GATEWAY_TOKEN: "wrong" })).text).toMatch(
    /this token is not known/,
  );
  expect((await said(["queue", "--url", "http://127.0.0.1:1/"], "", withToken)).text).toMatch(
    /no gateway answers there/,
  );
  const watching = run(["sessions", "list", "--watch", "1"], "", withToken);
  const pictures = () => watching.output.text.match(/^client +state/gm)?.length ?? 0;
  await until(`two pictures in ${watching.output.text}`, () => pictures() >= 2);
  expect(watching.output.code).toBeUndefined(); // it continues until a signal
  watching.child.kill("SIGINT");
  await watching.ends();
  expect(await said(["sessions", "drop", "lamp", ...elsewhere])).toEqual({
    code: 0,
    text: "the session of lamp has ended\n",
  });
  expect(output.text).toMatch(/token robot from 127\.0\.0\.1: sessions\.drop/);
  expect(output.text).not.toContain(token);
}, 120_000); // fourteen processes
