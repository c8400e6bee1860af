/**
 * The configuration: each key with its value and its meaning, and a field to change it if the file may be changed. `check` judges the input
 * while the user types. The resulting file is shown before it is saved. Secrets can be written, and are never shown.
 */
import { useEffect, useState } from "preact/hooks";
import type { OutputOf } from "../runtime/commands.ts";
import { act, ask, Refused, tell } from "./ask.ts";
import { useAsked } from "./hooks.ts";
import { Do, Loaded, Name } from "./parts.tsx";
import { kindOf, type Node, parsed, rowsOf, type Setting, shownForEdit } from "./settings-rows.ts";

type Shown = OutputOf<"settings.show">;
type Tried = OutputOf<"settings.try">;

interface Change {
  readonly path: readonly string[];
  readonly value?: unknown;
}

/** The request is sent this time after the last key, so that not each letter causes one. */
const typingMs = 300;

export function Settings() {
  const settings = useAsked(() => ask<"settings.show">("settings"), []);
  return (
    <Loaded asked={settings} what="settings">
      {(shown) => (
        <>
          <ByHand shown={shown} again={settings.again} />
          <Configuration shown={shown} again={settings.again} />
        </>
      )}
    </Loaded>
  );
}

function ByHand({ shown, again }: { readonly shown: Shown; readonly again: () => void }) {
  const { managedFile, admitted } = shown;
  return (
    <>
      <h2>Changed by hand</h2>
      <p class="quiet">{managedFile ?? "Kept in memory: lost when the gateway ends"}</p>
      {admitted.length === 0 && <p class="quiet">No client was admitted by hand.</p>}
      <ul class="plain">
        {admitted.map(({ clientId, from, at }) => (
          <li key={clientId}>
            <Name text={clientId} /> {from === undefined ? "from anywhere" : `from ${from}`}{" "}
            <span class="quiet">since {at}</span>{" "}
            <Do
              label="Take back"
              sure="Then the rules of `access` decide whether the client may stay. Are you sure?"
              work={() => act("DELETE", "admitted", { client: clientId })}
              done={again}
            />
          </li>
        ))}
      </ul>
    </>
  );
}

function Configuration({ shown, again }: { readonly shown: Shown; readonly again: () => void }) {
  const { file, configuration, schema, written, admitted } = shown;
  const [search, setSearch] = useState("");
  const [changes, setChanges] = useState<ReadonlyMap<string, Change>>(new Map());
  const [said, setSaid] = useState("");
  const tried = useTried(changes);
  /** The version of the file that this page saved, until the file was read again. */
  const [ownVersion, setOwnVersion] = useState("");
  useEffect(() => setOwnVersion(""), [written.version]);
  const rows = rowsOf([], configuration, written.values, schema as Node);
  const wanted = search.toLowerCase();
  const found = rows.filter(({ key, meaning }) => `${key} ${meaning}`.toLowerCase().includes(wanted));
  const change = (key: string, to: Change | undefined) => {
    setSaid("");
    setChanges((before) => {
      const after = new Map(before);
      if (to) after.set(key, to);
      else after.delete(key);
      return after;
    });
  };
  const save = async () => {
    const body = { changes: JSON.stringify([...changes.values()]), version: ownVersion || written.version };
    const { restart, version } = (await tell("settings", body)) as OutputOf<"settings.save">;
    setOwnVersion(version);
    setChanges(new Map());
    setSaid(
      restart.length === 0 ? "Saved, and in effect now." : `Saved. In effect after a restart: ${restart.join(", ")}.`,
    );
    again();
  };
  const isEditable = written.readOnly === undefined;
  return (
    <>
      <h2>Configuration</h2>
      <p class="quiet">{file}</p>
      {written.readOnly !== undefined && (
        <p class="state">The settings can be shown, but not changed: {written.readOnly}.</p>
      )}
      {written.restart.length > 0 && (
        <p class="state warn" role="status">
          The file was changed since the start. In effect after a restart: {written.restart.join(", ")}.
        </p>
      )}
      {said !== "" && (
        <p class="state" role="status">
          {said}
        </p>
      )}
      {changes.size > 0 && (
        <section class="changes" aria-label="Changes">
          <Judged tried={tried} />
          <Do label="Save" work={save} />{" "}
          <button type="button" onClick={() => setChanges(new Map())}>
            Discard the changes
          </button>
        </section>
      )}
      <div class="bar">
        <label>
          <span class="hidden">Search settings</span>
          <input
            type="search"
            placeholder="Key or meaning"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        </label>
        <output>
          {found.length} of {rows.length}
        </output>
        <a href="api/v1/settings/export" download="gateway.config.json">
          Export
        </a>
        <a href="api/v1/backup" download="sessions.backup">
          Back up the sessions
        </a>
      </div>
      <dl class="settings">
        {found.map((row) => (
          <Row
            key={row.key}
            row={row}
            isEditable={isEditable}
            change={changes.get(row.key)}
            set={(to) => change(row.key, to)}
            problems={
              tried?.problems.filter((say) => say.startsWith(`${row.key}:`) || say.startsWith(`${row.key}.`)) ?? []
            }
            byHand={row.key === "access.rules" ? admitted.length : 0}
          />
        ))}
      </dl>
    </>
  );
}

function Judged({ tried }: { readonly tried: Tried | undefined }) {
  if (!tried) return <p class="quiet">Checking…</p>;
  const { problems, warnings, difference, restart } = tried;
  return (
    <>
      {problems.map((say) => (
        <p key={say} class="bad" role="alert">
          {say}
        </p>
      ))}
      {warnings.map((say) => (
        <p key={say} class="warn">
          {say}
        </p>
      ))}
      <pre class="difference">
        {difference.map(({ kind, text }, i) => (
          <span key={i} class={kind}>
            {`${kind === "in" ? "+" : kind === "out" ? "-" : " "} ${text}\n`}
          </span>
        ))}
      </pre>
      {problems.length === 0 && (
        <p>
          {restart.length === 0
            ? "All changes take effect at once."
            : `In effect after a restart: ${restart.join(", ")}.`}
        </p>
      )}
    </>
  );
}

function Row(props: {
  readonly row: Setting;
  readonly isEditable: boolean;
  readonly change: Change | undefined;
  readonly set: (to: Change | undefined) => void;
  readonly problems: readonly string[];
  readonly byHand: number;
}) {
  const { row, change, set, problems, byHand } = props;
  const { key, path, shown, meaning, isDefault, isWritten } = row;
  const [isOpen, setOpen] = useState(false);
  const isTakenOut = change !== undefined && change.value === undefined;
  return (
    <div>
      <dt>
        <code>{key}</code>
      </dt>
      <dd>
        <code class={isDefault ? "quiet" : "changed"}>{shown}</code>
        {isDefault && <span class="quiet"> (default)</span>}{" "}
        {props.isEditable && !isOpen && (
          <button type="button" class="link" aria-label={`Change ${key}`} onClick={() => setOpen(true)}>
            Change
          </button>
        )}
        {isOpen && (
          <span class="edit">
            <Editor row={row} set={(value) => set({ path, value })} />
            {isWritten && (
              <button type="button" aria-label={`Default of ${key}`} onClick={() => set({ path })}>
                Default
              </button>
            )}
            <button
              type="button"
              aria-label={`Leave ${key}`}
              onClick={() => {
                set(undefined);
                setOpen(false);
              }}
            >
              Leave
            </button>
            {isTakenOut && <span class="quiet">The key is removed.</span>}
          </span>
        )}
        {change !== undefined &&
          problems.map((say) => (
            <p key={say} class="bad">
              {say}
            </p>
          ))}
        {byHand > 0 && <p class="quiet">{byHand} admitted by hand have priority over these, see above.</p>}
        <p class="quiet">{meaning}</p>
      </dd>
    </div>
  );
}

function Editor({ row, set }: { readonly row: Setting; readonly set: (value: unknown) => void }) {
  const kind = kindOf(row.node);
  const [text, setText] = useState(shownForEdit(row.written, kind));
  const [problem, setProblem] = useState("");
  const typed = (now: string) => {
    setText(now);
    const found = parsed(now, kind);
    setProblem("problem" in found ? found.problem : "");
    if ("value" in found) set(found.value);
  };
  if (kind.kind === "choice") {
    return (
      <select aria-label={row.key} value={text} onChange={(event) => typed(event.currentTarget.value)}>
        {text === "" && <option value="">(choose)</option>}
        {kind.values.map((value) => (
          <option key={String(value)} value={String(value)}>
            {String(value)}
          </option>
        ))}
      </select>
    );
  }
  return (
    <>
      {kind.kind === "secret" && <Secret row={row} kept={(file) => typed(JSON.stringify({ file }))} />}
      {kind.kind === "json" || kind.kind === "secret" ? (
        <textarea
          aria-label={row.key}
          rows={Math.min(20, text.split("\n").length + 1)}
          value={text}
          onInput={(event) => typed(event.currentTarget.value)}
        />
      ) : (
        <input
          type="text"
          aria-label={row.key}
          inputMode={kind.kind === "number" ? "decimal" : "text"}
          value={text}
          onInput={(event) => typed(event.currentTarget.value)}
        />
      )}
      {problem && (
        <span class="bad" role="alert">
          {problem}
        </span>
      )}
    </>
  );
}

/** The secret is typed here and stored in a file beside the store. The configuration gets the file's name. */
function Secret({ row, kept }: { readonly row: Setting; readonly kept: (file: string) => void }) {
  const [secret, setSecret] = useState("");
  const keep = async () => {
    const { file } = (await tell("settings/secret", { key: row.key, secret })) as OutputOf<"settings.secret">;
    setSecret("");
    kept(file);
  };
  return (
    <span>
      <input
        type="password"
        aria-label={`New secret for ${row.key}`}
        placeholder="New secret"
        autocomplete="new-password"
        value={secret}
        onInput={(event) => setSecret(event.currentTarget.value)}
      />{" "}
      <Do label="Keep it in a file" work={keep} />{" "}
      <span class="quiet">It is never shown again. Or enter the place of the secret:</span>
    </span>
  );
}

/** The result of `check` for the changes, a moment after the last input. */
function useTried(changes: ReadonlyMap<string, Change>): Tried | undefined {
  const [tried, setTried] = useState<Tried | undefined>();
  useEffect(() => {
    setTried(undefined);
    if (changes.size === 0) return;
    let isCurrent = true;
    const timer = setTimeout(() => {
      tell("settings/try", { changes: JSON.stringify([...changes.values()]) }).then(
        (found) => isCurrent && setTried(found as Tried),
        (error: unknown) => {
          const say = error instanceof Refused ? error.message : String(error);
          if (isCurrent) setTried({ problems: [say], warnings: [], difference: [], restart: [] });
        },
      );
    }, typingMs);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [changes]);
  return tried;
}
