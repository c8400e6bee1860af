/** Topic rights: whichever way a publication, a subscription or a message goes, and whenever the rules came. */
import { describe, expect, test } from "vitest";
import type { PeerId } from "../../../src/core/types.ts";
import type { Message } from "../../../src/wire/v12/messages.ts";
import {
  connect,
  disconnect,
  elsewhere,
  octets,
  ping,
  publish,
  register,
  sleep,
  subscribe,
  wake,
} from "../../helpers/bench.ts";
import { client, type Kind, type Mode, RightsWorld, topics } from "../../helpers/rights-world.ts";

const modes: readonly Mode[] = ["transparent", "aggregating"];
const kinds = Object.keys(topics) as Kind[];
const shortId = (name: string) => (name.charCodeAt(0) << 8) | name.charCodeAt(1);
const stranger: PeerId = "udp/192.0.2.200:5";

/** How a message names a topic; of a name the client has an id. */
function named(world: RightsWorld, kind: Kind, topic: string, msgId = 77) {
  if (kind === "short") return { topicIdType: "short", topicId: shortId(topic) } as const;
  if (kind === "predefined")
    return { topicIdType: "predefined", topicId: topics.predefined.indexOf(topic as never) + 1 } as const;
  const answer = world.client(register(topic, msgId)).find(({ type }) => type === "REGACK");
  return { topicIdType: "normal", topicId: answer?.type === "REGACK" ? answer.topicId : 0 } as const;
}

const asked = (kind: Kind, topic: string, qos: 0 | 1 | 2): Message =>
  kind === "short"
    ? { ...(subscribe(0, qos) as Extract<Message, { type: "SUBSCRIBE" }>), topicIdType: "short", topic: shortId(topic) }
    : subscribe(kind === "predefined" ? topics.predefined.indexOf(topic as never) + 1 : topic, qos);

const longName = (topic: string): Message =>
  publish({ qos: -1, topicIdType: "normal", topicId: topic.length, msgId: 0, data: octets(`${topic}x`) });
const withoutAnswer = (kind: Kind, topic: string): Message =>
  kind === "name" ? longName(topic) : publish({ qos: -1, ...named(undefined as never, kind, topic), msgId: 0 });

function connected(world: RightsWorld): void {
  world.client(connect({ cleanSession: false }));
}

/** Ways by which something of the client's can come to the broker. The rules change where `change` is called, if they do. */
const waysUp: Record<string, (world: RightsWorld, kind: Kind, topic: string, change: () => void) => void> = {
  ...Object.fromEntries(
    ([0, 1, 2] as const).map((qos) => [
      `PUBLISH QoS ${qos}`,
      (world: RightsWorld, kind: Kind, topic: string, change: () => void) => {
        connected(world);
        const of = named(world, kind, topic);
        change();
        world.client(publish({ qos, ...of, msgId: qos === 0 ? 0 : 5 }));
        world.client({ type: "PUBREL", msgId: 5 });
      },
    ]),
  ),
  "QoS -1, connected": (world, kind, topic, change) => {
    connected(world);
    change();
    world.client(withoutAnswer(kind, topic));
  },
  "QoS -1, its connection is away": (world, kind, topic, change) => {
    world.client(connect({ cleanSession: false, duration: 600 }));
    change();
    world.clientLinkGoes();
    world.client(withoutAnswer(kind, topic));
  },
  "QoS -1 of a stranger": (world, kind, topic, change) => {
    change();
    world.client(withoutAnswer(kind, topic), stranger);
  },
  "will of a lost client": (world, _kind, topic, change) => {
    withWill(world, topic);
    change();
    world.after(100_000);
  },
  "will, updated": (world, _kind, topic, change) => {
    withWill(world, "ok");
    change();
    world.client({ type: "WILLTOPICUPD", qos: 1, retain: false, willTopic: topic });
    world.after(100_000);
  },
  "will, updated before": (world, _kind, topic, change) => {
    withWill(world, "ok");
    world.client({ type: "WILLTOPICUPD", qos: 1, retain: false, willTopic: topic });
    change();
    world.after(100_000);
  },
  "will, as the gateway ends": (world, _kind, topic, change) => {
    withWill(world, topic);
    change();
    world.input({ kind: "shutdown" });
  },
  "will of a client that begins anew": (world, _kind, topic, change) => {
    withWill(world, topic);
    change();
    world.client(connect({ cleanSession: true }));
  },
  backlog: (world, kind, topic, change) => {
    connected(world);
    const of = named(world, kind, topic);
    world.brokerGoes();
    for (const qos of [0, 1, 2] as const) world.client(publish({ qos, ...of, msgId: qos === 0 ? 0 : 10 + qos }));
    change();
    world.brokerComes();
  },
  "backlog of a client that is gone": (world, kind, topic, change) => {
    connected(world);
    const of = named(world, kind, topic);
    world.brokerGoes();
    world.client(publish({ qos: 1, ...of, msgId: 11 }));
    world.client(disconnect);
    change();
    world.brokerComes();
  },
  "under way, and the connection is cut": (world, kind, topic, change) => {
    connected(world);
    const of = named(world, kind, topic);
    world.answers = false;
    for (const qos of [1, 2] as const) world.client(publish({ qos, ...of, msgId: 20 + qos }));
    world.published.length = 0;
    world.brokerGoes();
    change();
    world.brokerComes();
  },
  "a dead letter, sent again": (world, kind, topic, change) => {
    connected(world);
    const of = named(world, kind, topic);
    world.code = 0x87;
    world.brokerGoes();
    world.client(publish({ qos: 1, ...of, msgId: 31 }));
    world.brokerComes();
    world.after(5_000);
    world.code = 0;
    world.published.length = 0;
    change();
    world.input({ kind: "republish", letters: world.letters().map(({ id, record }) => [id, record] as const) });
  },
};

function withWill(world: RightsWorld, topic: string): void {
  world.client(connect({ cleanSession: false, will: true }));
  world.client({ type: "WILLTOPIC", qos: 1, retain: false, willTopic: topic });
  world.client({ type: "WILLMSG", willMsg: octets("gone") });
}

const changes = ["no rules", "rules from the start", "rules come meanwhile", "rules come with a restart"] as const;
const from = (when: (typeof changes)[number], world: RightsWorld) => () => {
  if (when === "rules come meanwhile") world.limit("now");
  if (when === "rules come with a restart") world.limit("restart");
};

describe.each(modes)("up, %s", (mode) => {
  describe.each(Object.entries(waysUp))("%s", (name, way) => {
    test.each(changes)("%s", (when) => {
      for (const kind of kinds)
        for (const topic of topics[kind]) {
          const world = new RightsWorld(mode, when === "rules from the start");
          way(world, kind, topic, from(when, world));
          if (!name.includes("gateway ends")) world.settle();
          const isAllowed = topic === topics[kind][0];
          const about = `${kind} ${topic}`;
          expect(world.wrong, about).toEqual([]);
          if (isAllowed || when === "no rules") {
            expect(world.dropped, about).toBe(0);
            const isHeld = mode === "transparent" && name.startsWith("will"); // the broker publishes it
            if (!isHeld && !name.includes("gateway ends")) expect(world.published, about).toContain(topic);
          } else if (when !== "rules from the start" || !name.startsWith("will") || name.includes("lost")) {
            if (!name.includes("gateway ends") && !name.includes("anew"))
              expect(world.dropped, about).toBeGreaterThan(0);
          }
          const told = world.events.filter(({ event }) => event === "topic_not_allowed");
          expect(new Set(told.map((event) => JSON.stringify(event))).size, about).toBe(told.length);
        }
    });
  });
});

describe.each(modes)("down, %s", (mode) => {
  const filters = [
    "#",
    "dev/#",
    "dev/+/temp",
    "+/c1/temp",
    "dev/c2/temp",
    "dev/c1/#",
    "dev/c1/+",
    "dev/c1",
    "dev/c1/temp",
    "$share/g/dev/#",
    "$share/g/dev/c1/#",
    "no",
    "ok",
  ];
  const allowed = new Set(["dev/c1/#", "dev/c1/+", "dev/c1", "dev/c1/temp", "$share/g/dev/c1/#", "ok"]);

  test.each(filters)("SUBSCRIBE %s", (filter) => {
    const world = new RightsWorld(mode, true);
    connected(world);
    const [answer] = world.client(subscribe(filter, 1)).filter(({ type }) => type === "SUBACK");
    expect(answer).toMatchObject({ returnCode: allowed.has(filter) ? 0 : 3 });
    expect(world.wrong).toEqual([]);
  });

  test.each(changes)("asked for while the broker was away, %s", (when) => {
    const world = new RightsWorld(mode, when === "rules from the start");
    connected(world);
    world.brokerGoes();
    world.client(subscribe("dev/#", 1, 3));
    world.client(subscribe("dev/c1/#", 1, 4));
    from(when, world)();
    world.settle();
    expect(world.wrong).toEqual([]);
  });

  const subscriptions = ["narrow", "wide"].flatMap((filter) => [
    [filter, "before"] as const,
    [filter, "after"] as const,
  ]);
  const states: Record<string, (world: RightsWorld) => void> = {
    active: () => {},
    asleep: (world) => void world.client(sleep(600)),
    awake: (world) => {
      world.client(sleep(600));
      world.client(wake());
    },
    "cut off": (world) => world.brokerGoes(),
  };

  describe.each(Object.entries(states))("%s", (state, enter) => {
    test.each(changes)("%s", (when) => {
      let turn = changes.indexOf(when);
      for (const kind of kinds)
        for (const topic of topics[kind])
          for (const [filter, order] of subscriptions) {
            const qos = (turn++ % 3) as 0 | 1 | 2; // each meets each, over the states and changes
            const world = new RightsWorld(mode, when === "rules from the start");
            connected(world);
            const isWide = filter === "wide";
            world.client(isWide ? subscribe("#", qos) : asked(kind, topic, qos));
            if (order === "after") from(when, world)();
            enter(world);
            world.brokerComes();
            world.delivers({ topicName: topic, qos }, 9);
            if (order === "before") from(when, world)();
            world.settle();
            world.client(wake());
            world.after(25_000);
            world.client(wake());
            const about = `${kind} ${topic}, QoS ${qos}, a ${filter} filter, delivered ${order} the rules`;
            expect(world.wrong, about).toEqual([]);
            const isAllowed = when === "no rules" || (topic === topics[kind][0] && !isWide);
            if (isAllowed && qos > 0 && state !== "cut off") expect(world.shown, about).toContain(topic);
          }
    });
  });
});

test("the line that the log gives allows it, and the device hears 0x03", () => {
  const world = new RightsWorld("transparent", true);
  connected(world);
  const of = named(world, "name", "dev/c2/temp");
  const answers = [0, 1, 2].map((qos) => world.client(publish({ qos: qos as 0, ...of, msgId: qos })).at(-1));
  for (const answer of answers) expect(answer).toMatchObject({ type: "PUBACK", returnCode: 3 });
  const told = world.events.filter((event) => event.event === "topic_not_allowed");
  expect(told).toEqual([
    {
      event: "topic_not_allowed",
      clientId: client,
      peer: "udp/192.0.2.1:1000",
      way: "publish",
      topic: "dev/c2/temp",
      hint: 'access.rules.0.publish: add "dev/c2/temp"',
    },
  ]);
  expect(world.dropped).toBe(3);
  world.client(ping, elsewhere);
});
