/** The page's files, as esbuild made them. They are read once, sent compressed, and identified by their hash. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const zipped = promisify(gzip);

/** The files that are served, by path. Other files of the folder are not served. */
const files: Readonly<Record<string, { readonly name: string; readonly type: string }>> = {
  "/": { name: "index.html", type: "text/html; charset=utf-8" },
  "/console.js": { name: "console.js", type: "text/javascript; charset=utf-8" },
  "/stream-worker.js": { name: "stream-worker.js", type: "text/javascript; charset=utf-8" },
  "/page.css": { name: "page.css", type: "text/css; charset=utf-8" },
  "/icon.svg": { name: "icon.svg", type: "image/svg+xml" },
};

interface Loaded {
  readonly plain: Buffer;
  readonly zipped: Buffer;
  readonly tag: string;
}

export class Page {
  readonly #folder: URL;
  readonly #loaded = new Map<string, Loaded>();

  constructor(folder: URL) {
    this.#folder = folder;
  }

  has(path: string): boolean {
    return Object.hasOwn(files, path);
  }

  /** @throws when the page was not built */
  async send(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { name, type } = files[path] ?? { name: "index.html", type: "text/html" };
    const { plain, zipped, tag } = this.#loaded.get(name) ?? (await this.#load(name));
    const headers = { "content-type": type, "cache-control": "no-cache", etag: tag, vary: "accept-encoding" };
    if (request.headers["if-none-match"] === tag) {
      response.writeHead(304, headers).end();
      return;
    }
    const takesZip = /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
    const body = takesZip ? zipped : plain;
    response.writeHead(200, {
      ...headers,
      ...(takesZip && { "content-encoding": "gzip" }),
      "content-length": body.byteLength,
    });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  async #load(name: string): Promise<Loaded> {
    const plain = await readFile(new URL(name, this.#folder));
    const tag = `"${createHash("sha256").update(plain).digest("base64url").slice(0, 22)}"`;
    const loaded = { plain, zipped: await zipped(plain), tag };
    this.#loaded.set(name, loaded);
    return loaded;
  }
}
