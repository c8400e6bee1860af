/** The messages between a tab and the worker that holds the one stream of this browser. */
import type { DatagramEntry, News } from "../observe/live.ts";

/** Datagrams that a tab wants: of one client, of all, or none. */
export type Wish = { readonly datagrams: "none" | "all" } | { readonly datagrams: "client"; readonly client: string };

export type ToWorker =
  | { readonly say: "want"; readonly wish: Wish }
  | { readonly say: "here" }
  | { readonly say: "bye" };

export type FromWorker =
  /** The stream is open, for this wish. */
  | { readonly say: "up"; readonly wish: Wish }
  | { readonly say: "down" }
  /** The user who was logged in is logged out. */
  | { readonly say: "out" }
  | { readonly say: "news"; readonly news: News };

/** One wish that includes all of these. */
export function joined(wishes: readonly Wish[]): Wish {
  const wanted = wishes.filter(({ datagrams }) => datagrams !== "none");
  const [first] = wanted;
  if (!first) return { datagrams: "none" };
  const isSame = wanted.every((each) => JSON.stringify(each) === JSON.stringify(first));
  return isSame ? first : { datagrams: "all" };
}

/** True if the events for the wish `by` include those for this wish. */
export function isServed(wish: Wish, by: Wish): boolean {
  return by.datagrams === "all" || JSON.stringify(wish) === JSON.stringify(by);
}

/** The news without datagrams that this wish does not include. */
export function forWish(wish: Wish, news: News): News {
  return wish.datagrams === "all" ? news : { ...news, datagrams: news.datagrams.filter((entry) => fits(wish, entry)) };
}

function fits(wish: Wish, entry: DatagramEntry): boolean {
  return wish.datagrams === "client" && entry.client === wish.client;
}
