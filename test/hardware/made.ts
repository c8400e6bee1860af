/** Compiles the device side once, before files that run side by side find it made. */
import { make, missingCompiler } from "./compiler.ts";

export function setup(): void {
  if (missingCompiler() === undefined) make("device");
}
