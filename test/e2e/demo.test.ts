/** `demo`, the shipped command as a process: its characters are what it says of them, and nothing is left of it. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { freePort } from "../helpers/ports.ts";
import { until } from "../helpers/test-gateway.ts";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const headers = { "x-mqttsn": "1" };

test.each(["SIGTERM", "SIGINT"] as const)(
  "twenty devices with characters; %s ends all of it, and leaves nothing",
  async (signal) => {
    const folder = mkdtempSync(join(tmpdir(), "demo-"));
    const port = await freePort();
    const child = spawn(process.execPath, [main, "demo", "--port", String(port)], {
      cwd: folder,
      env: { ...process.env, TMPDIR: folder },
    });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
    try {
      await until(`a link in ${said}`, () => said.includes("#token="));
      const link = new URL(/http:\S+/.exec(said)?.[0] ?? "");
      const token = link.hash.replace("#token=", "");
      const logIn = await fetch(new URL("api/v1/log-in", link), {
        method: "POST",
        headers,
        body: JSON.stringify({ token }),
      });
      const cookie = logIn.headers.get("set-cookie")?.split(";")[0] ?? "";
      const ask = async (path: string) => {
        const answer = await fetch(new URL(`api/v1/${path}`, link), { headers: { ...headers, cookie } });
        return (await answer.json()) as { devices: { clientId: string; state: string }[] } & { clientId?: string }[];
      };
      const stateOf = async (id: string) =>
        (await ask("devices?limit=100")).devices.find(({ clientId }) => clientId === id)?.state;
      for (const id of ["meter-gas", "shutter", "late"])
        await until(`${id} asleep`, async () => (await stateOf(id)) === "asleep");
      await until("all are there", async () => (await ask("devices?limit=100")).devices.length >= 18);
      await until("one knocks", async () => (await ask("knocking")).some(({ clientId }) => clientId === "stranger-7"));
      const folderOfIt = join(folder, readdirSync(folder).find((name) => name.startsWith("mqtt-sn-demo-")) ?? "");
      expect(existsSync(join(folderOfIt, "gateway.config.json"))).toBe(true);
      child.kill(signal);
      expect(await ended).toBe(0);
      expect(readdirSync(folder)).toEqual([]);
      await expect(fetch(link)).rejects.toThrow();
      expect(said).not.toMatch(/error/i);
    } finally {
      child.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    }
  },
);
