type Found = { readonly gcc: string; readonly include: string[] };
export function findCompiler(): Found | { readonly missing: string };
export function measure(found: Found): {
  readonly code: { readonly name: string; readonly text: number; readonly ram: number }[];
  readonly client: number;
};
/** `headers`: mbed TLS's, 3.x. */
export function measurePort(found: Found, headers: string): { readonly text: number; readonly ram: number };
