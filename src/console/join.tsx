/** A window of time in which devices that no rule admits may join: how long, which devices wait, and which joined. For operators. */
import { useState } from "preact/hooks";
import { duration } from "../runtime/state-words.ts";
import { act, ask } from "./ask.ts";
import { hrefOf, useAsked, useSecondsSince } from "./hooks.ts";
import { Do, Name } from "./parts.tsx";

const windows = [60, 120, 300, 900] as const;

/** `withWaiting`: also shows the waiting devices, in a view that does not show them itself. */
export function Join({ withWaiting = false }: { readonly withWaiting?: boolean }) {
  const join = useAsked(
    () => ask<"join.show">("join"),
    [],
    (news) => news.knocks || news.clients?.length !== 0,
  );
  const elapsed = useSecondsSince(join.at);
  const [seconds, setSeconds] = useState<number>(windows[1]);
  if (!join.data) return null;
  const { admitted, left } = join.data;
  const remaining = Math.max(0, join.data.seconds - elapsed);
  const isOpen = remaining > 0;
  return (
    <section class="join" aria-label="Joining">
      <div class="bar">
        {isOpen ? (
          <>
            <output>
              Open for {duration(remaining)} more: who knocks now is let in when it tries again
              {left === 0 && "; but the limit of devices for one window is reached"}.
            </output>
            <Do label="Close" work={() => act("POST", "join", { seconds: 0 })} done={join.again} />
          </>
        ) : (
          <>
            <Do label="Let a device join" work={() => act("POST", "join", { seconds })} done={join.again} />
            <label>
              for{" "}
              <select value={seconds} onChange={(event) => setSeconds(Number(event.currentTarget.value))}>
                {windows.map((each) => (
                  <option key={each} value={each}>
                    {duration(each)}
                  </option>
                ))}
              </select>
            </label>
          </>
        )}
      </div>
      {admitted.length > 0 && (
        <p role="status">
          Joined:{" "}
          {admitted.map((client, i) => (
            <span key={client}>
              {i > 0 && ", "}
              <a href={hrefOf("device", { client })}>
                <Name text={client} />
              </a>
            </span>
          ))}
        </p>
      )}
      {withWaiting && isOpen && <Waiting />}
    </section>
  );
}

const waitingMax = 10;

function Waiting() {
  const knocks = useAsked(
    () => ask<"knocking.list">("knocking"),
    [],
    (news) => news.knocks,
  );
  const all = knocks.data ?? [];
  if (all.length === 0) return <p class="quiet">No device waits for admission.</p>;
  return (
    <>
      <p>Not admitted until now:</p>
      <ul class="plain">
        {all.slice(0, waitingMax).map(({ what, clientId, peer, why }) => (
          <li key={`${what} ${clientId} ${peer}`}>
            <Name text={clientId ?? peer} />{" "}
            <span class="quiet">
              at <Name text={peer} />: {why}
            </span>
          </li>
        ))}
      </ul>
      <p>
        <a href="#/knocking">All devices that were not admitted</a>
      </p>
    </>
  );
}
