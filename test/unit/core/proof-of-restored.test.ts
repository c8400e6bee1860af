/**
 * A session of a device with a proved name, when its network cannot say how it was proved: after a restart the network is not open yet,
 * and a network may forget a device that is silent. The session stays; only a message is judged by the proof of its own time.
 */
import { describe, expect, test } from "vitest";
import { createAccessPolicy } from "../../../src/config/access.ts";
import { accessOptions } from "../../../src/config/access-options.ts";
import type { PeerId, PeerIdentity } from "../../../src/core/types.ts";
import { StateTable } from "../../../src/storage/state-table.ts";
import { Bench, connect, ping, publish, sleep, subscribe, type Turn, wake } from "../../helpers/bench.ts";

const peer: PeerId = "dtls/dev1";
const policy = (access: unknown) => createAccessPolicy(accessOptions.parse(access), () => "dev1", []);

/** A network that says of each device what it knows at this moment. Of a device without a context it says: psk. */
class Network {
  by: PeerIdentity["by"] = "certificate";
  name = "dev1";

  bench(access: unknown = {}, table = new StateTable()): Bench {
    const identityOf = () => ({ name: this.name, by: this.by, verified: true });
    return new Bench({ access: policy(access), durable: true }, [...table.states()], identityOf);
  }
}

/** A device with a certificate, connected to a gateway that has ended since. */
function earlierRun(more: (bench: Bench) => Turn[] = () => []): { network: Network; table: StateTable } {
  const [network, table] = [new Network(), new StateTable()];
  const bench = network.bench();
  const first = [bench.client(connect({ clientId: "dev1", cleanSession: false }), peer), bench.link("dev1").up()];
  for (const { effects } of [...first, ...more(bench)])
    for (const effect of effects)
      if (effect.kind === "persist") for (const change of effect.changes) table.apply(change);
  expect(table.state("dev1")?.session.boundTo).toBe("certificate:dev1");
  return { network, table };
}

const stateOf = (bench: Bench) => bench.core.session("dev1")?.view.state;
const refusals = (turn: Turn) => turn.events.filter(({ event }) => event === "not_admitted");

describe("a session of an earlier run", () => {
  test("stays while its network has not read its contexts, and goes on when it has", () => {
    const { network, table } = earlierRun();
    network.by = "psk";
    const bench = network.bench({}, table);
    expect(refusals(bench.began)).toEqual([]);
    expect(stateOf(bench)).toBe("active");
    expect(bench.links.has("dev1")).toBe(true);
    bench.link("dev1").up(true);
    network.by = "certificate";
    bench.client(ping, peer).gets("PINGRESP");
    expect(stateOf(bench)).toBe("active");
  });

  test("of a sleeping device, too", () => {
    const { network, table } = earlierRun((bench) => [bench.client(sleep(600), peer)]);
    network.by = "psk";
    const bench = network.bench({}, table);
    expect([refusals(bench.began), stateOf(bench)]).toEqual([[], "asleep"]);
    network.by = "certificate";
    bench.client(wake("dev1"), peer).gets("PINGRESP");
  });

  test.each([
    ["PINGREQ", ping],
    ["PUBLISH", publish({ qos: 1, topicIdType: "short", topicId: 0x6162, msgId: 3 })],
  ])("is not for a device that has proved the same name in another way: its %s is refused", (_type, message) => {
    const { network, table } = earlierRun();
    network.by = "psk";
    const bench = network.bench({}, table);
    const turn = bench.client(message, peer);
    expect(refusals(turn)).toEqual([
      expect.objectContaining({ clientId: "dev1", hint: expect.stringContaining("belongs to certificate:dev1") }),
    ]);
    turn.gets("DISCONNECT");
    expect(turn.effects.filter(({ kind }) => kind === "publish")).toEqual([]);
    expect(stateOf(bench)).toBe("disconnected");
    expect(bench.client(connect({ clientId: "dev1" }), peer).message("CONNACK").returnCode).toBe(3);
    network.by = "certificate";
    bench.client(connect({ clientId: "dev1", cleanSession: false }), peer).asks("openLink");
  });

  test("is refused if its peer has another name by now", () => {
    const { network, table } = earlierRun();
    network.name = "dev2";
    const bench = network.bench({ clients: "*" }, table);
    expect(refusals(bench.began)).toHaveLength(1);
    expect(stateOf(bench)).toBe("disconnected");
  });

  test("is judged by rules that ask for its proof", () => {
    for (const [from, state] of [
      ["certificate:*", "active"],
      ["psk:*", "disconnected"],
    ]) {
      const { network, table } = earlierRun();
      network.by = "psk";
      const bench = network.bench({ default: "deny", rules: [{ allow: "*", from: [from] }] }, table);
      expect(stateOf(bench), from).toBe(state);
    }
  });
});

describe("the topics that a device may use", () => {
  const short = (text: string) => Buffer.from(text).readUInt16BE();
  /** Devices with a certificate may use `ab`; others may use nothing. */
  const rules = [
    { allow: "*", from: ["certificate:*"], publish: ["ab"], subscribe: ["ab"] },
    { allow: "*", from: ["psk:*"], publish: [], subscribe: [] },
  ];

  test("are those of its proof, also if its network could not say it when the session was restored", () => {
    const { network, table } = earlierRun();
    network.by = "psk";
    const bench = network.bench({ default: "deny", rules }, table);
    bench.link("dev1").up(true);
    network.by = "certificate";
    const message = publish({ qos: 1, topicIdType: "short", topicId: short("ab"), msgId: 3 });
    bench.client(message, peer).asks("publish");
    const other = publish({ qos: 1, topicIdType: "short", topicId: short("cd"), msgId: 4 });
    expect(bench.client(other, peer).drops).toEqual(["topic-not-allowed"]);
  });

  test("are not taken away from a device that its network has forgotten when the rules change", () => {
    const network = new Network();
    const bench = network.bench({ default: "deny", rules });
    bench.client(connect({ clientId: "dev1", cleanSession: false }), peer);
    bench.link("dev1").up();
    const { packetId } = bench.client(subscribe("ab", 1), peer).effect("subscribe");
    bench.link("dev1").acks("suback", packetId, 1).gets("SUBACK");
    network.by = "psk";
    bench.input({ kind: "accessChanged", access: policy({ default: "deny", rules }) }).asks();
    bench.link("dev1").delivers({ topicName: "ab", qos: 0 }).gets("PUBLISH");
  });
});

describe("when the rules change,", () => {
  const connected = () => {
    const network = new Network();
    const bench = network.bench();
    bench.client(connect({ clientId: "dev1", cleanSession: false }), peer);
    bench.link("dev1").up().gets("CONNACK");
    // Its context was forgotten.
    network.by = "psk";
    return { network, bench };
  };

  test("a device that its network has forgotten keeps its session", () => {
    const { bench } = connected();
    const turn = bench.input({ kind: "accessChanged", access: policy({ clients: "*" }) });
    expect([refusals(turn), stateOf(bench)]).toEqual([[], "active"]);
  });

  test("it is judged by the proof of its CONNECT", () => {
    const { bench } = connected();
    const only = (from: string) => policy({ default: "deny", rules: [{ allow: "*", from: [from] }] });
    bench.input({ kind: "accessChanged", access: only("certificate:dev1") }).gets();
    expect(stateOf(bench)).toBe("active");
    bench.input({ kind: "accessChanged", access: only("psk:dev1") }).gets("DISCONNECT");
    expect(stateOf(bench)).toBe("disconnected");
  });
});
