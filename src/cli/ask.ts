/**
 * Sends a command to a running gateway, over the socket beside its store or by HTTP with a token. runtime/commands.ts
 * has the list of commands.
 */
import { existsSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { request as requestByTls } from "node:https";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import {
  type CommandName,
  commands,
  type InputOf,
  type JsonCommandName,
  type OutputOf,
  type StreamCommandName,
} from "../runtime/commands.ts";

const outputs: { readonly [Name in JsonCommandName]: { readonly output: z.ZodType<OutputOf<Name>> } } = commands;

/** The gateway's API at an address. */
export interface ApiPlace {
  readonly url: URL;
  readonly token: string;
}

/** A string: the path of the control socket. */
export type Place = string | ApiPlace;

/** Milliseconds without data from the gateway. Then the gateway or its disk does not work. */
const silenceMs = 70_000;

/** @throws {GatewayError} ERR_CONTROL when no gateway answers, or it refuses the command. */
export async function ask<Name extends JsonCommandName>(
  place: Place,
  name: Name,
  input: InputOf<Name>,
): Promise<OutputOf<Name>> {
  const parts: Uint8Array[] = [];
  for await (const part of octetsOf(place, name, input)) parts.push(part);
  const output = z.safeParse(outputs[name].output, parsed(parts));
  if (output.success) return output.data;
  const say = "the gateway's answer is not what this command expects: does the gateway have another version?";
  throw new GatewayError("ERR_CONTROL", whereOf(place), { cause: output.error, say });
}

/** The octets of a command that sends them piece by piece; `signal` ends them with an error. @throws {GatewayError} ERR_CONTROL as `ask` does. */
export function askForOctets<Name extends StreamCommandName>(
  place: Place,
  name: Name,
  input: InputOf<Name>,
  signal?: AbortSignal,
): AsyncIterable<Uint8Array> {
  return octetsOf(place, name, input, signal);
}

async function* octetsOf<Name extends CommandName>(
  place: Place,
  name: Name,
  input: InputOf<Name>,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { method, path } = commands[name];
  const response = await answered(place, method, `${path}${queryOf(name, input)}`, signal);
  if (response.statusCode === 200) return yield* whole(place, response, signal);
  const parts: Uint8Array[] = [];
  for await (const part of whole(place, response, signal)) parts.push(part);
  const { data } = z.safeParse(z.object({ error: z.string() }), parsed(parts));
  const say = data?.error ?? `the gateway answered ${response.statusCode}`;
  throw new GatewayError("ERR_CONTROL", { ...whereOf(place), status: response.statusCode }, { say });
}

/** The whole answer. An error is thrown if the gateway ends before the answer is complete. */
async function* whole(
  place: Place,
  response: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  try {
    yield* response;
  } catch (cause) {
    if (signal?.aborted) throw cause;
    const say = "the gateway ended, or closed the connection, before its answer was complete";
    throw new GatewayError("ERR_CONTROL", whereOf(place), { cause, say });
  }
}

function answered(
  place: Place,
  method: string,
  path: string,
  signal: AbortSignal | undefined,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = { method, timeout: silenceMs, ...(signal && { signal }) };
    const asking =
      typeof place === "string"
        ? request({ ...options, socketPath: place, path }, resolve)
        : (place.url.protocol === "https:" ? requestByTls : request)(
            new URL(`${place.url.pathname.replace(/\/+$/, "")}/api/v1${path}`, place.url.origin),
            { ...options, headers: { authorization: `Bearer ${place.token}` } },
            resolve,
          );
    asking.once("timeout", () => asking.destroy(new Error("the gateway does not answer")));
    asking.once("error", (cause) => {
      reject(new GatewayError("ERR_CONTROL", whereOf(place), { cause, say: unreached(place, cause) }));
    });
    asking.end();
  });
}

function unreached(place: Place, cause: Error): string {
  if ("code" in cause && (cause.code === "EPIPE" || cause.code === "ECONNRESET"))
    return "the gateway closed the connection without an answer: it is ending, it answers eight other commands, or the request is too long for it";
  const isNobody = "code" in cause && cause.code === "ECONNREFUSED";
  if (typeof place !== "string")
    return `${place.url.origin}: ${isNobody ? "no gateway answers there" : cause.message || String(cause)}`;
  return isNobody || !existsSync(place)
    ? `no gateway runs with the store at ${place} (does it use another configuration? Name it with -c)`
    : `${place}: ${cause.message}`;
}

/** The place for an error text, without the token. */
function whereOf(place: Place): { readonly socketPath: string } | { readonly url: string } {
  return typeof place === "string" ? { socketPath: place } : { url: place.url.origin };
}

/** The input as a query string, which the gateway parses with the same schema. */
function queryOf<Name extends CommandName>(name: Name, input: InputOf<Name>): string {
  const query = z.safeEncode(commands[name].input, input);
  if (!query.success) {
    const problems = query.error.issues.map(({ path: [first = "input"], message }) => `${String(first)}: ${message}`);
    throw new GatewayError("ERR_CONTROL", {}, { cause: query.error, say: problems.join("; ") });
  }
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query.data)) if (typeof value === "string") search.set(key, value);
  return search.size === 0 ? "" : `?${search}`;
}

function parsed(parts: readonly Uint8Array[]): unknown {
  try {
    return JSON.parse(Buffer.concat(parts).toString());
  } catch {
    return undefined;
  }
}
