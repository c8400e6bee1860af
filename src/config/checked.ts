/** All problems and warnings of a configuration: the same for `check` and for a change in the console. */
import { lookAtFiles } from "./check-files.ts";
import type { Reading } from "./load.ts";
import type { GatewayConfig } from "./schema.ts";
import { warningsOf } from "./warnings.ts";

export interface Verdict {
  /** The usable part of the configuration; undefined: too little can be used. */
  readonly config: GatewayConfig | undefined;
  /** Problems that prevent the gateway from working; each begins with its key. */
  readonly problems: readonly string[];
  /** The value is valid, but should be changed. */
  readonly warnings: readonly string[];
}

export function verdictOn({ config, isWhole, problems }: Reading): Verdict {
  const looked = config ? lookAtFiles(config) : { problems: [], warnings: [] };
  // Without this condition, a warning could concern the default of a value that was removed because it is wrong.
  const warnings = config && isWhole ? [...warningsOf(config), ...looked.warnings] : looked.warnings;
  return { config, problems: [...problems, ...looked.problems], warnings };
}
