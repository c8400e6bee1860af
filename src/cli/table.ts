/** Plain tables for terminals. */
import { out } from "./output.ts";

export function say(text: string): void {
  out(`${text}\n`);
}

/** Columns in the order of the first row's keys; `none` where there are no rows. */
export function table(rows: readonly Readonly<Record<string, string>>[], none: string): string {
  const [first] = rows;
  if (!first) return none;
  const columns = Object.keys(first);
  const widths = columns.map((column) => Math.max(column.length, ...rows.map((row) => visible(row[column]).length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd();
  return [line(columns), ...rows.map((row) => line(columns.map((column) => visible(row[column]))))].join("\n");
}

/** Clients choose their ids and topics, so control characters are removed: they could move the terminal's cursor. */
function visible(text = ""): string {
  return text.replace(/\p{C}/gu, "?");
}
