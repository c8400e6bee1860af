/** The state of the gateway at a glance; problems come first. */
import type { ComponentChildren } from "preact";
import type { OutputOf } from "../runtime/commands.ts";
import { duration, handoverWords, trafficWords } from "../runtime/state-words.ts";
import { ask } from "./ask.ts";
import { type Asked, hrefOf, useAsked } from "./hooks.ts";
import { Empty, Loaded, octets } from "./parts.tsx";
import { Plot } from "./plot.tsx";

export type OverviewFacts = OutputOf<"overview.show">;

export function Overview({ facts }: { readonly facts: Asked<OverviewFacts> }) {
  const totals = useAsked(() => ask<"totals.show">("totals"), []);
  return (
    <Loaded asked={facts} what="the overview">
      {(data) => (
        <>
          <Needs needs={data.needs} />
          {data.pair && <Pair pair={data.pair} />}
          {data.fleet && <Fleet fleet={data.fleet} />}
          {data.sessions.total === 0 && isActive(data) && <NoDevice facts={data} />}
          <section aria-label="Sessions" class="tiles">
            {(["active", "asleep", "awake", "late", "lost", "disconnected"] as const).map((state) => (
              <a key={state} class={`tile ${state}`} href={hrefOf("devices", { state })}>
                <b>{data.sessions[state]}</b> {state}
              </a>
            ))}
          </section>
          <section>
            <Loaded asked={totals} what="the last hour">
              {(hour) =>
                hour.at.length < 2 ? (
                  <p class="state">The plot of the last hour begins in twenty seconds.</p>
                ) : (
                  <Plot totals={hour} />
                )
              }
            </Loaded>
          </section>
          <section class="columns">
            <div>
              <h2>Brokers</h2>
              <ul class="plain">
                {data.brokers.map((broker) => (
                  <li key={broker.name}>
                    <span class={`dot ${broker.isThere ? "good" : "warn"}`} aria-hidden="true" />
                    {broker.name && <b>{broker.name} </b>}
                    {broker.url}: {broker.isThere ? "there" : "away"}
                    {broker.sinceSeconds !== undefined && ` for ${duration(broker.sinceSeconds)}`}
                    {broker.octets.length > 0 && <div class="state">{trafficWords(broker.octets)}</div>}
                  </li>
                ))}
              </ul>
              <h2>Waiting</h2>
              <p>
                {data.waiting.forClients} for devices, {data.waiting.forBroker} for the broker,{" "}
                {data.waiting.deadLetters} dead letters
              </p>
              <p>
                Version {data.version}, up for {duration(data.uptimeSeconds)}, {octets(data.memoryBytes)} of memory;{" "}
                {storeWords(data)}.
              </p>
            </div>
            <div>
              <h2>Dropped since the start</h2>
              {data.dropped.length === 0 ? (
                <p class="quiet">Nothing.</p>
              ) : (
                <ul class="plain">
                  {data.dropped.map(({ reason, count, meaning, advice }) => (
                    <li key={reason}>
                      <details>
                        <summary>
                          <b>{count}</b> {reason}
                        </summary>
                        <p>{meaning}</p>
                        <p class="quiet">{advice}</p>
                      </details>
                    </li>
                  ))}
                </ul>
              )}
            </div>
          </section>
        </>
      )}
    </Loaded>
  );
}

/** True if the gateway is alone, or is the active one of a pair, so that it has the sessions and the brokers. */
export function isActive({ pair }: OverviewFacts): boolean {
  return !pair || pair.role === "active";
}

function Pair({ pair }: { readonly pair: NonNullable<OverviewFacts["pair"]> }) {
  const { role, name, owner, epoch, sinceSeconds, other } = pair;
  const isGood = role === "active" ? other !== undefined : role === "standby" && owner !== "";
  return (
    <section aria-label="Pair">
      <h2>Pair</h2>
      <ul class="plain">
        <li>
          <span class={`dot ${isGood ? "good" : "warn"}`} aria-hidden="true" />
          <b>{name}</b> {roleWords[role]}, epoch {epoch}, for {duration(sinceSeconds)}
          {role === "standby" && "; sessions and devices are at the active one"}
        </li>
        <li>{otherWords(pair)}</li>
        {epoch > 0 && <li>Last hand-over: {handoverWords(pair)}</li>}
      </ul>
    </section>
  );
}

const roleWords = { active: "is active", standby: "stands by", ended: "has handed over, and ends" } as const;

function otherWords({ role, owner, other }: NonNullable<OverviewFacts["pair"]>): string {
  if (role === "active") return other ? `${other.name} stands by, version ${other.version}` : "No gateway stands by";
  return owner === "" ? "No gateway is active" : `${owner} is active${other ? `, version ${other.version}` : ""}`;
}

function Fleet({ fleet }: { readonly fleet: NonNullable<OverviewFacts["fleet"]> }) {
  const { name, members, owners, shards, leaseSeconds, trouble, counters } = fleet;
  const here = owners.filter(({ owner }) => owner === name);
  const unowned = owners.filter(({ owner }) => owner === "").length;
  const { first, drained, ended, silent } = counters.claimed;
  return (
    <section aria-label="Fleet">
      <h2>Fleet</h2>
      <p>
        {shards} shards, {unowned === 0 ? "all of them owned" : `${unowned} of them without an owner`}; a lease lasts{" "}
        {leaseSeconds} s{trouble !== "" && `; ${trouble}`}. Sessions, queues and drops on this page are those of the{" "}
        {here.length} shards of <b>{name}</b>.
      </p>
      <Table heads={["Gateway", "Shards", "Version", "Last seen", "Known for", "Address"]}>
        {members.map((member) => (
          <tr key={member.name}>
            <td>
              <span class={`dot ${member.secondsAgo > leaseSeconds ? "warn" : "good"}`} aria-hidden="true" />
              <b>{member.name}</b>
              {member.isDraining && " hands over its shards, and ends"}
            </td>
            <td>{member.shards}</td>
            <td>{member.version}</td>
            <td>{member.name === name ? "now" : `${member.secondsAgo} s ago`}</td>
            <td>{duration(member.sinceSeconds)}</td>
            <td>{member.place}</td>
          </tr>
        ))}
      </Table>
      <p>
        Since its start {name} claimed {first + drained + ended + silent} shards ({drained} were drained by another
        gateway, {ended + silent} were those of a gateway that ended or was silent), handed over {counters.handedOver},
        and lost {counters.lost}.
      </p>
      <details>
        <summary>Each shard with its owner and epoch</summary>
        <Table heads={["Shard", "Owner", "Epoch", "State here"]}>
          {owners.map(({ shard, owner, epoch, here: state }) => (
            <tr key={shard}>
              <td>{shard}</td>
              <td>{owner || "none"}</td>
              <td>{epoch}</td>
              <td>{state ?? "-"}</td>
            </tr>
          ))}
        </Table>
      </details>
    </section>
  );
}

function Table({ heads, children }: { readonly heads: readonly string[]; readonly children: ComponentChildren }) {
  return (
    <table class="facts">
      <thead>
        <tr>
          {heads.map((head) => (
            <th key={head} scope="col">
              {head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

function storeWords({ storeKind, storeFails }: OverviewFacts): string {
  if (storeKind === "memory") return "sessions and messages are only in memory, and are lost when the gateway ends";
  if (storeKind === "redis") return storeFails ? "Redis does not accept changes" : "Redis accepts changes";
  return storeFails ? "the disk fails" : "the disk accepts changes";
}

function Needs({ needs }: { readonly needs: OverviewFacts["needs"] }) {
  if (needs.length === 0) return <p class="need good">Nothing needs attention.</p>;
  return (
    <section aria-label="What needs attention">
      {needs.map(({ level, says, advice, view }) => (
        <p key={says} class={`need ${level}`}>
          {says} <span class="quiet">{advice}</span> {view && <a href={`#/${view}`}>Show</a>}
        </p>
      ))}
    </section>
  );
}

export function NoDevice({ facts }: { readonly facts: OverviewFacts | undefined }) {
  if (facts?.fleet)
    return (
      <Empty title="No device at this gateway">
        <p>
          No client of the shards of <b>{facts.fleet.name}</b> has a session. A client belongs to a shard by its client
          id, whichever gateway it writes to.
        </p>
      </Empty>
    );
  const udp = facts?.transports.find(({ place }) => /:\d+$/.test(place));
  const port = udp?.place.split(":").at(-1) ?? "1883";
  const address = facts?.addresses[0] ?? "127.0.0.1";
  return (
    <Empty title="No device yet">
      <p>
        This machine is at <b>{facts?.addresses.join(", ") || "127.0.0.1"}</b>, and listens for devices on{" "}
        <b>{facts?.transports.map(({ name, place }) => `${name} ${place}`).join(", ")}</b>. To try it:
      </p>
      <pre>
        {`mqtt-sn-gateway sub -h ${address} -p ${port} -t 'try/#' -v\n`}
        {`mqtt-sn-gateway pub -h ${address} -p ${port} -t try/it -m hello -q 1\n`}
        {"mqtt-sn-gateway sessions"}
      </pre>
    </Empty>
  );
}
