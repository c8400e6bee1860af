/** How the commands say that something is wrong: plain lines, no stack, exit code 1. */
import { GatewayError } from "../errors.ts";
import { err } from "./output.ts";

export function sayProblems(error: unknown): void {
  if (!(error instanceof GatewayError)) throw error;
  const { problems } = error.details;
  if (Array.isArray(problems)) {
    err(`${error.message}:\n${problems.map((problem) => `  ${String(problem)}\n`).join("")}`);
  } else {
    err(`${error.message}\n`);
  }
  process.exitCode = 1;
}
