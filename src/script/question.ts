/**
 * Scripts for payloads that no declaration can describe: a file with `decodeUplink` and `encodeDownlink` as The Things
 * Network and ChirpStack use them, or with ChirpStack's older `Decode` and `Encode`. They run in a process of their own
 * (runner.ts), in an interpreter (sandbox.ts). A script that hangs, throws or needs too much memory affects only its
 * own message.
 */
import type { Decoded, Origin, PayloadPolicy, Unfit } from "../core/payloads.ts";

/** A script file, as it is passed to the process. */
export interface ScriptSource {
  /** The name in the configuration; problems begin with it. */
  readonly file: string;
  readonly text: string;
}

export type Direction = "up" | "down";

/** The question to a script about one message. */
export interface Question {
  readonly file: string;
  readonly is: Direction;
  /** `up`: the device's payload. `down`: JSON in UTF-8, the command for the device. */
  readonly payload: Uint8Array;
  readonly fPort: number;
  /** Milliseconds since 1970. */
  readonly recvTime: number;
  readonly variables: Readonly<Record<string, string>>;
}

export type Answer =
  /** `payload`: of `up` JSON in UTF-8, of `down` the device's octets. */
  | { readonly is: "made"; readonly payload: Uint8Array; readonly warnings: readonly string[] }
  /** `why`: a whole clause for people. */
  | { readonly is: "unfit"; readonly why: string }
  /** The script has no function for this direction. */
  | { readonly is: "asItIs" };

/** An entry of `payloads` with a script. */
export interface ScriptEntry {
  readonly file: string;
  readonly fPort: number;
  /** The publication that results from the script's JSON; or why it does not fit. */
  made(clientId: string | undefined, topicName: string, json: Uint8Array, origin?: () => Origin): Decoded | Unfit;
}

/** The declarations with scripts, and the policy for all other messages. */
export interface ScriptEntries {
  /** The first entry that fits, if it has a script. */
  up(clientId: string | undefined, topicName: string): ScriptEntry | undefined;
  down(clientId: string, topicName: string): ScriptEntry | undefined;
  /** The entries that apply to at least one client. */
  downFor(topicName: string): readonly ScriptEntry[];
  /** True if the payload is a command that must be converted to octets. */
  isCommand(payload: Uint8Array): boolean;
  /** Without scripts: a payload for which no script was asked is unfit. */
  readonly policy: PayloadPolicy;
}
