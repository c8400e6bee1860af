/** All problems and warnings of a configuration: the same for `check` and for a change in the console. */
import { lookAtFiles } from "./check-files.ts";
import type { Reading } from "./load.ts";
import type { GatewayConfig } from "./schema.ts";
import { warningsOf } from "./warnings.ts";

export interface Verdict {
  /** What can be used of it; undefined: too little. */
  readonly config: GatewayConfig | undefined;
  /** It does not work so; each begins with its key. */
  readonly problems: readonly string[];
  /** Valid, but should be changed. */
  readonly warnings: readonly string[];
}

export function verdictOn({ config, isWhole, problems }: Reading): Verdict {
  const looked = config ? lookAtFiles(config) : { problems: [], warnings: [] };
  // What was left out of a wrong configuration would be warned of by its default.
  const warnings = config && isWhole ? [...warningsOf(config), ...looked.warnings] : looked.warnings;
  return { config, problems: [...problems, ...looked.problems], warnings };
}
