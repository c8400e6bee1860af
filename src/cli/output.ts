/** The output of commands: text that others chose is cleaned before it reaches a terminal. */
import process from "node:process";
import { shown } from "../observe/terminal.ts";

export function out(text: string): void {
  process.stdout.write(shown(text));
}

export function err(text: string): void {
  process.stderr.write(shown(text));
}
