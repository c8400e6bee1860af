/** The page: the log-in, the head that shows the state of broker and store, and the views. */
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { act, ask, logIn, type Me, Refused, whoAmI } from "./ask.ts";
import { Device } from "./device.tsx";
import { Devices } from "./devices.tsx";
import { useAsked, usePlace } from "./hooks.ts";
import { Overview } from "./overview.tsx";
import { Settings } from "./settings.tsx";
import { listen, openStream } from "./stream.ts";
import { Knocking, LiveAir, Queues, Radio, Topics } from "./views.tsx";

const views = [
  ["", "Overview"],
  ["devices", "Devices"],
  ["knocking", "Not admitted"],
  ["live", "Live"],
  ["queues", "Queues"],
  ["topics", "Topics"],
  ["radio", "Radio"],
  ["settings", "Settings"],
] as const;

/** The overview is requested less often, because the gateway reads every session for it. */
const overviewApartMs = 2_000;

function App() {
  const [me, setMe] = useState<Me | undefined>();
  const [problem, setProblem] = useState("");
  const begin = async () => {
    const token = /^#token=([\w-]+)$/.exec(location.hash)?.[1];
    try {
      if (token !== undefined) {
        history.replaceState(undefined, "", location.pathname); // the token is valid once, and is removed from the address
        return setMe(await logIn({ token }));
      }
      setMe(await whoAmI());
    } catch (error) {
      setProblem(error instanceof Refused ? error.message : String(error));
      setMe(await whoAmI().catch(() => ({ hasPassword: false })));
    }
  };
  useEffect(() => {
    begin();
    addEventListener("hashchange", () => /^#token=/.test(location.hash) && begin());
  }, []);
  if (!me) return <p class="state">Loading…</p>;
  if (me.role === undefined) return <Door me={me} problem={problem} entered={setMe} />;
  return <Gateway me={me} left={() => setMe({ hasPassword: me.hasPassword })} />;
}

function Door(props: { readonly me: Me; readonly problem: string; readonly entered: (me: Me) => void }) {
  const [problem, setProblem] = useState(props.problem);
  const [password, setPassword] = useState("");
  useEffect(() => setProblem(props.problem), [props.problem]);
  const enter = async (event: Event) => {
    event.preventDefault();
    try {
      props.entered(await logIn({ password }));
    } catch (error) {
      setProblem(error instanceof Refused ? error.message : String(error));
    }
  };
  return (
    <main class="door">
      <h1>MQTT-SN gateway</h1>
      {problem && (
        <p class="bad" role="alert">
          {problem}
        </p>
      )}
      <p>To log in, ask for a link on the gateway's own machine:</p>
      <pre>mqtt-sn-gateway console</pre>
      <p class="quiet">
        Installed as a service: <code>sudo mqtt-sn-gateway console -c /etc/mqtt-sn-gateway/gateway.config.json</code>
      </p>
      {props.me.hasPassword && (
        <form onSubmit={enter}>
          <label>
            Or with the password:{" "}
            <input
              type="password"
              autocomplete="current-password"
              value={password}
              onInput={(event) => setPassword(event.currentTarget.value)}
            />
          </label>{" "}
          <button type="submit">Log in</button>
        </form>
      )}
    </main>
  );
}

function Gateway({ me, left }: { readonly me: Me; readonly left: () => void }) {
  const { view, query } = usePlace();
  const overview = useAsked(
    () => ask<"overview.show">("overview"),
    [],
    (news) => news.surroundings || news.knocks || news.clients?.length !== 0,
    overviewApartMs,
  );
  const gone = useGone(left);
  const { data, problem } = overview;
  useEffect(() => {
    openStream();
  }, []);
  useEffect(() => {
    if (problem?.status === 401) left();
  }, [problem]);
  const isOperator = me.role === "operator";
  const away = data?.brokers.filter(({ isThere }) => !isThere) ?? [];
  const bad = data?.needs.filter(({ level }) => level !== "note").length ?? 0;
  return (
    <div class={gone === undefined ? "" : "gone"}>
      <header>
        <a href="#/" class="title">
          MQTT-SN gateway
        </a>
        <nav aria-label="Views">
          {views.map(([name, title]) => (
            <a key={name} href={`#/${name}`} aria-current={isCurrent(name, view) ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <p class="signs">
          {data && (
            <>
              {data.pair && data.pair.role !== "active" ? (
                <span class="sign">stands by</span>
              ) : (
                <span class={`sign ${away.length === 0 ? "good" : "warn"}`}>
                  {away.length === 0 ? "broker there" : "broker away"}
                </span>
              )}
              {data.storeKind !== "memory" && (
                <span class={`sign ${data.storeFails ? "bad" : "good"}`}>
                  {data.storeKind === "redis" ? "Redis" : "disk"} {data.storeFails ? "fails" : "works"}
                </span>
              )}
              {bad > 0 && (
                <a href="#/" class="sign warn">
                  {bad === 1 ? "1 needs attention" : `${bad} need attention`}
                </a>
              )}
            </>
          )}
          <span class="quiet">{me.role}</span>{" "}
          {me.by !== "ingress" && (
            <button type="button" class="link" onClick={() => act("POST", "log-out").finally(left)}>
              Log out
            </button>
          )}
        </p>
      </header>
      {gone !== undefined && (
        <p class="banner bad" role="alert">
          The gateway does not answer. Its last answer was at {new Date(gone).toLocaleTimeString()}; what is shown is
          from then. This page tries again by itself.
        </p>
      )}
      {gone === undefined && away.length > 0 && (
        <p class="banner warn" role="status">
          {data?.needs.find(({ says }) => says.startsWith("The broker"))?.says}
        </p>
      )}
      <main>
        {view !== "device" && <h1 class="hidden">{views.find(([name]) => name === view)?.[1] ?? "MQTT-SN gateway"}</h1>}
        {view === "" && <Overview facts={overview} />}
        {view === "devices" && <Devices query={query} overview={overview} isOperator={isOperator} />}
        {view === "device" && <Device client={query.get("client") ?? ""} isOperator={isOperator} />}
        {view === "knocking" && <Knocking isOperator={isOperator} />}
        {view === "live" && <LiveAir />}
        {view === "queues" && <Queues isOperator={isOperator} />}
        {view === "topics" && <Topics />}
        {view === "radio" && <Radio />}
        {view === "settings" && <Settings />}
      </main>
    </div>
  );
}

function isCurrent(name: string, view: string): boolean {
  return name === view || (name === "devices" && view === "device");
}

/** The time of the last message, if the gateway cannot be reached any more; undefined: it can. */
function useGone(left: () => void): number | undefined {
  const [gone, setGone] = useState<number | undefined>();
  useEffect(() => {
    let heardAt = Date.now();
    return listen((word) => {
      if (word.say === "out") return left();
      if (word.say !== "down") {
        heardAt = Date.now();
        return setGone(undefined);
      }
      setGone(heardAt);
      // The gateway may be reachable, but the log-in may not be valid any more.
      whoAmI().then(
        (me) => me.role === undefined && left(),
        () => {},
      );
    });
  }, []);
  return gone;
}

const place = document.getElementById("console");
if (place) {
  place.textContent = "";
  render(<App />, place);
}
