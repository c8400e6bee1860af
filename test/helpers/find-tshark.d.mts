export function findTshark():
  | { readonly path: string; readonly libraries: string | undefined }
  | { readonly missing: string };
