export function findMosquitto():
  | { readonly path: string; readonly libraries: string | undefined }
  | { readonly missing: string };
