/** The configuration as it counts, read only: each key with its value and what it means. Secrets never come here. */
import { useState } from "preact/hooks";
import { act, ask } from "./ask.ts";
import { useAsked } from "./hooks.ts";
import { Do, Loaded, Name } from "./parts.tsx";

interface Node {
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
}

export function Settings() {
  const settings = useAsked(() => ask<"settings.show">("settings"), []);
  const [search, setSearch] = useState("");
  return (
    <Loaded asked={settings} what="settings">
      {({ file, configuration, schema, managedFile, admitted }) => {
        const rows = rowsOf("", configuration, schema as Node);
        const wanted = search.toLowerCase();
        const shown = rows.filter(({ key, meaning }) => `${key} ${meaning}`.toLowerCase().includes(wanted));
        return (
          <>
            <h2>Changed by hand</h2>
            <p class="quiet">{managedFile ?? "Kept in memory: gone when the gateway ends"}</p>
            {admitted.length === 0 && <p class="quiet">No client was admitted by hand.</p>}
            <ul class="plain">
              {admitted.map(({ clientId, from, at }) => (
                <li key={clientId}>
                  <Name text={clientId} /> {from === undefined ? "from anywhere" : `from ${from}`}{" "}
                  <span class="quiet">since {at}</span>{" "}
                  <Do
                    label="Take back"
                    sure="The rules of `access` decide then whether it may stay. Sure?"
                    work={() => act("DELETE", "admitted", { client: clientId })}
                    done={settings.again}
                  />
                </li>
              ))}
            </ul>
            <h2>Configuration</h2>
            <p class="quiet">{file}. It is changed there; this page shows it.</p>
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
                {shown.length} of {rows.length}
              </output>
            </div>
            <dl class="settings">
              {shown.map(({ key, value, meaning, isDefault }) => (
                <div key={key}>
                  <dt>
                    <code>{key}</code>
                  </dt>
                  <dd>
                    <code class={isDefault ? "quiet" : "changed"}>{value}</code>
                    {isDefault && <span class="quiet"> (default)</span>}
                    <p class="quiet">{meaning}</p>
                  </dd>
                </div>
              ))}
            </dl>
          </>
        );
      }}
    </Loaded>
  );
}

interface Setting {
  readonly key: string;
  readonly value: string;
  readonly meaning: string;
  readonly isDefault: boolean;
}

function rowsOf(path: string, value: unknown, node: Node | undefined): Setting[] {
  const inner = node?.properties;
  if (inner && typeof value === "object" && value !== null && !Array.isArray(value)) {
    return Object.keys(inner).flatMap((name) => {
      if (name === "$schema") return [];
      const found: unknown = (value as Readonly<Record<string, unknown>>)[name];
      return rowsOf(path === "" ? name : `${path}.${name}`, found, inner[name]);
    });
  }
  const isDefault = value === undefined || JSON.stringify(value) === JSON.stringify(node?.default);
  const text = value === undefined ? "-" : JSON.stringify(value);
  return [{ key: path, value: text, meaning: node?.description ?? "", isDefault }];
}
