/** Only a device that has proved a name may use it: at CONNECT, QoS -1, in a session of an earlier run, as a sleeping client that moves. */
import { describe, expect, test } from "vitest";
import { createAccessPolicy } from "../../../src/config/access.ts";
import { accessOptions } from "../../../src/config/access-options.ts";
import { parseConfig } from "../../../src/config/load.ts";
import type { CoreOptions } from "../../../src/core/options.ts";
import { forwardedNodeOf } from "../../../src/core/peer-id.ts";
import type { StoredState } from "../../../src/core/record.ts";
import type { PeerId, PeerIdentity } from "../../../src/core/types.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import { Bench, connect, ping, publish, sleep, subscribe, type Turn, wake } from "../../helpers/bench.ts";

const hostOf = (peer: PeerId) => {
  const address = peer.slice(peer.indexOf("/") + 1);
  return peer.startsWith("udp/") ? (address.split(":")[0] ?? "") : address;
};

/** `psk/dev1`: a device that has proved its name; `bond/...`, `certificate/...` likewise. All else is an address. */
function identityOf(peer: PeerId): PeerIdentity {
  const [kind = ""] = peer.split("/");
  const by = kind === "psk" || kind === "certificate" || kind === "bond" ? kind : "address";
  return { name: hostOf(peer), by, verified: by !== "address" };
}

const policy = (access: unknown, keys: readonly string[] = []) =>
  createAccessPolicy(accessOptions.parse(access), hostOf, [], (clientId) => keys.includes(clientId));
const admits = (access: unknown, clientId: string, peer: PeerId, keys: readonly string[] = []) =>
  policy(access, keys).client(clientId, peer, identityOf((forwardedNodeOf(peer)?.forwarder ?? peer) as PeerId))
    .admitted;

const dev1: PeerId = "psk/dev1";
const udp: PeerId = "udp/192.0.2.1:1000";

function gateway(access: unknown, keys: readonly string[] = ["dev1"], states: readonly StoredState[] = []): Bench {
  const options: Partial<CoreOptions> = { access: policy(access, keys), durable: true };
  return new Bench(options, states, identityOf);
}

describe("a name binds", () => {
  test.each([
    ["{identity}", "dev1", true],
    ["{identity}", "dev2", false],
    ["{identity}", "dev1x", false],
    ["{identity}-*", "dev1-a", true],
    ["{identity}-*", "dev2-a", false],
    ["*", "dev2", true],
  ])("clients %s: %s", (clients, clientId, isAdmitted) => {
    expect(admits({ clients }, clientId, dev1)).toBe(isAdmitted);
  });

  test("a name with stars is a word", () => {
    expect(admits({}, "dev1", "psk/*")).toBe(false);
    expect(admits({}, "*", "psk/*")).toBe(true);
    expect(admits({}, "a.b", "psk/a.b")).toBe(true);
    expect(admits({}, "axb", "psk/a.b")).toBe(false);
  });

  test("a device with a key does not come in clear, nor behind a forwarder, also where everything is allowed", () => {
    expect(admits({}, "dev1", udp, ["dev1"])).toBe(false);
    expect(admits({}, "dev1", "psk/fwd#01" as PeerId, ["dev1"])).toBe(false);
    expect(admits({}, "dev2", udp, ["dev1"])).toBe(true);
  });

  test("a Bluetooth bond is no key: whoever was paired does not come as a device that has one", () => {
    expect(admits({ clients: "*" }, "dev1", "bond/c0:98:e5:00:00:01", ["dev1"])).toBe(false);
    expect(admits({ clients: "*" }, "dev2", "bond/c0:98:e5:00:00:01", ["dev1"])).toBe(true);
  });

  test.each([
    ["psk:dev*", dev1, true],
    ["psk:dev2", dev1, false],
    ["certificate:dev1", dev1, false],
    ["verified:*", dev1, true],
    ["psk:*", udp, false],
    ["psk:*", "psk/dev1#0a", false],
    ["psk:dev1#0a", "psk/dev1#0a", true],
    ["psk:dev1#0b", "psk/dev1#0a", false],
    ["192.0.2.1#*", "udp/192.0.2.1:5#0a01", true],
    ["192.0.2.0/24#0A01", "udp/192.0.2.1:5#0a01", true],
    ["192.0.2.0/24#0a02", "udp/192.0.2.1:5#0a01", false],
    ["192.0.2.0/24", "udp/192.0.2.1:5#0a01", true],
    ["192.0.2.1", "psk/192.0.2.1", false], // a name that looks like an address
    ["c0:98:e5:00:00:01", "ble/c0:98:e5:00:00:01", true],
    ["/dev/ttyUSB0", "serial//dev/ttyUSB0", true],
    ["/dev/ttyUSB1", "serial//dev/ttyUSB0", false],
  ] as const)("from %s: %s", (from, peer, isAdmitted) => {
    const clientId = peer.startsWith("psk/") ? peer.slice(4).split("#")[0] : "c1";
    expect(admits({ default: "deny", rules: [{ allow: "*", from: [from] }] }, clientId ?? "", peer)).toBe(isAdmitted);
  });

  test("`check` knows the same words", () => {
    const problems = (from: string) => {
      try {
        parseConfig({ access: { rules: [{ allow: "*", from: [from] }] } });
        return 0;
      } catch {
        return 1;
      }
    };
    for (const from of ["psk:dev*", "192.0.2.7#0a01", "/dev/ttyUSB0", "psk:fwd#*"])
      expect(problems(from), from).toBe(0);
    for (const from of ["psk", "192.0.2.7#0x", "192.0.2.7#0a0", "none:x"]) expect(problems(from), from).toBe(1);
  });
});

describe("in the gateway", () => {
  test("CONNECT: its own id, and no other", () => {
    const bench = gateway({});
    expect(bench.client(connect({ clientId: "dev2" }), dev1).message("CONNACK").returnCode).toBe(3);
    expect(bench.client(connect({ clientId: "dev1" }), udp).message("CONNACK").returnCode).toBe(3);
    bench.connected({ clientId: "dev1" }, dev1);
  });

  test("QoS -1 of who has proved its name goes to its own topics, wherever it is", () => {
    const bench = gateway({ qosMinusOne: { from: ["10.0.0.0/8"], publish: ["by/{identity}", "ab"] } });
    const short = publish({ qos: -1, topicIdType: "short", topicId: 0x6162, msgId: 0 });
    bench.client(short, dev1).asks("publish");
    bench.client({ ...short, topicId: 0x6163 } as typeof short, dev1).asks();
    bench.client(short, udp).asks();
  });

  test("a sleeper is fetched for by nobody else: not in clear, not by another that has proved another name", () => {
    const bench = gateway({ clients: "*" }, []);
    bench.connected({ clientId: "dev1", cleanSession: false }, dev1);
    bench.client(sleep(600), dev1);
    for (const peer of [udp, "psk/dev2" as PeerId, "certificate/dev1" as PeerId]) {
      bench.client(wake("dev1"), peer);
      expect(bench.core.session("dev1")?.view, peer).toMatchObject({ state: "asleep", peer: dev1 });
      expect(bench.client(connect({ clientId: "dev1" }), peer).message("CONNACK").returnCode, peer).toBe(3);
    }
    bench.client(wake("dev1"), dev1).gets("PINGRESP");
  });

  test("a restored session is still its own", () => {
    const table = new StateTable();
    const keep = (turn: Turn) => {
      for (const effect of turn.effects)
        if (effect.kind === "persist") for (const change of effect.changes) table.apply(change);
    };
    const first = gateway({ clients: "*" }, []);
    keep(first.client(connect({ clientId: "dev1", cleanSession: false }), dev1));
    keep(first.link("dev1").up());
    const second = gateway({ clients: "*" }, [], [...table.states()]);
    expect(second.client(connect({ clientId: "dev1", cleanSession: false }), udp).message("CONNACK").returnCode).toBe(
      3,
    );
    second.client(ping, dev1).gets("PINGRESP");
    second.input({ kind: "dropSession", clientId: "dev1" });
    second.client(connect({ clientId: "dev1" }), udp).asks("openLink");
  });

  /** A gateway after a restart: its network has not read yet how its devices proved their names. */
  function restarted(access: unknown) {
    const peer: PeerId = "dtls/dev1";
    let by: "psk" | "certificate" = "certificate";
    const who = () => ({ name: "dev1", by, verified: true });
    const table = new StateTable();
    const keep = (turn: Turn) => {
      for (const effect of turn.effects)
        if (effect.kind === "persist") for (const change of effect.changes) table.apply(change);
    };
    const options: Partial<CoreOptions> = { access: policy(access), durable: true };
    const first = new Bench(options, [], who);
    keep(first.client(connect({ clientId: "dev1", cleanSession: false }), peer));
    keep(first.link("dev1").up());
    const asked = first.client(subscribe("to/dev1"), peer);
    keep(asked);
    keep(first.link("dev1").acks("suback", asked.effect("subscribe").packetId, 1));
    by = "psk";
    const bench = new Bench(options, [...table.states()], who);
    const open = () => {
      by = "certificate";
    };
    return { bench, peer, open };
  }

  const certified = { allow: "*", from: ["certificate:*"], publish: ["ab"], subscribe: ["to/{clientId}"] };
  const others = { allow: "*", publish: ["cd"], subscribe: ["cd"] };
  test.each([
    ["others are not let in", { default: "deny", rules: [certified] }],
    ["others have other rights", { rules: [certified, others] }],
  ])("the proof of a restored session counts until its network can say it again: %s", (_what, access) => {
    const { bench, peer, open } = restarted(access);
    expect(bench.core.session("dev1")?.view).toMatchObject({ state: "active", subscriptions: 1 });
    open();
    bench.client(ping, peer).gets("PINGRESP");
    bench.client(publish({ qos: 0, topicIdType: "short", topicId: 0x6162, msgId: 0 }), peer).asks();
    expect(bench.core.counters.dropped["topic-not-allowed"]).toBe(0);
  });

  test("whoever proves the same name in another way does not continue a restored session", () => {
    const { bench, peer } = restarted({});
    bench.client(ping, peer).gets("DISCONNECT");
    expect(bench.core.session("dev1")?.view).toMatchObject({ state: "disconnected" });
  });
});
