/** The log: for people on a terminal, JSON lines otherwise. Written synchronously, so that nothing is lost at the end. */
import pino, { type Logger } from "pino";
import { shown, shownWhenRead } from "./terminal.ts";

export type Log = Logger;

export interface LogOptions {
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "silent";
  readonly format: "auto" | "json" | "pretty";
}

/** @param fd where it is written; standard output unless said otherwise */
export async function createLog(options: LogOptions, fd = 1): Promise<Log> {
  const pretty = options.format === "pretty" || (options.format === "auto" && process.stdout.isTTY === true);
  // pino escapes what JSON must; people look at logs with `cat`, and pino-pretty shows strings as they are.
  const hooks = { streamWrite: pretty ? shownWhenRead : shown };
  const settings = { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime, hooks };
  if (!pretty) return pino(settings, pino.destination({ fd, sync: true }));
  const { default: build } = await import("pino-pretty");
  return pino(
    settings,
    build({ destination: fd, colorize: process.stdout.isTTY === true, sync: true, translateTime: "SYS:HH:MM:ss.l" }),
  );
}
