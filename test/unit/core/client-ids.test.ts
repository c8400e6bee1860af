/** No two connections have the same client id at a broker, whatever the prefixes. */
import { describe, expect, test } from "vitest";
import type { UpstreamPolicy } from "../../../src/core/options.ts";
import { Bench, connect, disconnect, elsewhere, here, publish, sleep } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";
import { testOptions } from "../../simulation/options.ts";

const policy = (over: Partial<UpstreamPolicy>): UpstreamPolicy => ({ ...testOptions.upstream, ...over });

/** Clients `m…` go by the upstream `m`, all others by the general one. */
function bench(general: Partial<UpstreamPolicy>, meters: Partial<UpstreamPolicy>): Bench {
  return new Bench({
    upstream: policy(general),
    upstreams: {
      named: [{ name: "m", policy: policy({ serviceClientId: "second", ...meters }) }],
      nameOf: (clientId) => (clientId?.startsWith("m") ? "m" : undefined),
    },
  });
}

describe("a client with an id of the gateway's own [4.2]", () => {
  test.each(["barn", "barn-1", "barn-2"])("%s: a shared connection at another upstream", (clientId) => {
    const gateway = bench({}, { mode: "aggregating", connections: 3, serviceClientId: "barn" });
    const turn = gateway.client(connect({ clientId })).asks();
    expect(turn.message("CONNACK").returnCode).toBe(3);
    expect(turn.drops).toEqual(["client-id-taken"]);
    expect(turn.events).toContainEqual(expect.objectContaining({ event: "connect_refused", clientId }));
    expect(gateway.core.sizes).toMatchObject({ sessions: 0, pendingConnects: 0 });
  });

  test.each([
    ["the service", { clientIdPrefix: "x-" }, {}, "gateway"],
    ["prefixes counted", {}, { clientIdPrefix: "gate", serviceClientId: "way" }, "gateway"],
    ["another prefix", {}, { clientIdPrefix: "x-", serviceClientId: "m-" }, "x-m-"],
    ["another upstream's service, put together otherwise", { clientIdPrefix: "m-" }, { serviceClientId: "m-x" }, "x"],
  ] as const)("%s", (_name, general, meters, clientId) => {
    const gateway = bench(general, meters);
    expect(gateway.client(connect({ clientId })).asks().message("CONNACK").returnCode).toBe(3);
  });

  test("one that is not there is nobody's", () => {
    const gateway = bench({}, { mode: "aggregating", connections: 3, serviceClientId: "barn" });
    gateway.client(connect({ clientId: "barn-3" })).asks("openLink");
    gateway.client(connect({ clientId: "mbarn" }), elsewhere); // over a shared connection a client has no client id of its own
  });

  test("of an earlier run, before that id was the gateway's: it gets no connection, and what it said is kept", () => {
    const first = new GatewayRun();
    first.keep(first.bench.client(connect({ cleanSession: false })));
    first.keep(first.bench.link().up());
    const second = new Bench({ upstream: policy({ serviceClientId: "gateway" }), durable: true }, [
      ...first.table.states(),
    ]);
    expect(second.links.has("c1")).toBe(true);
    const taken = new Bench(
      {
        durable: true,
        upstreams: {
          named: [{ name: "m", policy: policy({ mode: "aggregating", serviceClientId: "c1" }) }],
          nameOf: () => undefined,
        },
      },
      [...first.table.states()],
    );
    expect(taken.client(publish({ topicIdType: "short", topicId: 0x6162 })).asks().sent).toMatchObject([
      { type: "DISCONNECT" },
    ]);
    expect(
      taken
        .client(connect({ cleanSession: false }))
        .asks()
        .message("CONNACK").returnCode,
    ).toBe(3);
    expect([...taken.core.sessions()]).toMatchObject([{ clientId: "c1", state: "disconnected" }]);
  });
});

describe("two clients of two upstreams [4.2]", () => {
  test("with the same id at the same broker: the second is refused, also while the first is away", () => {
    const gateway = bench({}, { clientIdPrefix: "a-" });
    gateway.client(connect({ clientId: "m1" }), here).asks("openLink");
    gateway.link("a-m1").up();
    expect(
      gateway
        .client(connect({ clientId: "a-m1" }), elsewhere)
        .asks()
        .message("CONNACK").returnCode,
    ).toBe(3);
    gateway.client(disconnect, here); // a clean session: nothing of it is left
    gateway.client(connect({ clientId: "a-m1" }), elsewhere).asks("openLink");
    gateway.link("a-m1").up();
    expect(
      gateway
        .client(connect({ clientId: "m1" }), here)
        .asks()
        .message("CONNACK").returnCode,
    ).toBe(3);
    expect(gateway.client(sleep(60), elsewhere).states).toEqual(["asleep"]);
  });

  test("at brokers that are not the same they are no matter of each other's", () => {
    const gateway = bench({ places: ["one"] }, { clientIdPrefix: "a-", places: ["two", "three"] });
    gateway.client(connect({ clientId: "m1" }), here).asks("openLink");
    gateway.client(connect({ clientId: "a-m1" }), elsewhere).asks("openLink");
  });
});
