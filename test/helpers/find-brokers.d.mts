export type FoundNats = { readonly path: string };
export type FoundRabbit = { readonly erlang: string; readonly rabbit: string; readonly libraries: string | undefined };

export function findNats(): FoundNats | { readonly missing: string };
export function findRabbit(): FoundRabbit | { readonly missing: string };
