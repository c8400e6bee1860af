/** The log: for people on a terminal, JSON lines otherwise. Written synchronously, so that nothing is lost at the end. */
import { fstatSync } from "node:fs";
import pino, { type Logger } from "pino";
import { shown, shownWhenRead } from "./terminal.ts";

export type Log = Logger;

export interface LogOptions {
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "silent";
  readonly format: "auto" | "json" | "pretty";
}

/** @param fd the descriptor that is written to; standard output by default */
export async function createLog(options: LogOptions, fd = 1): Promise<Log> {
  const pretty = options.format === "pretty" || (options.format === "auto" && process.stdout.isTTY === true);
  // pino escapes only what JSON requires. People read logs with `cat`, and pino-pretty shows strings unchanged, so
  // further characters are escaped here.
  const asShown = pretty ? shownWhenRead : shown;
  const streamWrite = !pretty && goesToJournal(process.env["JOURNAL_STREAM"], fd) ? withPriority : asShown;
  const hooks = { streamWrite };
  const settings = { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime, hooks };
  if (!pretty) return pino(settings, pino.destination({ fd, sync: true }));
  const { default: build } = await import("pino-pretty");
  return pino(
    settings,
    build({
      destination: fd,
      colorize: hasColors(process.env, process.stdout.isTTY === true),
      sync: true,
      translateTime: "SYS:HH:MM:ss.l",
    }),
  );
}

/** https://no-color.org: colours are off if the variable is not empty. */
export function hasColors(environment: Readonly<Record<string, string | undefined>>, isTerminal: boolean): boolean {
  return isTerminal && (environment["NO_COLOR"] ?? "") === "";
}

/**
 * systemd names the journal's file by device and inode. The variable may be inherited from another program, so it is
 * compared with the descriptor.
 */
export function goesToJournal(named: string | undefined, fd: number): boolean {
  if (named === undefined || named === "") return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return named === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/**
 * Adds the priority that the journal reads: `<3>` is an error. The journal removes the number, so `journalctl -p
 * warning` finds the lines.
 */
export function withPriority(line: string): string {
  const level = Number(/^\{"level":(\d+)/.exec(line)?.[1] ?? 30);
  const priority = level >= 60 ? 2 : level >= 50 ? 3 : level >= 40 ? 4 : level >= 30 ? 6 : 7;
  return `<${priority}>${shown(line)}`;
}
