/**
 * News of the gateway in this tab. They come over the worker that all tabs share, or over a stream of this tab if the
 * browser has no shared workers.
 */
import { StreamSource } from "./stream-source.ts";
import type { FromWorker, ToWorker, Wish } from "./stream-words.ts";

const hereMs = 20_000;

type Listener = (word: FromWorker) => void;

const listeners = new Set<Listener>();
let wish: Wish = { datagrams: "none" };
let passOn: ((word: ToWorker) => void) | undefined;

/** Calls the listener until the returned function is called. */
export function listen(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Sets the datagrams that this tab wants to see, in place of the earlier wish. */
export function want(next: Wish): void {
  wish = next;
  passOn?.({ say: "want", wish });
}

/** Opens the stream. Called once, after the log-in. */
export function openStream(): void {
  if (passOn) return;
  const tell: Listener = (word) => {
    for (const listener of listeners) listener(word);
  };
  passOn = typeof SharedWorker === "undefined" ? alone(tell) : shared(tell);
  passOn({ say: "want", wish });
}

function shared(tell: Listener): (word: ToWorker) => void {
  const { port } = new SharedWorker("stream-worker.js", "mqtt-sn-gateway");
  port.onmessage = ({ data }: MessageEvent<FromWorker>) => tell(data);
  const say = (word: ToWorker) => port.postMessage(word);
  setInterval(() => say({ say: "here" }), hereMs);
  addEventListener("pagehide", () => say({ say: "bye" }));
  addEventListener("pageshow", () => say({ say: "want", wish }));
  return say;
}

function alone(tell: Listener): (word: ToWorker) => void {
  const source = new StreamSource(tell);
  return (word) => {
    if (word.say === "want") source.want(word.wish);
    if (word.say === "bye") source.want(undefined);
  };
}
