/**
 * What the core reports, as log lines. A flood of one kind makes one line and then a count once a minute: the log of a
 * gateway that is attacked must stay readable and small.
 */
import { performance } from "node:perf_hooks";
import type { GatewayEvent } from "../core/event.ts";
import type { Log } from "./log.ts";

const quietMs = 60_000;
/** Kinds of repeated lines remembered at a time; beyond, the oldest is forgotten and may be logged again. */
const rememberedMax = 1_000;

export class ReportLog {
  readonly #log: Log;
  readonly #now: () => number;
  readonly #seen = new Map<string, { since: number; held: number }>();

  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  readonly report = (event: GatewayEvent): void => {
    switch (event.event) {
      case "client_state": {
        const level =
          event.state === "lost" ? "warn" : event.state === "asleep" || event.state === "awake" ? "debug" : "info";
        this.#log[level]({ ...event }, `client ${event.clientId} is ${event.state}: ${event.why}`);
        return;
      }
      case "client_moved":
        return this.#log.info({ ...event }, `client ${event.clientId} moved to ${event.to}`);
      case "session_ended":
        return this.#log.debug({ ...event }, `session of ${event.clientId} ended: ${event.why}`);
      case "connect_refused":
        return this.#limited(
          `${event.event} ${event.clientId} ${event.why}`,
          "warn",
          event,
          `CONNECT of "${event.clientId}" from ${event.peer} refused: ${event.why}`,
        );
      case "not_admitted": {
        const who = event.clientId === undefined ? event.peer : `client "${event.clientId}" at ${event.peer}`;
        return this.#limited(
          `${event.event} ${event.what} ${event.clientId ?? event.peer}`,
          "warn",
          event,
          `${who} is not admitted; to admit it: ${event.hint}`,
        );
      }
      case "drop":
        return this.#limited(
          `drop ${event.reason} ${event.clientId ?? ""}`,
          event.reason === "buffer-full" ? "warn" : "debug",
          event,
          `dropped (${event.reason}): ${event.detail}`,
        );
      case "will_published":
        return this.#log.info({ ...event }, `will of ${event.clientId} published by the ${event.by}`);
      case "link_state": {
        const whose = event.clientId === undefined ? "the gateway" : event.clientId;
        if (event.clientId !== undefined)
          return this.#log.debug({ ...event }, `broker connection of ${whose}: ${event.why}`);
        if (event.up) return this.#log.info({ ...event }, "the broker is there");
        return this.#limited(
          `link_state gateway ${event.why.slice(0, 40)}`,
          "warn",
          event,
          `the broker is not there: ${event.why}; trying again`,
        );
      }
      case "qos2_uncertain":
        return this.#limited(
          "qos2_uncertain",
          "warn",
          event,
          `the broker forgot the session of ${event.clientId}: a QoS 2 message may be missing or double`,
        );
      case "persist_failed":
        return this.#limited("persist_failed", "error", event, `the session store failed: ${event.why}`);
      case "persist_recovered":
        return this.#log.info({ ...event }, "the session store works again");
      case "backlog":
        return this.#log[event.count > 0 ? "debug" : "info"](
          { ...event },
          event.count > 0
            ? `publications of ${event.clientId} wait on disk for the broker`
            : `all that ${event.clientId} published is at the broker`,
        );
    }
  };

  /** What an edge has to say to the operator. */
  told(level: "info" | "warn", say: string, kind = say): void {
    this.#limited(`told ${kind}`, level, {}, say);
  }

  #limited(key: string, level: "debug" | "info" | "warn" | "error", fields: object, sentence: string): void {
    if (!this.#log.isLevelEnabled(level)) return;
    const now = this.#now();
    const seen = this.#seen.get(key);
    if (seen && now - seen.since < quietMs) {
      seen.held++;
      return;
    }
    const more = seen?.held ? ` (and ${seen.held} more like it since)` : "";
    this.#seen.delete(key);
    this.#seen.set(key, { since: now, held: 0 });
    if (this.#seen.size > rememberedMax) {
      const oldest = this.#seen.keys().next();
      if (!oldest.done) this.#seen.delete(oldest.value);
    }
    this.#log[level]({ ...fields }, sentence + more);
  }
}
