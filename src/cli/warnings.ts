/** What is valid, and should not stay as it is. */
import type { GatewayConfig } from "../config/schema.ts";
import { holdsPassword } from "../upstream/options.ts";

export function warningsOf({ upstream, upstreams }: GatewayConfig): string[] {
  const all = [["upstream", upstream] as const, ...upstreams.map((each, i) => [`upstreams.${i}`, each] as const)];
  return all
    .filter(([, options]) => holdsPassword(options))
    .map(
      ([path]) => `${path}: a password stands in the url; a file is safer: "password": { "file": "secrets/password" }`,
    );
}
