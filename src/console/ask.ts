/**
 * Requests to the gateway. Paths and types are taken from the gateway's own list of commands, without a second copy.
 */
import type { JsonCommandName, OutputOf } from "../runtime/commands.ts";

const base = "api/v1/";

export class Refused extends Error {
  /** The HTTP status; 0: no answer. */
  readonly status: number;

  constructor(status: number, say: string) {
    super(say);
    this.status = status;
  }
}

export type Query = Readonly<Record<string, string | number | undefined>>;

/** @throws {Refused} */
export async function ask<Name extends JsonCommandName>(path: string, query: Query = {}): Promise<OutputOf<Name>> {
  return (await sent("GET", pathOf(path, query))) as OutputOf<Name>;
}

/** Sends a request that changes something. @throws {Refused} */
export async function act(method: "POST" | "DELETE", path: string, query: Query = {}): Promise<unknown> {
  return sent(method, pathOf(path, query));
}

/** Sends a request with a body, for long or confidential inputs. @throws {Refused} */
export async function tell(path: string, body: Readonly<Record<string, string>>): Promise<unknown> {
  return sent("POST", path, JSON.stringify(body));
}

const recordedMax = 64 * 1_048_576;

/** The capture until `ending`, or until it is larger than a page should hold. @throws {Refused} */
export async function recorded(
  query: Query,
  ending: AbortSignal,
  grows: (bytes: number) => void,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const response = await fetch(base + pathOf("capture", query), { headers: { "x-mqttsn": "1" }, signal: ending });
  if (!response.ok || !response.body) {
    const found: unknown = await response.json().catch(() => undefined);
    throw new Refused(response.status, problemIn(found) ?? `the gateway answered ${response.status}`);
  }
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const reader = response.body.getReader();
  let bytes = 0;
  try {
    while (bytes < recordedMax) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      bytes += value.byteLength;
      grows(bytes);
    }
    await reader.cancel();
  } catch (error) {
    if (!ending.aborted) throw error;
  }
  return parts;
}

export interface Me {
  readonly role?: "viewer" | "operator";
  readonly name?: string;
  /** The way of logging in. A user who logged in by an ingress must log out there. */
  readonly by?: "console" | "token" | "ingress";
  readonly hasPassword: boolean;
}

export async function whoAmI(): Promise<Me> {
  return (await sent("GET", "me")) as Me;
}

/** @throws {Refused} with the reason in words */
export async function logIn(by: { readonly token: string } | { readonly password: string }): Promise<Me> {
  return (await sent("POST", "log-in", JSON.stringify(by))) as Me;
}

async function sent(method: string, path: string, body?: string): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(base + path, { method, headers: { "x-mqttsn": "1" }, ...(body !== undefined && { body }) });
  } catch {
    throw new Refused(0, "the gateway does not answer");
  }
  const found: unknown = await response.json().catch(() => undefined);
  if (response.ok) return found;
  throw new Refused(response.status, problemIn(found) ?? `the gateway answered ${response.status}`);
}

function problemIn(found: unknown): string | undefined {
  if (typeof found !== "object" || found === null || !("error" in found)) return undefined;
  return typeof found.error === "string" ? found.error : undefined;
}

function pathOf(path: string, query: Query): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
  return search.size === 0 ? path : `${path}?${search}`;
}
