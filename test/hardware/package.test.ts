/** The Debian package: built for this machine, unpacked, and its gateway run with its own Node. The long form is
 * hardware/raspberry-pi/trial/try.sh: a booted Debian, upgrades, TLS, and arm64 under an emulator. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../helpers/test-gateway.ts";
import { hardware } from "./compiler.ts";

const pi = join(hardware, "raspberry-pi");
const architecture = spawnSync("dpkg", ["--print-architecture"], { encoding: "utf8" }).stdout?.trim();
const missing = whatIsMissing();

function whatIsMissing(): string | undefined {
  const absent = ["dpkg-deb", "g++", "npm"].filter((program) => spawnSync(program, ["--version"]).status !== 0);
  const why =
    absent.length > 0
      ? `no ${absent.join(", no ")}`
      : architecture !== "amd64" && architecture !== "arm64"
        ? `there is no package for ${architecture}`
        : undefined;
  if (why !== undefined && process.env["CI"]) throw new Error(why);
  return why;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === "object" && address ? address.port : 0;
}

describe.skipIf(missing !== undefined)(
  `the Debian package${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    let folder = "";
    let deb = "";
    let root = "";
    const running: ChildProcess[] = [];

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), "package-"));
      execFileSync(join(pi, "build-deb.sh"), ["--fast", "--out", folder], { stdio: ["ignore", "pipe", "inherit"] });
      deb = join(folder, readdirSync(folder).find((name) => name.endsWith(".deb")) ?? "");
      root = join(folder, "root");
      execFileSync("dpkg-deb", ["-x", deb, root]);
    });
    afterAll(async () => {
      for (const child of running) child.kill("SIGKILL");
      if (folder !== "") rmSync(folder, { recursive: true });
    });

    const node = () => join(root, "usr/lib/mqtt-sn-gateway/bin/node");
    const main = () => join(root, "usr/lib/mqtt-sn-gateway/dist/main.js");
    const info = (...fields: string[]) => execFileSync("dpkg-deb", ["-f", deb, ...fields], { encoding: "utf8" });

    test("says what it is, keeps the configuration as a conffile, and is not huge", () => {
      const { version } = JSON.parse(readFileSync(join(hardware, "../package.json"), "utf8")) as { version: string };
      expect(info("Package").trim()).toBe("mqtt-sn-gateway");
      expect(info("Version").trim()).toBe(version);
      expect(info("Architecture").trim()).toBe(architecture);
      const control = execFileSync("dpkg-deb", ["--ctrl-tarfile", deb]);
      const names = execFileSync("tar", ["t"], { input: control, encoding: "utf8" });
      for (const name of ["conffiles", "postinst", "prerm", "postrm", "md5sums"]) expect(names).toContain(`./${name}`);
      expect(statSync(deb).size).toBeLessThan(70 * 2 ** 20);
    });

    test("its Node is 24, and loads every native part", () => {
      const script =
        "for (const name of ['classic-level', 'serialport', '@abandonware/bluetooth-hci-socket', './native/build/udp-batch.node', './native/build/hci-socket.node', './native/build/tcp-read.node', './native/build/tcp-ring.node']) require(name);" +
        "process.stdout.write(process.version)";
      const cwd = join(root, "usr/lib/mqtt-sn-gateway");
      expect(execFileSync(node(), ["-e", script], { cwd, encoding: "utf8" })).toMatch(/^v24\./);
    });

    test("nothing in it can be written by others, and nothing is another system's", () => {
      const listing = execFileSync("dpkg-deb", ["-c", deb], { encoding: "utf8", maxBuffer: 2 ** 26 });
      const lines = listing.split("\n").filter((line) => line !== "");
      expect(lines.filter((line) => !/^[-dl]rw.r-.r-.|^l/.test(line))).toEqual([]);
      expect(lines.filter((line) => !line.includes("root/root"))).toEqual([]);
      expect(lines.filter((line) => /darwin|win32|android|musl/.test(line) && line.endsWith(".node"))).toEqual([]);
    });

    test("the packaged configuration is valid, and opens nothing but UDP 1883 and the health port on loopback", () => {
      const shipped = join(root, "etc/mqtt-sn-gateway/gateway.config.json");
      const said = execFileSync(node(), [main(), "check", "-c", shipped], { encoding: "utf8" });
      expect(said).toContain("udp: UDP 0.0.0.0:1883");
      expect(said).toContain("Health and metrics: http://127.0.0.1:9464");
      expect(said).not.toContain("built-in");
    });

    const noSystemd = spawnSync("systemd-analyze", ["--version"]).status !== 0;
    test.skipIf(noSystemd)(`the units are what systemd takes${noSystemd ? " (skipped: no systemd here)" : ""}`, () => {
      const units = join(root, "lib/systemd/system");
      const { stderr } = spawnSync(
        "systemd-analyze",
        ["verify", ...readdirSync(units).map((name) => join(units, name))],
        {
          encoding: "utf8",
        },
      );
      // The programs lie elsewhere here; two names are known to newer systemds only.
      const problems = stderr
        .split("\n")
        .filter((line) => /mqtt-sn-gateway/.test(line) && !/is not executable|Restart(Steps|MaxDelaySec)/.test(line));
      expect(problems).toEqual([]);
    });

    test("started as the unit does it: systemd is told, one message passes, SIGTERM ends it", async () => {
      const [port, broker] = [await freePort(), await freePort()];
      const config = join(folder, "gateway.config.json");
      writeFileSync(
        config,
        JSON.stringify({
          transports: [{ type: "udp", host: "127.0.0.1", port }],
          upstream: { url: `mqtt://127.0.0.1:${broker}` },
          tryOutBroker: true,
          api: { enabled: false },
          store: { folder: join(folder, "state") },
        }),
      );
      // A systemd-notify that records its messages.
      const told = join(folder, "told");
      writeFileSync(join(folder, "systemd-notify"), `#!/bin/sh\necho "$@" >>'${told}'\n`, { mode: 0o755 });
      const env = {
        ...process.env,
        PATH: `${folder}:${process.env["PATH"]}`,
        NOTIFY_SOCKET: "/x",
        WATCHDOG_USEC: "600000",
      };
      const gateway = spawn(node(), [main(), "start", "--config", config], { env, stdio: "ignore" });
      running.push(gateway);
      const words = () => spawnSync("cat", [told], { encoding: "utf8" }).stdout;
      await until("READY=1", () => words().includes("READY=1"));
      await until("the watchdog's word", () => words().includes("WATCHDOG=1"));

      const listener = spawn(node(), [main(), "sub", "-p", String(port), "-t", "try/#", "-v", "-C", "1", "-q", "1"]);
      running.push(listener);
      let [out, err] = ["", ""];
      listener.stdout.on("data", (data) => {
        out += data;
      });
      listener.stderr.on("data", (data) => {
        err += data;
      });
      await until("a subscription", () => err.includes("subscribed"));
      execFileSync(node(), [main(), "pub", "-p", String(port), "-t", "try/it", "-m", "packed", "-q", "1"]);
      await until("the message", () => out.includes("try/it packed"));

      const over = new Promise((done) => gateway.once("exit", done));
      gateway.kill("SIGTERM");
      expect(await over).toBe(0);
      expect(words()).toContain("STOPPING=1");
    });
  },
);
