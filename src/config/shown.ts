/**
 * Removes secrets from a configuration that is shown. A secret may be at a wrong place, in a url, or deep in a value of
 * a wrong form.
 */
import { withoutSecrets } from "../upstream/broker-url.ts";

export const secretKeys: ReadonlySet<PropertyKey> = new Set([
  "password",
  "passphrase",
  "passwordCommand",
  "psk",
  "key",
  "keys",
]);

export function isSecretReference(path: readonly PropertyKey[]): boolean {
  const last = path.at(-1);
  return (
    last === "password" ||
    last === "passphrase" ||
    (last === "key" && (path.at(-2) === "psk" || path.at(-2) === "fleet")) ||
    path.at(-2) === "keys"
  );
}

/** True if a value at this path may appear in a problem's text. */
export function isOpen(path: readonly PropertyKey[]): boolean {
  return !path.some((key) => secretKeys.has(key));
}

export function shownValue(path: readonly PropertyKey[], found: unknown): string {
  if (found === undefined) return "nothing";
  if (found === null) return "null";
  if (Array.isArray(found)) return "a list";
  if (typeof found === "object") return "an object";
  if (!isOpen(path)) return `a ${typeof found} that is not shown here`;
  return cut(JSON.stringify(typeof found === "string" ? shownText(found) : found) ?? "nothing");
}

export function shownText(text: string): string {
  if (/-----BEGIN/.test(text)) return "-----BEGIN...";
  if (text.includes("://")) return withoutSecrets(text);
  // A url without its scheme may contain a password too.
  return text.replace(/^[^@]*:.*@/s, "***@");
}

function cut(text: string): string {
  return text.length > 80 ? `${text.slice(0, 76)}..."` : text;
}

/** The configuration as people may see it: a word replaces each value that is secret or may be. */
export function shownConfig(value: unknown, key = ""): unknown {
  if (secretKeys.has(key) && value !== undefined) return isReference(value) ? value : "(not shown)";
  if (typeof value === "string") return shownText(value);
  if (Array.isArray(value)) return value.map((item) => shownConfig(item));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, shownConfig(item, name)]));
}

/** True for a value that names the place of a secret, and not the secret itself. */
function isReference(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const names = Object.keys(value);
  return names.length === 1 && (names[0] === "file" || names[0] === "env");
}
