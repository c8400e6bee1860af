type Found = { readonly path: string; readonly libraries: string | undefined } | { readonly missing: string };
export function findMosquitto(): Found;
/** mosquitto_sub; mosquitto_pub is beside it. */
export function findMosquittoClients(): Found;
