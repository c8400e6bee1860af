/**
 * One stream for all tabs of this browser, because it opens only six connections to a host. Ports do not report when their tab is closed,
 * so each tab sends a sign of life; a tab in the background does so at most once a minute.
 */
import { StreamSource } from "./stream-source.ts";
import { type FromWorker, forWish, joined, type ToWorker, type Wish } from "./stream-words.ts";

const goneMs = 150_000;

interface Tab {
  wish: Wish;
  heardAt: number;
}

const tabs = new Map<MessagePort, Tab>();
let last: FromWorker | undefined;

const source = new StreamSource((word) => {
  if (word.say !== "news") last = word;
  for (const [port, { wish }] of tabs) {
    port.postMessage(word.say === "news" ? { ...word, news: forWish(wish, word.news) } : word);
  }
});

addEventListener("connect", (event) => {
  const [port] = (event as MessageEvent).ports;
  if (!port) return;
  tabs.set(port, { wish: { datagrams: "none" }, heardAt: Date.now() });
  if (last) port.postMessage(last);
  port.onmessage = ({ data }: MessageEvent<ToWorker>) => {
    const tab = tabs.get(port) ?? { wish: { datagrams: "none" }, heardAt: 0 };
    tab.heardAt = Date.now();
    if (data.say === "bye") tabs.delete(port);
    else tabs.set(port, data.say === "want" ? { ...tab, wish: data.wish } : tab);
    decide();
    if (data.say === "want" && last) port.postMessage(last);
  };
  decide();
});

setInterval(() => {
  for (const [port, { heardAt }] of tabs) if (Date.now() - heardAt > goneMs) tabs.delete(port);
  decide();
}, 30_000);

function decide(): void {
  source.want(tabs.size === 0 ? undefined : joined([...tabs.values()].map(({ wish }) => wish)));
}
