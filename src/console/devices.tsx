/** The table of all devices. Only visible rows are in the page, so thousands of devices cost nothing. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { OutputOf } from "../runtime/commands.ts";
import { stateInWords } from "../runtime/state-words.ts";
import { ask, Refused } from "./ask.ts";
import { type Asked, go, hrefOf, useSecondsSince } from "./hooks.ts";
import { Join } from "./join.tsx";
import { NoDevice, type OverviewFacts } from "./overview.tsx";
import { Name } from "./parts.tsx";
import { listen } from "./stream.ts";

type Answer = OutputOf<"devices.list">;
export type Row = Answer["devices"][number];

const pageRows = 100;
const rowsAround = 10;
const apartMs = 1_000;
const idleMs = 5_000;

const columns = [
  { sort: "client", name: "Device" },
  { sort: "state", name: "State" },
  { sort: "address", name: "Where" },
  { sort: "heard", name: "Heard" },
  { sort: "waiting", name: "Waiting" },
  { sort: "owed", name: "Owed" },
  { sort: "dropped", name: "Dropped" },
] as const;

const filters = ["", "late", "lost", "active", "asleep", "awake", "disconnected", "waiting"] as const;

export function Devices(props: {
  readonly query: URLSearchParams;
  readonly overview: Asked<OverviewFacts>;
  readonly isOperator: boolean;
}) {
  const { query } = props;
  const asked = {
    search: query.get("search") ?? "",
    state: query.get("state") ?? "",
    sort: query.get("sort") ?? "state",
    order: query.get("order") ?? "up",
  };
  const list = useList(asked);
  const { answer, problem } = list;
  const change = (over: Partial<typeof asked>) => go("devices", { ...asked, ...over });
  return (
    <>
      {props.isOperator && <Join withWaiting />}
      <form class="bar" aria-label="Which devices" onSubmit={(event) => event.preventDefault()}>
        <label>
          <span class="hidden">Search</span>
          <input
            type="search"
            placeholder="Client id or address"
            value={asked.search}
            onInput={(event) => change({ search: event.currentTarget.value })}
          />
        </label>
        <label>
          <span class="hidden">State</span>
          <select value={asked.state} onChange={(event) => change({ state: event.currentTarget.value })}>
            {filters.map((state) => (
              <option key={state} value={state}>
                {state === "" ? "all states" : `${state} (${countOf(answer, state)})`}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span class="hidden">Sort by</span>
          <select value={asked.sort} onChange={(event) => change({ sort: event.currentTarget.value })}>
            {columns.map(({ sort, name }) => (
              <option key={sort} value={sort}>
                by {name.toLowerCase()}
              </option>
            ))}
          </select>
        </label>
        <output>{answer ? `${answer.matched} of ${answer.total}` : ""}</output>
      </form>
      {!answer && !problem && <p class="state">Loading devices…</p>}
      {!answer && problem && (
        <p class="state bad" role="alert">
          The devices cannot be shown: {problem.message}.
        </p>
      )}
      {answer?.total === 0 && <NoDevice facts={props.overview.data} />}
      {answer && answer.total > 0 && answer.matched === 0 && (
        <p class="state">
          No device matches.{" "}
          <button type="button" onClick={() => go("devices")}>
            Show all
          </button>
        </p>
      )}
      {answer && answer.matched > 0 && <Table list={list} sort={asked.sort} order={asked.order} change={change} />}
    </>
  );
}

function countOf(answer: Answer | undefined, state: string): number | string {
  return answer?.byState[state as keyof Answer["byState"]] ?? "…";
}

interface List {
  readonly answer: Answer | undefined;
  readonly problem: Refused | undefined;
  readonly at: number;
  readonly rowAt: (index: number) => Row | undefined;
  /** The rows that can be seen. */
  readonly look: (first: number, last: number) => void;
}

function useList(asked: Readonly<Record<string, string>>): List {
  const key = JSON.stringify(asked);
  const pages = useRef(new Map<number, readonly Row[]>());
  const seen = useRef({ first: 0, last: 0 });
  const run = useRef(0);
  const [found, setFound] = useState<{ answer?: Answer; problem?: Refused; at: number }>({ at: 0 });
  const fetchPages = useCallback(
    async (isFresh: boolean) => {
      const mine = isFresh ? ++run.current : run.current;
      const first = Math.floor(seen.current.first / pageRows);
      const last = Math.floor(seen.current.last / pageRows);
      for (let page = first; page <= last; page++) {
        if (!isFresh && pages.current.has(page)) continue;
        try {
          const query = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== ""));
          const answer = await ask<"devices.list">("devices", { ...query, offset: page * pageRows, limit: pageRows });
          if (mine !== run.current) return;
          pages.current.set(page, answer.devices);
          setFound({ answer, at: performance.now() });
        } catch (error) {
          const problem = error instanceof Refused ? error : new Refused(0, String(error));
          if (mine === run.current) setFound((before) => ({ ...before, problem }));
          return;
        }
      }
      if (!isFresh) return;
      for (const page of pages.current.keys()) if (page < first || page > last) pages.current.delete(page);
    },
    [key],
  );
  useEffect(() => {
    pages.current.clear();
    seen.current = { first: 0, last: 0 };
    fetchPages(true);
    let askedAt = performance.now();
    let isChanged = false;
    const timer = setInterval(() => {
      if (document.hidden || (!isChanged && performance.now() - askedAt < idleMs)) return;
      isChanged = false;
      askedAt = performance.now();
      fetchPages(true);
    }, apartMs);
    const stop = listen((word) => {
      if (word.say === "news" && word.news.clients?.length !== 0) isChanged = true;
    });
    return () => {
      clearInterval(timer);
      stop();
      run.current++;
    };
  }, [fetchPages]);
  return {
    answer: found.answer,
    problem: found.problem,
    at: found.at,
    rowAt: (index) => pages.current.get(Math.floor(index / pageRows))?.[index % pageRows],
    look: (first, last) => {
      seen.current = { first, last };
      fetchPages(false);
    },
  };
}

function Table(props: {
  readonly list: List;
  readonly sort: string;
  readonly order: string;
  readonly change: (over: { sort?: string; order?: string }) => void;
}) {
  const { list, sort, order } = props;
  const count = list.answer?.matched ?? 0;
  const box = useRef<HTMLElement>(null);
  const [view, setView] = useState({ first: 0, last: 40, rowHeight: 44 });
  const elapsed = useSecondsSince(list.at);
  const onScroll = () => {
    const { current } = box;
    if (!current) return;
    const rowHeight = Number.parseFloat(getComputedStyle(current).getPropertyValue("--row")) || 44;
    const first = Math.max(0, Math.floor(current.scrollTop / rowHeight) - rowsAround);
    const last = Math.min(count - 1, Math.ceil((current.scrollTop + current.clientHeight) / rowHeight) + rowsAround);
    setView((before) =>
      before.first === first && before.last === last && before.rowHeight === rowHeight
        ? before
        : { first, last, rowHeight },
    );
    list.look(first, last);
  };
  useEffect(() => {
    onScroll();
    const resized = new ResizeObserver(onScroll);
    if (box.current) resized.observe(box.current);
    return () => resized.disconnect();
  }, [count]);
  const last = Math.min(view.last, count - 1);
  const rows = [];
  for (let index = view.first; index <= last; index++) {
    const row = list.rowAt(index);
    rows.push(
      <tr key={row?.clientId ?? index} aria-rowindex={index + 2} style={{ height: `${view.rowHeight}px` }}>
        {row ? <Cells row={row} elapsed={elapsed} /> : <td colSpan={columns.length}>…</td>}
      </tr>,
    );
  }
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <section class="scroll" ref={box} onScroll={onScroll} tabIndex={0} aria-label="Devices">
      <table aria-rowcount={count + 1} class="devices">
        <thead>
          <tr>
            {columns.map((column) => (
              <th
                key={column.sort}
                scope="col"
                aria-sort={sort === column.sort ? (order === "up" ? "ascending" : "descending") : "none"}
              >
                <button
                  type="button"
                  class="link"
                  onClick={() =>
                    props.change({
                      sort: column.sort,
                      order: sort === column.sort && order === "up" ? "down" : "up",
                    })
                  }
                >
                  {column.name}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <tr class="spacer" style={{ height: `${view.first * view.rowHeight}px` }} />
          {rows}
          <tr class="spacer" style={{ height: `${Math.max(0, count - 1 - last) * view.rowHeight}px` }} />
        </tbody>
      </table>
    </section>
  );
}

function Cells({ row, elapsed }: { readonly row: Row; readonly elapsed: number }) {
  const words = wordsOf(row, elapsed);
  return (
    <>
      <td>
        <a href={hrefOf("device", { client: row.clientId })}>
          <Name text={row.clientId} />
        </a>
      </td>
      <td class={`how ${words.isLate ? "late" : row.state}`}>{words.says}</td>
      <td>
        <Name text={row.peer ?? "-"} />
        {row.rssi !== undefined && <span class="quiet"> {row.rssi} dBm</span>}
      </td>
      <td class="number" data-name="heard">
        {row.secondsSilent + elapsed} s
      </td>
      <td class="number" data-name="waiting">
        {row.waiting}
      </td>
      <td class="number" data-name="owed">
        {row.owed}
      </td>
      <td class="number" data-name="dropped">
        {row.dropped}
      </td>
    </>
  );
}

/** The state in words as the gateway writes it, with the time that has passed since. */
export function wordsOf(row: Row, elapsed: number) {
  const stateSeconds = row.stateSeconds === undefined ? undefined : row.stateSeconds + elapsed;
  return stateInWords({ ...row, stateSeconds, secondsSilent: row.secondsSilent + elapsed });
}
