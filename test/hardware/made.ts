/** Compiles the device side once, before files that run side by side find it made. */
import { make, missingCompiler } from "./compiler.ts";

export async function setup(): Promise<void> {
  if (missingCompiler() === undefined) await make("device");
}
