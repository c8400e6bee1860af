/** How the commands say that something is wrong: plain lines, no stack, exit code 1. */
import { GatewayError } from "../errors.ts";

export function sayProblems(error: unknown): void {
  if (!(error instanceof GatewayError)) throw error;
  const { problems } = error.details;
  if (Array.isArray(problems)) {
    process.stderr.write(`${error.message}:\n${problems.map((problem) => `  ${String(problem)}\n`).join("")}`);
  } else {
    process.stderr.write(`${error.message}\n`);
  }
  process.exitCode = 1;
}
