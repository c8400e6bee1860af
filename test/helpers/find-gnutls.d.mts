export function findGnutls():
  | { readonly path: string; readonly libraries: string | undefined }
  | { readonly missing: string };
