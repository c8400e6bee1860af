/** Clients that were admitted once, and are not admitted any more. */
import { describe, expect, test } from "vitest";
import { type AccessPolicy, admitAll } from "../../../src/core/access.ts";
import type { PeerId, PeerIdentity } from "../../../src/core/types.ts";
import { Bench, connect, elsewhere, here, ping, publish, sleep, subscribe, wake } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";

/** Denies these; notes who asked. */
function denying(...denied: string[]): AccessPolicy & { readonly asked: [string, PeerId, PeerIdentity][] } {
  const asked: [string, PeerId, PeerIdentity][] = [];
  return {
    ...admitAll,
    asked,
    client(clientId, peer, identity) {
      asked.push([clientId, peer, identity]);
      return denied.includes(clientId) ? { admitted: false, hint: "a line" } : { admitted: true };
    },
  };
}

const reading = publish({ topicIdType: "short", topicId: 0x6162, msgId: 9 });

/** A run with this client, connected or asleep, and one more; the next one has these rules. */
function nextRun(access: AccessPolicy, { asleep = false, clean = false } = {}): GatewayRun {
  const run = new GatewayRun();
  const { bench } = run;
  run.keep(bench.client(connect({ cleanSession: clean })));
  run.keep(bench.link().up());
  const { packetId } = run.keep(bench.client(subscribe("t", 1, 2))).effect("subscribe");
  run.keep(bench.link().acks("suback", packetId, 1));
  if (asleep) run.keep(bench.client(sleep(600)));
  run.keep(bench.client(connect({ clientId: "good" }), elsewhere));
  run.keep(bench.link("good").up());
  return new GatewayRun({ access }, run.table);
}

describe("a restored session that the rules deny [5.3.1]", () => {
  test.each([
    ["publishes", reading],
    ["subscribes", subscribe("other", 1, 3)],
    ["pings", ping],
  ])("%s: it is told, and has no connection to the broker", (_name, message) => {
    const { bench } = nextRun(denying("c1"));
    expect(bench.links.has("c1")).toBe(false);
    bench.client(message).gets("DISCONNECT").asks();
    expect(
      bench
        .client(connect({ cleanSession: false }))
        .asks()
        .message("CONNACK").returnCode,
    ).toBe(3);
    bench.link("good").up(true);
    bench.client(reading, elsewhere).asks("publish");
  });

  test.each([here, "udp/192.0.2.77:7" as PeerId])("asleep: it does not wake, at %s", (peer) => {
    const { bench } = nextRun(denying("c1"), { asleep: true });
    expect(bench.links.has("c1")).toBe(false);
    bench.client(wake(), peer).gets("DISCONNECT").asks();
  });

  test("is kept, and goes on when it is let in again; a clean one is over", () => {
    const denied = nextRun(denying("c1"));
    expect(denied.bench.core.session("c1")?.view).toMatchObject({ state: "disconnected", subscriptions: 1 });
    const { bench } = new GatewayRun({}, denied.table);
    bench.client(connect({ cleanSession: false })).asks("openLink");
    bench.link().up(true).gets("CONNACK");
    expect(nextRun(denying("c1"), { clean: true }).bench.core.session("c1")).toBe(undefined);
  });

  test("who is let in is asked at the start and at its first word, with who it is, and never again", () => {
    const access = denying();
    const { bench } = nextRun(access);
    bench.link().up(true);
    const identity = { name: "udp/192.0.2.1", by: "address", verified: false };
    expect(access.asked.filter(([clientId]) => clientId === "c1")).toEqual([["c1", here, identity]]);
    bench.client(ping);
    bench.client(ping);
    bench.client(reading);
    expect(access.asked.filter(([clientId]) => clientId === "c1")).toHaveLength(2);
  });
});

describe("the rules change while the gateway runs [5.3.1]", () => {
  test("an active client is told and loses its connection, others notice nothing", () => {
    const bench = new Bench().connected({ cleanSession: false }).subscribed("t");
    bench.connected({ clientId: "good" }, elsewhere);
    const turn = bench.input({ kind: "accessChanged", access: denying("c1") });
    turn.gets("DISCONNECT").asks("closeLink");
    expect(turn.effect("closeLink")).toMatchObject({ how: "disconnect", endSession: false });
    expect(turn.events).toContainEqual(expect.objectContaining({ event: "not_admitted", clientId: "c1" }));
    bench.client(reading, elsewhere).asks("publish");
    bench.input({ kind: "accessChanged", access: admitAll });
    bench.client(connect({ cleanSession: false })).asks("openLink");
  });

  test("a sleeper hears nothing until it speaks", () => {
    const bench = new Bench().connected({ cleanSession: false });
    bench.client(sleep(600));
    bench
      .input({ kind: "accessChanged", access: denying("c1") })
      .gets()
      .asks("closeLink");
    bench.client(wake()).gets("DISCONNECT");
  });

  test("a CONNECT under way is refused, and no will of it is left", () => {
    const bench = new Bench();
    bench.client(connect({ will: true }));
    bench.client(connect({ clientId: "c2" }), elsewhere).asks("openLink");
    const turn = bench.input({ kind: "accessChanged", access: denying("c1", "c2") });
    expect(turn.gets("CONNACK", "CONNACK").sent).toMatchObject([{ returnCode: 3 }, { returnCode: 3 }]);
    expect(bench.core.sizes).toMatchObject({ sessions: 0, pendingConnects: 0 });
    bench.client({ type: "WILLTOPIC", qos: 0, retain: false, willTopic: "w" }).gets("DISCONNECT");
  });
});
