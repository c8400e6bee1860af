import type { Change } from "../../../src/core/record.ts";

export function changesOf(seed: number, n: number): Change[];
export function commitOf(record: unknown): number;
export function dice(seed: number): (limit: number) => number;
