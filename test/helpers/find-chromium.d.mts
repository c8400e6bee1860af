export function findChromium():
  | { readonly path: string; readonly environment: Readonly<Record<string, string>> }
  | { readonly missing: string };
