/** One device: who it is, what it knows, what waits for it, and what it says. */
import { duration } from "../runtime/state-words.ts";
import { act, ask } from "./ask.ts";
import { DatagramList, useDatagrams } from "./datagrams.tsx";
import { wordsOf } from "./devices.tsx";
import { go, useAsked, useSecondsSince } from "./hooks.ts";
import { Do, Loaded, Name, octets } from "./parts.tsx";

const messagesMax = 100;

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
        <p class="state">There is no session of this device: it left with a clean session, or was never here.</p>
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
                        {identity.isProved ? "which it has proved" : `by its ${identity.by}, which can be forged`}
                      </>
                    ) : (
                      "only its client id is known, which anybody can say"
                    )}
                  </dd>
                  <dt>Session</dt>
                  <dd>
                    {device.clean ? "clean" : "kept while it is away"}, keep alive{" "}
                    {device.keepAliveSeconds === 0 ? "none" : duration(device.keepAliveSeconds)}
                    {device.sleepSeconds > 0 && `, sleeps ${duration(device.sleepSeconds)} at a time`}
                  </dd>
                  <dt>Waiting for it</dt>
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
                      sure="The device has to connect anew, and what waits for it is gone. Sure?"
                      work={() => act("DELETE", "session", { client })}
                      done={() => go("devices")}
                    />{" "}
                    <Do
                      label="Give up what it sent"
                      sure="What it was acknowledged for and the broker does not have becomes nothing. Sure?"
                      work={() => act("DELETE", "queue/client", { client })}
                      done={found.again}
                    />
                  </p>
                )}
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
      <h2>Its last {messagesMax} messages</h2>
      {datagrams.lost > 0 && <p class="quiet">{datagrams.lost} more came than could be shown.</p>}
      {datagrams.entries.length === 0 && !datagrams.isLooking ? (
        <p class="state">Loading messages…</p>
      ) : datagrams.entries.length === 0 ? (
        <p class="quiet">Nothing since this page is open: they are kept only while somebody looks.</p>
      ) : (
        <DatagramList entries={datagrams.entries} withClient={false} />
      )}
    </>
  );
}
