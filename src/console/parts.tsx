/** Components of all views. Text from devices is never markup: Preact makes text nodes of it. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Refused } from "./ask.ts";
import type { Asked } from "./hooks.ts";

/** Characters that reverse text or are invisible. They are shown as escapes. */
const hidden = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;

/** Shows a text that others chose: a client id, a topic, an address. */
export function Name({ text }: { readonly text: string }) {
  const shown = text.replace(hidden, (c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`);
  return (
    <bdi class="name" title={shown.length > 60 ? shown.slice(0, 2_000) : undefined}>
      {shown.length > 200 ? `${shown.slice(0, 200)}…` : shown}
    </bdi>
  );
}

/** The data, or the reason why there are none: loading, not allowed, failed. */
export function Loaded<T>(props: {
  readonly asked: Asked<T>;
  readonly what: string;
  readonly children: (data: T) => ComponentChildren;
}) {
  const { data, problem, again } = props.asked;
  if (data !== undefined) return <>{props.children(data)}</>;
  if (!problem) return <p class="state">Loading {props.what}…</p>;
  if (problem.status === 403) return <p class="state">This is for operators: you are logged in as a viewer.</p>;
  return (
    <p class="state bad" role="alert">
      {props.what} cannot be shown: {problem.message}.{" "}
      <button type="button" onClick={again}>
        Try again
      </button>
    </p>
  );
}

export function Empty({ title, children }: { readonly title: string; readonly children?: ComponentChildren }) {
  return (
    <section class="empty">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

/** A button that sends a command to the gateway, asks again if the command cannot be undone, and shows the result. */
export function Do(props: {
  readonly label: string;
  readonly sure?: string;
  readonly work: () => Promise<unknown>;
  readonly done?: () => void;
}) {
  const [stage, setStage] = useState<"idle" | "sure" | "busy">("idle");
  const [problem, setProblem] = useState("");
  const run = async () => {
    setStage("busy");
    setProblem("");
    try {
      await props.work();
      props.done?.();
    } catch (error) {
      setProblem(error instanceof Refused ? error.message : String(error));
    }
    setStage("idle");
  };
  if (stage === "sure") {
    return (
      <span class="sure">
        {props.sure}{" "}
        <button type="button" class="danger" onClick={run}>
          Yes, {props.label.toLowerCase()}
        </button>{" "}
        <button type="button" onClick={() => setStage("idle")}>
          No
        </button>
      </span>
    );
  }
  return (
    <>
      <button type="button" disabled={stage === "busy"} onClick={props.sure ? () => setStage("sure") : run}>
        {props.label}
      </button>
      {problem && (
        <span class="bad" role="alert">
          {" "}
          {problem}
        </span>
      )}
    </>
  );
}

export function When({ at }: { readonly at: number }) {
  const date = new Date(at);
  return at === 0 ? <span>-</span> : <time dateTime={date.toISOString()}>{date.toLocaleString()}</time>;
}

export function octets(bytes: number): string {
  if (bytes < 10_000) return `${bytes} B`;
  if (bytes < 10_000_000) return `${Math.round(bytes / 1_000)} kB`;
  return `${Math.round(bytes / 1_000_000)} MB`;
}
