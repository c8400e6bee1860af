/** For scripts that measure: a gateway as a separate process that may be ended and started again, and a redis-server. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findRedis } from "../test/helpers/find-redis.mjs";

const main = new URL("../dist/main.js", import.meta.url).pathname;

export class GatewayProcess {
  ended = Promise.resolve();
  #folder;
  #child;
  #text = "";
  #heard = () => {};

  constructor(folder, config) {
    this.#folder = folder;
    mkdirSync(folder);
    writeFileSync(join(folder, "gateway.config.json"), JSON.stringify(config));
  }

  /** Waits until it says so. */
  async start(words) {
    this.#text = "";
    this.#child = spawn(process.execPath, [main, "start"], { cwd: this.#folder, stdio: ["ignore", "pipe", "inherit"] });
    this.#child.stdout.on("data", (more) => {
      this.#text += more;
      this.#heard();
    });
    this.ended = once(this.#child, "exit");
    await Promise.race([this.says(words), this.ended.then(() => Promise.reject(new Error(this.#text)))]);
  }

  says(words) {
    return new Promise((done) => {
      this.#heard = () => this.#text.includes(words) && done();
      this.#heard();
    });
  }

  /** As soon as it has seen that the other gateway stands by. */
  async drain() {
    const ask = { socketPath: join(this.#folder, "data/control.sock"), path: "/fleet/drain", method: "POST" };
    for (;;) {
      const { statusCode } = await new Promise((done, failed) => {
        const asked = request(ask, (response) => response.resume().once("end", () => done(response)));
        asked.once("error", failed).end();
      });
      if (statusCode === 200) return;
      await sleep(100);
    }
  }

  async end(signal) {
    this.#child.kill(signal);
    await this.ended;
  }

  /** Again, or before it was started: nothing happens. */
  async kill() {
    if (this.#child?.exitCode === null && this.#child.signalCode === null) await this.end("SIGKILL");
  }
}

/** `fsync`: of the append-only file, as in redis.conf. */
export async function redisAt(port, folder, fsync) {
  const program = findRedis();
  if ("missing" in program) throw new Error(program.missing);
  const env = program.libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: program.libraries };
  const words = ["--port", `${port}`, "--dir", folder, "--save", "", "--appendonly", "yes", "--appendfsync", fsync];
  const redis = spawn(program.path, words, { env, stdio: "ignore" });
  await sleep(500);
  return redis;
}
