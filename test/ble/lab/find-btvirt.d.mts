export function findBtvirt(): { readonly path: string } | { readonly missing: string };
