/** Functions that views share: repeating a request after changes, the time, and the present view of the page. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { News } from "../observe/live.ts";
import { Refused } from "./ask.ts";
import { listen } from "./stream.ts";

export interface Asked<T> {
  readonly data: T | undefined;
  readonly problem: Refused | undefined;
  /** The time when `data` arrived, by `performance.now`. */
  readonly at: number;
  readonly again: () => void;
}

/** The least time between two requests, even if there are many changes. */
const usualApartMs = 1_000;
const everyMs = 5_000;

/**
 * Asks now, each time `isAbout` says that the news concern this request, and every five seconds. The old answer stays
 * until a new one arrives.
 */
export function useAsked<T>(
  question: () => Promise<T>,
  about: readonly unknown[],
  isAbout: (news: News) => boolean = () => false,
  apartMs = usualApartMs,
): Asked<T> {
  const [found, setFound] = useState<Omit<Asked<T>, "again">>({ data: undefined, problem: undefined, at: 0 });
  const latest = useRef(question);
  latest.current = question;
  const isFor = useRef(isAbout);
  isFor.current = isAbout;
  const run = useRef(0);
  const again = useCallback(() => {
    const mine = ++run.current;
    latest.current().then(
      (data) => mine === run.current && setFound({ data, problem: undefined, at: performance.now() }),
      (error: unknown) => {
        const problem = error instanceof Refused ? error : new Refused(0, String(error));
        if (mine === run.current) setFound((before) => ({ ...before, problem }));
      },
    );
  }, []);
  useEffect(() => {
    setFound({ data: undefined, problem: undefined, at: 0 });
    again();
  }, about);
  useEffect(() => {
    let askedAt = performance.now();
    let isChanged = false;
    const timer = setInterval(() => {
      const since = performance.now() - askedAt;
      if (document.hidden || (!isChanged && since < everyMs)) return;
      isChanged = false;
      askedAt = performance.now();
      again();
    }, apartMs);
    const stop = listen((word) => {
      if (word.say === "news" && isFor.current(word.news)) isChanged = true;
      if (word.say === "up" && performance.now() - askedAt > everyMs) isChanged = true;
    });
    return () => {
      clearInterval(timer);
      stop();
    };
  }, [again, apartMs]);
  return { ...found, again };
}

/** The seconds since `at`. The value is updated as time passes. */
export function useSecondsSince(at: number): number {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return Math.max(0, Math.round((Math.max(now, at) - at) / 1_000));
}

export interface Place {
  readonly view: string;
  readonly query: URLSearchParams;
}

export function usePlace(): Place {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => setHash(location.hash);
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  const [view = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  return { view, query: new URLSearchParams(query) };
}

export function go(view: string, query: Readonly<Record<string, string>> = {}): void {
  location.hash = hrefOf(view, query);
}

export function hrefOf(view: string, query: Readonly<Record<string, string>> = {}): string {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ""));
  return search.size === 0 ? `#/${view}` : `#/${view}?${search}`;
}
