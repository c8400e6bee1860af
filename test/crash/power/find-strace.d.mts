export function findStrace(): { path: string; libraries: string } | { missing: string };
