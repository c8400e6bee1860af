export function findRedis(): { path: string; libraries: string | undefined } | { missing: string };
