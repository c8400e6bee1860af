/** The smaller views: refused devices, datagrams, queues, topics, radio. */
import { useEffect, useRef, useState } from "preact/hooks";
import { duration } from "../runtime/state-words.ts";
import { act, ask, recorded } from "./ask.ts";
import { DatagramList, useDatagrams } from "./datagrams.tsx";
import { hrefOf, useAsked } from "./hooks.ts";
import { Join } from "./join.tsx";
import { Keys } from "./keys.tsx";
import { Do, Empty, Loaded, Name, octets, When } from "./parts.tsx";
import { wholeBlocks } from "./whole-blocks.ts";

export function Knocking({ isOperator }: { readonly isOperator: boolean }) {
  return (
    <>
      {isOperator && <Join />}
      <NotAdmitted />
      {isOperator && <Keys />}
    </>
  );
}

function NotAdmitted() {
  const knocks = useAsked(
    () => ask<"knocking.list">("knocking"),
    [],
    (news) => news.knocks,
  );
  return (
    <Loaded asked={knocks} what="devices that were not admitted">
      {(all) =>
        all.length === 0 ? (
          <Empty title="No device was refused">
            <p>A device that no rule of `access` admits is listed here, with the line that would admit it.</p>
          </Empty>
        ) : (
          <ul class="cards">
            {all.map(({ what, clientId, peer, why, hint, times, lastAt }) => (
              <li key={`${what} ${clientId} ${peer}`} class="card">
                <h2>
                  <Name text={clientId ?? peer} />
                </h2>
                <p>
                  {whatWords[what]} at <Name text={peer} />, {times === 1 ? "once" : `${times} times`}, last{" "}
                  <When at={lastAt} />
                </p>
                <p>Not admitted: {why}.</p>
                {hint !== "" && (
                  <p>
                    {what === "key" ? "To admit it, give it a key, below or by" : "To admit it in the configuration:"}{" "}
                    <code>{hint}</code>
                  </p>
                )}
                {what === "client" && clientId !== undefined && (
                  <p class="actions">
                    <Do label="Admit" work={() => act("POST", "knocking", { client: clientId })} done={knocks.again} />{" "}
                    <Do
                      label="Admit from anywhere"
                      sure="Any device with this client id is admitted, from any address. Are you sure?"
                      work={() => act("POST", "knocking", { client: clientId, from: "anywhere" })}
                      done={knocks.again}
                    />
                  </p>
                )}
              </li>
            ))}
          </ul>
        )
      }
    </Loaded>
  );
}

const whatWords = {
  client: "A client",
  qosMinusOne: "A sender without a connection",
  forwarder: "A forwarder",
  refused: "A client whose CONNECT was refused",
  key: "A device that could not prove its identity",
} as const;

const datagramsMax = 500;

/** A capture that is kept in the page until it is saved, because a download would not end. */
function Recorder({ client }: { readonly client: string }) {
  const recording = useRef<AbortController | undefined>(undefined);
  const [bytes, setBytes] = useState<number | undefined>();
  const [problem, setProblem] = useState("");
  useEffect(() => () => recording.current?.abort(), []);
  const start = async () => {
    setProblem("");
    setBytes(0);
    const ending = new AbortController();
    recording.current = ending;
    try {
      const parts = await recorded(client === "" ? {} : { client }, ending.signal, setBytes);
      const whole = wholeBlocks(new Uint8Array(await new Blob(parts).arrayBuffer()));
      save(new Blob([whole], { type: "application/x-pcapng" }), "mqtt-sn.pcapng");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
    recording.current = undefined;
    setBytes(undefined);
  };
  return (
    <>
      <button
        type="button"
        title="For Wireshark, with -o mqttsn.udp.port:1883. The filter must be the whole client id."
        onClick={() => (recording.current ? recording.current.abort() : void start())}
      >
        {bytes === undefined ? "Record (pcapng)" : `Stop and save, ${octets(bytes)}`}
      </button>
      {problem && (
        <span class="bad" role="alert">
          {problem}
        </span>
      )}
    </>
  );
}

function save(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function LiveAir() {
  const datagrams = useDatagrams({ datagrams: "all" }, datagramsMax);
  const [client, setClient] = useState("");
  const [type, setType] = useState("");
  const [topic, setTopic] = useState("");
  const shown = datagrams.entries.filter(
    (entry) =>
      (entry.client ?? entry.peer).includes(client) &&
      (type === "" || entry.type === type) &&
      (topic === "" || (entry.topic ?? "").includes(topic)),
  );
  const types = [...new Set(datagrams.entries.map((entry) => entry.type))].sort();
  const field = (name: string, value: string, set: (text: string) => void) => (
    <label>
      <span class="hidden">{name}</span>
      <input type="search" placeholder={name} value={value} onInput={(event) => set(event.currentTarget.value)} />
    </label>
  );
  return (
    <>
      <div class="bar">
        {field("Device", client, setClient)}
        {field("Topic", topic, setTopic)}
        <label>
          <span class="hidden">Type</span>
          <select value={type} onChange={(event) => setType(event.currentTarget.value)}>
            <option value="">all types</option>
            {types.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        <button type="button" aria-pressed={datagrams.isPaused} onClick={() => datagrams.pause(!datagrams.isPaused)}>
          {datagrams.isPaused ? "Go on" : "Pause"}
        </button>
        <button type="button" onClick={datagrams.clear}>
          Clear
        </button>
        <Recorder client={client} />
        <output>
          {shown.length} of the last {datagrams.entries.length}
          {datagrams.lost > 0 && `; ${datagrams.lost} more arrived than could be shown`}
        </output>
      </div>
      {datagrams.entries.length === 0 && !datagrams.isLooking ? (
        <p class="state">Loading the datagrams…</p>
      ) : datagrams.entries.length === 0 ? (
        <Empty title="No datagram yet">
          <p>Datagrams between devices and the gateway appear here as they pass, decoded, while this page is open.</p>
        </Empty>
      ) : (
        <DatagramList entries={shown} withClient />
      )}
    </>
  );
}

export function Queues({ isOperator }: { readonly isOperator: boolean }) {
  const depth = useAsked(() => ask<"queue.depth">("queue"), []);
  return (
    <>
      <Loaded asked={depth} what="what waits">
        {({ forBroker, forClients }) => (
          <section class="columns">
            <div>
              <h2>For devices</h2>
              <p>
                {forClients.messages} messages, {octets(forClients.bytes)}
              </p>
              <ul class="plain">
                {forClients.clients.map(({ clientId, state, messages, waitingSeconds, dropped }) => (
                  <li key={clientId}>
                    <a href={hrefOf("device", { client: clientId })}>
                      <Name text={clientId} />
                    </a>{" "}
                    ({state}): {messages}
                    {waitingSeconds !== undefined && `, the oldest for ${duration(waitingSeconds)}`}
                    {dropped > 0 && `, ${dropped} dropped`}
                  </li>
                ))}
              </ul>
            </div>
            <div>
              <h2>For the broker</h2>
              <p>
                {forBroker.messages} messages, {octets(forBroker.bytes)}
              </p>
              <ul class="plain">
                {forBroker.clients.map(({ clientId, messages, oldestAt }) => (
                  <li key={clientId}>
                    <a href={hrefOf("device", { client: clientId })}>
                      <Name text={clientId} />
                    </a>
                    : {messages}, the oldest of <When at={oldestAt} />
                  </li>
                ))}
              </ul>
            </div>
          </section>
        )}
      </Loaded>
      <h2>Dead letters</h2>
      {isOperator ? <Letters /> : <p class="state">Only operators see them, because they contain payloads.</p>}
    </>
  );
}

function Letters() {
  const letters = useAsked(() => ask<"queue.dead">("letters"), []);
  return (
    <Loaded asked={letters} what="dead letters">
      {(all) =>
        all.length === 0 ? (
          <p class="quiet">None: no message at QoS 1 or 2 was dropped.</p>
        ) : (
          <>
            <p class="actions">
              <Do
                label="Send all again"
                sure={`${all.length} messages are sent again to where they were going. Are you sure?`}
                work={() => act("POST", "letters")}
                done={letters.again}
              />{" "}
              <Do
                label="Delete all"
                sure={`${all.length} messages are deleted. Are you sure?`}
                work={() => act("DELETE", "letters")}
                done={letters.again}
              />
            </p>
            <ul class="cards">
              {all.slice(0, 200).map(({ id, clientId, direction, reason, topic, qos, at, payload, bytes }) => (
                <li key={id} class="card">
                  <p>
                    <b>{reason}</b>: {direction === "up" ? "from" : "for"} <Name text={clientId} />,{" "}
                    <Name text={topic} />, QoS {qos}, {octets(bytes)}, <When at={at} />
                  </p>
                  {payload === undefined ? (
                    <p class="quiet">Payloads are hidden (api.payloads).</p>
                  ) : (
                    <details>
                      <summary>Payload</summary>
                      <pre>{textOf(payload)}</pre>
                    </details>
                  )}
                  <p class="actions">
                    <Do label="Send once more" work={() => act("POST", "letters", { ids: id })} done={letters.again} />{" "}
                    <Do
                      label="Delete"
                      sure="The message is deleted. Are you sure?"
                      work={() => act("DELETE", "letters", { ids: id })}
                      done={letters.again}
                    />
                  </p>
                </li>
              ))}
            </ul>
            {all.length > 200 && <p class="quiet">{all.length - 200} more are not shown.</p>}
          </>
        )
      }
    </Loaded>
  );
}

/** A payload may be any octets. It is shown as text if it is text. */
function textOf(base64: string): string {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes).slice(0, 4_000);
  } catch {
    return [...bytes.subarray(0, 1_000)].map((octet) => octet.toString(16).padStart(2, "0")).join(" ");
  }
}

/** The device's firmware uses the topic id; here the operator gives its topic name. */
function NewPredefined({ done }: { readonly done: () => void }) {
  const [id, setId] = useState("");
  const [name, setName] = useState("");
  const [client, setClient] = useState("");
  const query = { id, name, ...(client !== "" && { client }) };
  return (
    <div class="bar">
      <label>
        Id{" "}
        <input
          type="text"
          inputMode="numeric"
          value={id}
          onInput={(event) => setId(event.currentTarget.value.trim())}
        />
      </label>
      <label>
        Topic <input type="text" value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      <label>
        Only for the client{" "}
        <input
          type="text"
          value={client}
          placeholder="all clients"
          onInput={(event) => setClient(event.currentTarget.value)}
        />
      </label>
      <Do label="Give this id" work={() => act("POST", "topics/predefined", query)} done={done} />
    </div>
  );
}

export function Topics() {
  const topics = useAsked(() => ask<"topics.list">("topics"), []);
  return (
    <Loaded asked={topics} what="topics">
      {({ predefined, used, isCut }) => (
        <>
          <h2>Predefined</h2>
          {predefined.length === 0 && (
            <p class="quiet">
              None. A device uses a predefined id without registering it: add one here, or in the configuration.
            </p>
          )}
          <ul class="plain">
            {predefined.map(({ id, name, client, isByHand }) => (
              <li key={`${client} ${id}`}>
                <b>{id}</b> <Name text={name} />{" "}
                {client !== undefined && (
                  <span class="quiet">
                    for <Name text={client} /> alone
                  </span>
                )}{" "}
                {isByHand && (
                  <>
                    <span class="quiet">added by hand</span>{" "}
                    <Do
                      label={`Take ${id} back`}
                      sure="When devices that use it connect the next time, it is refused, or has the meaning that the configuration gives it. Are you sure?"
                      work={() =>
                        act("DELETE", "topics/predefined", { id: String(id), ...(client !== undefined && { client }) })
                      }
                      done={topics.again}
                    />
                  </>
                )}
              </li>
            ))}
          </ul>
          <NewPredefined done={topics.again} />
          <p class="quiet">A change takes effect for each device at its next CONNECT.</p>
          <h2>In use</h2>
          {used.length === 0 && <p class="quiet">No device has registered a topic name or subscribed.</p>}
          <ul class="plain">
            {used.map(({ name, isFilter, clients, some }) => (
              <li key={`${isFilter} ${name}`}>
                <details>
                  <summary>
                    <Name text={name} />{" "}
                    <span class="quiet">
                      {isFilter ? "subscribed to by" : "known to"} {clients === 1 ? "one device" : `${clients} devices`}
                    </span>
                  </summary>
                  <ul class="plain">
                    {some.map((client) => (
                      <li key={client}>
                        <a href={hrefOf("device", { client })}>
                          <Name text={client} />
                        </a>
                      </li>
                    ))}
                    {clients > some.length && <li class="quiet">and {clients - some.length} more</li>}
                  </ul>
                </details>
              </li>
            ))}
          </ul>
          {isCut && <p class="quiet">There are more topics than this list shows.</p>}
        </>
      )}
    </Loaded>
  );
}

export function Radio() {
  const radio = useAsked(() => ask<"radio.show">("radio"), []);
  return (
    <Loaded asked={radio} what="networks">
      {(all) => (
        <ul class="cards">
          {all.map(({ name, place, stats, links }) => (
            <li key={name} class="card">
              <h2>
                <Name text={name} />
              </h2>
              <p>
                {place}: {stats.datagramsIn} datagrams in, {stats.datagramsOut} out, {stats.sendErrors} not sent
                {stats.kernelDrops !== undefined && `, ${stats.kernelDrops} dropped by the kernel`}
              </p>
              {links && (
                <>
                  <p class={links.up ? "" : "bad"}>{links.condition}</p>
                  {links.devices.length === 0 && <p class="quiet">No device was seen.</p>}
                  <ul class="plain">
                    {links.devices.map((device) => (
                      <li key={device.peer}>
                        <Name text={device.name || device.peer} />{" "}
                        <span class="quiet">
                          {device.linked ? "connected" : `seen ${duration(device.secondsSinceSeen)} ago`}
                          {device.rssi !== undefined && `, ${device.rssi} dBm`}
                          {device.failures > 0 && `, ${device.failures} failures: ${device.lastFailure}`}
                        </span>
                      </li>
                    ))}
                  </ul>
                </>
              )}
            </li>
          ))}
        </ul>
      )}
    </Loaded>
  );
}
