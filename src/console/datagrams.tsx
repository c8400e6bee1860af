/** Decoded datagrams of one device or of all, as they arrive. The page keeps a limited number of them. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { DatagramEntry } from "../observe/live.ts";
import { hrefOf } from "./hooks.ts";
import { Name } from "./parts.tsx";
import { listen, want } from "./stream.ts";
import { isServed, type Wish } from "./stream-words.ts";

export interface Datagrams {
  /** The gateway shows the datagrams that pass from now on. */
  readonly isLooking: boolean;
  readonly entries: readonly DatagramEntry[];
  /** Datagrams that this page did not get: there were too many. */
  readonly lost: number;
  readonly isPaused: boolean;
  readonly pause: (isPaused: boolean) => void;
  readonly clear: () => void;
}

/** The last datagrams, the newest first. While paused, new ones are kept and not shown. */
export function useDatagrams(wish: Wish, max: number): Datagrams {
  const kept = useRef<{ entries: DatagramEntry[]; lost: number }>({ entries: [], lost: 0 });
  const [shown, setShown] = useState<{ entries: readonly DatagramEntry[]; lost: number }>({ entries: [], lost: 0 });
  const [isPaused, pause] = useState(false);
  const [isLooking, setLooking] = useState(false);
  const paused = useRef(false);
  paused.current = isPaused;
  const key = JSON.stringify(wish);
  useEffect(() => {
    kept.current = { entries: [], lost: 0 };
    setShown({ entries: [], lost: 0 });
    setLooking(false);
    want(wish);
    const stop = listen((word) => {
      if (word.say === "up") setLooking(isServed(wish, word.wish));
      if (word.say !== "news" || (word.news.datagrams.length === 0 && word.news.lost === 0)) return;
      const { entries, lost } = kept.current;
      // After a new connection the gateway sends its kept datagrams again.
      const known = new Set(entries.map(({ number }) => number));
      const fresh = word.news.datagrams.filter(({ number }) => !known.has(number));
      kept.current = { entries: [...fresh.reverse(), ...entries].slice(0, max), lost: lost + word.news.lost };
      if (!paused.current) setShown(kept.current);
    });
    return () => {
      stop();
      want({ datagrams: "none" });
    };
  }, [key, max]);
  return {
    ...shown,
    isLooking,
    isPaused,
    pause: (next) => {
      pause(next);
      if (!next) setShown(kept.current);
    },
    clear: () => {
      kept.current = { entries: [], lost: 0 };
      setShown(kept.current);
    },
  };
}

export function DatagramList({
  entries,
  withClient,
}: {
  readonly entries: readonly DatagramEntry[];
  readonly withClient: boolean;
}) {
  return (
    <ol class="datagrams" aria-live="off">
      {entries.map((entry) => (
        <li key={entry.number}>
          <details>
            <summary>
              <time dateTime={new Date(entry.at).toISOString()}>{clock(entry.at)}</time>{" "}
              <span class={entry.way}>{entry.way === "in" ? "from device" : "to device"}</span> <b>{entry.type}</b>{" "}
              {withClient &&
                (entry.client === undefined ? (
                  <Name text={entry.peer} />
                ) : (
                  <a href={hrefOf("device", { client: entry.client })}>
                    <Name text={entry.client} />
                  </a>
                ))}{" "}
              {entry.topic !== undefined && <Name text={entry.topic} />} <span class="quiet">{entry.bytes} B</span>
            </summary>
            {entry.words ? (
              <pre>{entry.words.join("\n")}</pre>
            ) : (
              <p class="quiet">It is not shown to you (api.payloads).</p>
            )}
          </details>
        </li>
      ))}
    </ol>
  );
}

function clock(at: number): string {
  const date = new Date(at);
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
