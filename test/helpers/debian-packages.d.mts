export function installed(name: string): string | undefined;
