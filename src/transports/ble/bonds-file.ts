/**
 * Stores the bonds on disk. They contain keys, so only the gateway's user may read the file, and it is in no backup of
 * the store. Written immediately, as a new file that replaces the old one.
 */
import { readFileSync } from "node:fs";
import { mkdir, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import type { KeptBond } from "./bonds.ts";

const hexOf = (octets: number) =>
  z.codec(
    z.string().regex(new RegExp(`^[0-9a-f]{${2 * octets}}$`)),
    z.custom<Uint8Array>((value) => value instanceof Uint8Array),
    {
      decode: (text) => Uint8Array.from(Buffer.from(text, "hex")),
      encode: (bytes) => Buffer.from(bytes).toString("hex"),
    },
  );

const content = z.strictObject({
  version: z.literal(1),
  bonds: z.array(
    z.strictObject({
      identity: z.strictObject({
        address: z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/),
        type: z.enum(["public", "random"]),
      }),
      name: z.string(),
      since: z.string(),
      identityKey: hexOf(16).exactOptional(),
      longTermKey: hexOf(16),
      random: hexOf(8),
      diversifier: z.int().min(0).max(65_535),
      secureConnections: z.boolean(),
      authenticated: z.boolean(),
    }),
  ),
});

export class BondsFile {
  readonly #path: string;
  readonly #warn: (say: string) => void;
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string, warn: (say: string) => void) {
    this.#path = path;
    this.#warn = warn;
  }

  /** @throws {GatewayError} ERR_TRANSPORT_OPEN when the file exists and cannot be read; then it is not overwritten. */
  read(): readonly KeptBond[] {
    let text: string;
    try {
      text = readFileSync(this.#path, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
      throw damaged(this.#path, error instanceof Error ? error.message : String(error));
    }
    try {
      return content.decode(JSON.parse(text)).bonds;
    } catch {
      throw damaged(this.#path, "it is damaged"); // the parser's error would contain keys
    }
  }

  write(bonds: readonly KeptBond[]): void {
    const text = `${JSON.stringify(content.encode({ version: 1, bonds: [...bonds] }), null, 1)}\n`;
    this.#writing = this.#writing.then(() => this.#write(text));
  }

  async close(): Promise<void> {
    await this.#writing;
  }

  async #write(text: string): Promise<void> {
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
      const file = await open(`${this.#path}.new`, "w", 0o600);
      try {
        await file.chmod(0o600); // an old file may exist
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${this.#path}.new`, this.#path);
    } catch (error) {
      this.#warn(`the bonds cannot be written, and are lost at the next start: ${String(error)}`);
    }
  }
}

function damaged(path: string, why: string): GatewayError {
  const say = `the bonds in ${path} cannot be read: ${why}; remove the file, then the devices are paired again`;
  return new GatewayError("ERR_TRANSPORT_OPEN", { path }, { say });
}
