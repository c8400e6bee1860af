/** Which clients get a session when there are no places left. */
import { describe, expect, test } from "vitest";
import { type AccessPolicy, admitAll } from "../../../src/core/access.ts";
import type { CoreOptions } from "../../../src/core/options.ts";
import type { PeerId } from "../../../src/core/types.ts";
import { Bench, connect, disconnect, ping, sleep } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";

/** Clients `known-…` are named by a rule. */
const access: AccessPolicy = {
  ...admitAll,
  client: (clientId) => ({ admitted: true, byName: clientId.startsWith("known") }),
};

/** Three places. Each client has its own host. */
const three = { access, clients: { sessionsMax: 3 } } as unknown as Partial<CoreOptions>;

const at = (clientId: string): PeerId => `udp/${clientId}:1`;
const connects = (bench: Bench, clientId: string, cleanSession = true) =>
  bench.client(connect({ clientId, cleanSession, duration: 65_535 }), at(clientId));

function joins(bench: Bench, clientId: string, cleanSession = true): void {
  connects(bench, clientId, cleanSession).effect("openLink");
  bench.link(clientId).up().gets("CONNACK");
}

const clients = (bench: Bench) => [...bench.core.sessions()].map(({ clientId }) => clientId).sort();
const refused = (bench: Bench, clientId: string) => {
  const turn = connects(bench, clientId);
  expect(turn.message("CONNACK").returnCode).toBe(1);
  expect(turn.drops).toEqual(["no-place"]);
};

describe("no place is left [6.2]", () => {
  test("who never spoke after CONNECT makes way, the first one first, and is told", () => {
    const bench = new Bench(three);
    for (const id of ["s1", "s2", "s3"]) joins(bench, id);
    refused(bench, "new"); // they may be about to
    bench.after(5_000);
    const turn = connects(bench, "new");
    expect(turn.effects.flatMap((e) => (e.kind === "send" ? [[e.to, e.message.type]] : []))).toEqual([
      [at("s1"), "DISCONNECT"],
    ]);
    turn.asks("closeLink", "openLink");
    expect(clients(bench)).toEqual(["new", "s2", "s3"]);
  });

  test("there may be none any more when a client has told its will", () => {
    const bench = new Bench(three);
    for (const id of ["s1", "s2"]) joins(bench, id);
    for (const clientId of ["w1", "w2"])
      bench.client(connect({ clientId, will: true }), at(clientId)).gets("WILLTOPICREQ");
    const tells = (clientId: string) => {
      bench.client({ type: "WILLTOPIC", willTopic: "w", qos: 0, retain: false }, at(clientId)).gets("WILLMSGREQ");
      return bench.client({ type: "WILLMSG", willMsg: new Uint8Array(1) }, at(clientId));
    };
    tells("w1").asks("openLink");
    const turn = tells("w2").asks();
    expect(turn.message("CONNACK").returnCode).toBe(1);
    expect(turn.drops).toEqual(["no-place"]);
    expect(clients(bench)).toEqual(["s1", "s2", "w1"]);
    expect(bench.core.sizes.pendingConnects).toBe(1);
  });

  test("one word is enough to keep it; a goodbye is none", () => {
    const bench = new Bench(three);
    for (const id of ["s1", "s2", "s3"]) joins(bench, id, false);
    bench.client(ping, at("s1"));
    bench.client(disconnect, at("s3"));
    joins(bench, "n1");
    bench.after(5_000);
    joins(bench, "n2");
    expect(clients(bench)).toEqual(["n1", "n2", "s1"]);
  });

  test("a device that is away is not pushed out by strangers, for a day", () => {
    const bench = new Bench(three);
    joins(bench, "away", false);
    bench.client(ping, at("away"));
    bench.client(disconnect, at("away"));
    joins(bench, "b");
    joins(bench, "c");
    refused(bench, "stranger");
    for (const id of ["b", "c"]) bench.client(ping, at(id));
    refused(bench, "stranger");
    bench.after(12 * 3_600_000);
    for (const id of ["b", "c"]) bench.client(ping, at(id));
    refused(bench, "stranger");
    bench.after(12 * 3_600_000);
    joins(bench, "stranger");
    expect(clients(bench)).toEqual(["b", "c", "stranger"]);
  });

  test("a client that a rule names gets a place at once, and strangers do not take one from it", () => {
    const bench = new Bench(three);
    joins(bench, "known-1", false);
    bench.client(disconnect, at("known-1"));
    joins(bench, "b");
    joins(bench, "c");
    bench.client(ping, at("c"));
    joins(bench, "known-2"); // b has not spoken yet
    expect(clients(bench)).toEqual(["c", "known-1", "known-2"]);
    bench.after(20 * 3_600_000);
    for (const id of ["c", "known-2"]) bench.client(ping, at(id));
    bench.after(20 * 3_600_000);
    refused(bench, "stranger");
    joins(bench, "known-3");
    expect(clients(bench)).toEqual(["c", "known-2", "known-3"]);
  });

  test("over a restart: squatters make way at once, who spoke stays", () => {
    const run = new GatewayRun(three);
    for (const id of ["a", "s1", "s2"]) {
      run.keep(connects(run.bench, id, false));
      run.keep(run.bench.link(id).up());
    }
    run.keep(run.bench.client(ping, at("a")));
    run.keep(run.bench.client(disconnect, at("a")));
    const { bench } = run.next();
    joins(bench, "n1");
    joins(bench, "n2");
    expect(clients(bench)).toEqual(["a", "n1", "n2"]);
    refused(bench, "n3");
  });

  test("a sleeper has spoken", () => {
    const bench = new Bench(three);
    for (const id of ["s1", "s2", "s3"]) joins(bench, id, false);
    bench.client(sleep(600), at("s1"));
    bench.after(6_000);
    joins(bench, "n1");
    expect(clients(bench)).toEqual(["n1", "s1", "s3"]);
  });
});

describe("places of one host [6.2]", () => {
  const two = { access, clients: { sessionsPerHostMax: 2 } } as unknown as Partial<CoreOptions>;
  const port = (n: number): PeerId => `udp/192.0.2.1:${n}`;

  test("are limited, but for whom a rule names; who never spoke makes way", () => {
    const bench = new Bench(two);
    bench.connected({ clientId: "a" }, port(1)).connected({ clientId: "b", cleanSession: false }, port(2));
    bench.client(ping, port(1));
    expect(bench.client(connect({ clientId: "c" }), port(3)).message("CONNACK").returnCode).toBe(1);
    bench.connected({ clientId: "c" }, "udp/192.0.2.2:3");
    bench.connected({ clientId: "known" }, port(4));
    bench.after(6_000);
    bench.client(connect({ clientId: "d" }), port(5)).asks("closeLink", "openLink");
    expect(clients(bench)).toEqual(["a", "c", "d", "known"]);
  });

  test("come back with the end of a session, and with a move", () => {
    const bench = new Bench(two);
    bench.connected({ clientId: "a" }, port(1)).connected({ clientId: "b", cleanSession: false }, port(2));
    bench.client(disconnect, port(1));
    bench.connected({ clientId: "c" }, port(3));
    bench.client(connect({ clientId: "b", cleanSession: false }), "udp/192.0.2.9:1");
    bench.link("b").up();
    bench.connected({ clientId: "d" }, port(4));
  });

  test("each node behind a forwarder is a host", () => {
    const bench = new Bench(two);
    // Encapsulated CONNECT of three nodes, client ids n1 to n3.
    for (const n of ["31", "32", "33"]) {
      bench.datagram(`04fe00${n}` + `08040401003c6e${n}`, port(1)).asks("openLink");
      bench
        .link(`n${n.slice(1)}`)
        .up()
        .gets("CONNACK");
    }
  });
});

test("will dialogues that nobody ends make way for others", () => {
  const bench = new Bench({ clients: { pendingMax: 2 } } as unknown as Partial<CoreOptions>);
  for (const id of ["s1", "s2", "s3", "s4"])
    bench.client(connect({ clientId: id, will: true }), at(id)).gets("WILLTOPICREQ");
  expect(bench.core.sizes.pendingConnects).toBe(2);
  joins(bench, "a");
});
