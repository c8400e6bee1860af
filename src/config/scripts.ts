/** Reads the script files that `payloads` names, and checks them without running them. */
import { readFileSync } from "node:fs";
import { Script } from "node:vm";
import { GatewayError } from "../errors.ts";
import type { ScriptSource } from "../script/question.ts";
import type { PayloadDeclaration } from "./payload-options.ts";

/** Octets of a script; the longest scripts of the well-known collections have a tenth of this. */
const scriptBytesMax = 512 * 1_024;

export function hasScripts(declarations: readonly PayloadDeclaration[]): boolean {
  return declarations.some(({ script }) => script !== undefined);
}

/** @throws {GatewayError} ERR_PAYLOAD_SCRIPT when one cannot be read, or is too long. */
export function readScripts(declarations: readonly PayloadDeclaration[]): ScriptSource[] {
  const files = new Set(declarations.flatMap(({ script }) => script ?? []));
  return [...files].map((file) => {
    const problem = (say: string, cause?: unknown) =>
      new GatewayError(
        "ERR_PAYLOAD_SCRIPT",
        { file },
        { say: `${file} ${say}`, ...(cause !== undefined && { cause }) },
      );
    let octets: Buffer;
    try {
      octets = readFileSync(file);
    } catch (cause) {
      throw problem(`cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
    }
    if (octets.byteLength > scriptBytesMax)
      throw problem(`has ${octets.byteLength} octets; a script has at most ${scriptBytesMax}`);
    return { file, text: octets.toString("utf8") };
  });
}

/** The first syntax error of a script, with file and line; undefined: there is none. The script is not run. */
export function syntaxProblem({ file, text }: ScriptSource): string | undefined {
  try {
    new Script(text, { filename: file });
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) return `${file}: ${String(error)}`;
    const [place = ""] = (error.stack ?? "").split("\n");
    const line = place.startsWith(`${file}:`) ? place.slice(file.length) : "";
    return `${file}${line}: ${error.message}`;
  }
}
