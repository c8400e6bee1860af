/** Requests to the console of a gateway that runs as a process, with the cookie of a login. */
import { expect } from "vitest";
import type { PairGateway } from "./pair-gateway.ts";

/** A browser that is logged in, as far as its requests go. */
export class Browser {
  readonly #base: string;
  readonly #cookie: string;

  private constructor(base: string, cookie: string) {
    this.#base = base;
    this.#cookie = cookie;
  }

  static async of(gateway: PairGateway, port: number, role = "operator"): Promise<Browser> {
    const { links } = JSON.parse((await gateway.ask(`/console/link?role=${role}`, "POST")).body) as { links: string[] };
    const token = links[0]?.split("#token=")[1];
    const base = `http://127.0.0.1:${port}/api/v1`;
    const body = JSON.stringify({ token });
    const answer = await fetch(`${base}/log-in`, { method: "POST", body, headers: jsonFrom(port) });
    expect(answer.status).toBe(200);
    return new Browser(base, answer.headers.get("set-cookie")?.split(";")[0] ?? "");
  }

  async ask<T>(path: string, method = "GET", input?: unknown): Promise<{ status: number; body: T }> {
    const answer = await fetch(`${this.#base}/${path}`, {
      method,
      headers: { cookie: this.#cookie, ...jsonFrom(Number(new URL(this.#base).port)) },
      ...(input !== undefined && { body: JSON.stringify(input) }),
    });
    return { status: answer.status, body: (await answer.json()) as T };
  }

  /** Reads the stream of events until its text has all these words. */
  async hears(query: string, words: readonly string[], meanwhile: () => unknown): Promise<string> {
    const end = new AbortController();
    const answer = await fetch(`${this.#base}/events${query}`, {
      headers: { cookie: this.#cookie },
      signal: AbortSignal.any([end.signal, AbortSignal.timeout(15_000)]),
    });
    let text = "";
    for await (const part of answer.body ?? []) {
      if (text === "") await meanwhile();
      text += Buffer.from(part).toString();
      if (words.every((each) => text.includes(each))) break;
    }
    end.abort();
    return text;
  }
}

const jsonFrom = (port: number) => ({ "x-mqttsn": "1", origin: `http://127.0.0.1:${port}` });
