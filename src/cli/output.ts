/** Where commands write: nothing of what others chose reaches a terminal as it is. */
import process from "node:process";
import { shown } from "../observe/terminal.ts";

export function out(text: string): void {
  process.stdout.write(shown(text));
}

export function err(text: string): void {
  process.stderr.write(shown(text));
}
