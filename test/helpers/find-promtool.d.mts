export function findPromtool(): { readonly path: string } | { readonly missing: string };
