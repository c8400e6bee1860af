/** The commands' error output: plain lines, no stack, exit code 1. */
import { CommanderError } from "commander";
import { GatewayError } from "../errors.ts";
import { err } from "./output.ts";

/** @throws if the error is a fault of this program: then its stack is needed. */
export function sayProblems(error: unknown): void {
  const lines = linesOf(error);
  if (lines === undefined) throw error;
  err(lines.join("\n").concat("\n"));
  process.exitCode = 1;
}

function linesOf(error: unknown): readonly string[] | undefined {
  if (error instanceof GatewayError) {
    const { problems, file, env } = error.details;
    if (Array.isArray(problems)) return [`${error.message}:`, ...problems.map((problem) => `  ${String(problem)}`)];
    const what = [file, env].find((each) => typeof each === "string" && !error.message.includes(each));
    return [what === undefined ? error.message : `${error.message}: ${String(what)}`];
  }
  // Options that do not go together.
  if (error instanceof CommanderError) return [`error: ${error.message}`];
  // A file that does not exist, an unknown host: the system's message has its name.
  if (error instanceof Error && "syscall" in error && "code" in error) return [error.message];
  return undefined;
}
