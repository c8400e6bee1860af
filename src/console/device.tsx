/** The view of one device: its identity, topics, waiting messages and traffic. */

import { useState } from "preact/hooks";
import { duration } from "../runtime/state-words.ts";
import { act, ask, tell } from "./ask.ts";
import { DatagramList, useDatagrams } from "./datagrams.tsx";
import { wordsOf } from "./devices.tsx";
import { go, useAsked, useSecondsSince } from "./hooks.ts";
import { KeyOf } from "./keys.tsx";
import { Do, Loaded, Name, octets } from "./parts.tsx";

const messagesMax = 100;

/** A form for a message to the device, which the gateway treats as if the broker had sent it. */
function TestMessage({ client, done }: { readonly client: string; readonly done: () => void }) {
  const [topic, setTopic] = useState("");
  const [payload, setPayload] = useState("");
  const [qos, setQos] = useState("1");
  return (
    <details class="test-message">
      <summary>Send a test message</summary>
      <div class="bar">
        <label>
          Topic <input type="text" value={topic} onInput={(event) => setTopic(event.currentTarget.value)} />
        </label>
        <label>
          Payload <input type="text" value={payload} onInput={(event) => setPayload(event.currentTarget.value)} />
        </label>
        <label>
          QoS{" "}
          <select value={qos} onChange={(event) => setQos(event.currentTarget.value)}>
            {["0", "1", "2"].map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
        <Do label="Send" work={() => tell("device/message", { client, topic, payload, qos })} done={done} />
      </div>
      <p class="quiet">
        The message is sent to this device only, and not to the broker. A sleeping device gets it when it wakes up.
      </p>
    </details>
  );
}

const barHeightMax = 40;

/** A bar for each recent wake-up of the device. The height is the time for which the device was awake. */
function Strip(props: {
  readonly wakings: readonly { readonly secondsAgo: number; readonly awakeSeconds: number }[];
  readonly elapsed: number;
}) {
  const { wakings, elapsed } = props;
  const longest = Math.max(0.1, ...wakings.map(({ awakeSeconds }) => awakeSeconds));
  return (
    <>
      <h2>The last wake-ups</h2>
      <ol class="strip">
        {wakings.map(({ secondsAgo, awakeSeconds }, i) => {
          const says = `${duration(Math.round(secondsAgo + elapsed))} ago, awake for ${awakeSeconds.toFixed(1)} s`;
          return (
            <li key={i} title={says}>
              <span class="hidden">{says}</span>
              <span class="stroke" style={{ height: `${Math.max(4, (awakeSeconds / longest) * barHeightMax)}px` }} />
            </li>
          );
        })}
      </ol>
      <p class="quiet">
        The last {duration(Math.round((wakings.at(-1)?.secondsAgo ?? 0) + elapsed))} ago; the highest bar is{" "}
        {longest.toFixed(1)} s.
      </p>
    </>
  );
}

export function Device({ client, isOperator }: { readonly client: string; readonly isOperator: boolean }) {
  const isAbout = (news: { clients: readonly string[] | undefined }) => news.clients?.includes(client) ?? true;
  const found = useAsked(() => ask<"devices.show">("device", { client }), [client], isAbout);
  const datagrams = useDatagrams({ datagrams: "client", client }, messagesMax);
  const elapsed = useSecondsSince(found.at);
  return (
    <>
      <p>
        <a href="#/devices">All devices</a>
      </p>
      <h1>
        <Name text={client} />
      </h1>
      {found.problem?.status === 404 ? (
        <p class="state">This device has no session: it disconnected with a clean session, or has never connected.</p>
      ) : (
        <Loaded asked={found} what="this device">
          {(device) => {
            const words = wordsOf(device, elapsed);
            const { identity } = device;
            return (
              <>
                <p class={`how big ${words.isLate ? "late" : device.state}`}>{words.says}</p>
                <dl class="facts">
                  <dt>Where</dt>
                  <dd>
                    <Name text={device.peer ?? "nowhere known"} />
                    {device.rssi !== undefined && `, ${device.rssi} dBm`}
                  </dd>
                  <dt>Who</dt>
                  <dd>
                    {identity ? (
                      <>
                        <Name text={identity.name} />,{" "}
                        {identity.isProved
                          ? "which the device has proved"
                          : `by its ${identity.by}, which can be forged`}
                      </>
                    ) : (
                      "only its client id is known, which anybody can use"
                    )}
                  </dd>
                  <dt>Session</dt>
                  <dd>
                    {device.clean ? "clean" : "kept while it is away"}, keep alive{" "}
                    {device.keepAliveSeconds === 0 ? "none" : duration(device.keepAliveSeconds)}
                    {device.sleepSeconds > 0 && `, sleeps ${duration(device.sleepSeconds)} at a time`}
                  </dd>
                  <dt>Waiting for the device</dt>
                  <dd>
                    {device.waiting} messages, {octets(device.waitingBytes)}
                    {device.waitingSeconds !== undefined && `, the oldest for ${duration(device.waitingSeconds)}`}
                  </dd>
                  <dt>Owed to the broker</dt>
                  <dd>
                    {device.owed} messages, {octets(device.owedBytes)}; its connection{" "}
                    {device.linkUp ? "stands" : "does not stand"}
                  </dd>
                  <dt>Dropped</dt>
                  <dd>{device.dropped} messages for it</dd>
                  {device.will && (
                    <>
                      <dt>Will</dt>
                      <dd>
                        <Name text={device.will.topic} />, QoS {device.will.qos}, {octets(device.will.bytes)}
                      </dd>
                    </>
                  )}
                </dl>
                {isOperator && (
                  <p class="actions">
                    <Do
                      label="End the session"
                      sure="The device must connect again, and messages that wait for it are deleted. Are you sure?"
                      work={() => act("DELETE", "session", { client })}
                      done={() => go("devices")}
                    />{" "}
                    <Do
                      label="Delete what it has sent"
                      sure="Publications that were acknowledged to the device and that the broker does not have are deleted. Are you sure?"
                      work={() => act("DELETE", "queue/client", { client })}
                      done={found.again}
                    />{" "}
                    <Do
                      label="Delete what waits for it"
                      sure="The messages become dead letters, except those that the device may have already. Are you sure?"
                      work={() => act("DELETE", "device/waiting", { client })}
                      done={found.again}
                    />
                  </p>
                )}
                {isOperator && <TestMessage client={client} done={found.again} />}
                {device.wakings.length > 0 && <Strip wakings={device.wakings} elapsed={elapsed} />}
                <section class="columns">
                  <div>
                    <h2>Subscriptions</h2>
                    {device.subscriptions.length === 0 && <p class="quiet">None.</p>}
                    <ul class="plain">
                      {device.subscriptions.map(({ filter, qos, by, isRefused }) => (
                        <li key={filter}>
                          <Name text={filter} />{" "}
                          <span class="quiet">
                            QoS {qos}, by {by}
                            {isRefused && "; the broker refuses it"}
                          </span>
                        </li>
                      ))}
                    </ul>
                  </div>
                  <div>
                    <h2>Topic ids</h2>
                    {device.topics.length === 0 && <p class="quiet">None.</p>}
                    <ul class="plain">
                      {device.topics.map(({ id, name, known }) => (
                        <li key={id}>
                          <b>{id}</b> <Name text={name} /> {!known && <span class="quiet">not told yet</span>}
                        </li>
                      ))}
                    </ul>
                  </div>
                </section>
              </>
            );
          }}
        </Loaded>
      )}
      {isOperator && <KeyOf name={found.data?.identity?.isProved ? found.data.identity.name : client} />}
      <h2>Its last {messagesMax} messages</h2>
      {datagrams.lost > 0 && <p class="quiet">{datagrams.lost} more arrived than could be shown.</p>}
      {datagrams.entries.length === 0 && !datagrams.isLooking ? (
        <p class="state">Loading messages…</p>
      ) : datagrams.entries.length === 0 ? (
        <p class="quiet">No message since this page was opened. Messages are kept only while a page shows them.</p>
      ) : (
        <DatagramList entries={datagrams.entries} withClient={false} />
      )}
    </>
  );
}
