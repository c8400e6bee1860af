/** The twenty devices of the demonstration, each with its own behaviour. */
import type { Actor } from "./actor.ts";

export interface Role {
  readonly name: string;
  /** A sentence for the terminal: what the user sees of the device. */
  readonly character: string;
  play(actor: Actor): Promise<void>;
}

/** Client ids that the demonstration's configuration does not admit. */
export const strangers = "stranger-*";
/** The predefined topic id of the button, which publishes without a connection. */
export const buttonTopicId = 1;

export const cast: readonly Role[] = [
  ...["kitchen", "bath", "hall", "cellar", "attic", "office"].map((room, i) => thermometer(`thermo-${room}`, 5 + i)),
  ...["gas", "water", "power"].map((what, i) => sleeper(`meter-${what}`, 15 + 10 * i)),
  ...["front", "back"].map((which) => windowSensor(`window-${which}`)),
  {
    name: "shutter",
    character: "sleeps for a minute; orders wait for it meanwhile",
    async play(actor) {
      let knows = false;
      await actor.begin(({ event }) => {
        if (event === "connected" && !knows) actor.subscribe("demo/shutter/order");
        if (event === "subscribed") {
          knows = true;
          actor.sleep(60);
        }
        if (event === "asleep") actor.after(55, () => actor.wake());
        if (event === "drained") actor.after(55, () => actor.wake());
      });
      actor.connect();
    },
  },
  {
    name: "remote",
    character: "gives the shutter orders",
    async play(actor) {
      let up = false;
      await actor.begin();
      actor.connect();
      actor.every(12, () => {
        up = !up;
        actor.publishTo("demo/shutter/order", up ? "up" : "down", 1);
      });
    },
  },
  {
    name: "panel",
    character: "subscribes to everything",
    async play(actor) {
      await actor.begin(({ event }) => {
        if (event === "connected") actor.subscribe("demo/+/temperature");
      });
      actor.connect();
    },
  },
  {
    name: "chatty",
    character: "ten messages a second",
    async play(actor) {
      let steps = 0;
      await actor.begin();
      actor.connect();
      actor.every(0.1, () => actor.publish("steps", ++steps, 0));
    },
  },
  {
    name: "lost",
    character: "falls silent without DISCONNECT: late, then lost; comes back after two minutes",
    async play(actor) {
      const come = async () => {
        await actor.begin();
        actor.connect(10);
        actor.after(2, () => actor.publish("battery", 3));
        actor.after(5, () => actor.vanish());
        actor.after(120, () => void come());
      };
      await come();
    },
  },
  {
    name: "late",
    character: "sleeps longer than it said",
    async play(actor) {
      await actor.begin(({ event }) => {
        if (event === "connected") actor.sleep(20);
        if (event === "asleep" || event === "drained") actor.after(28, () => actor.wake());
        if (event === "disconnected") actor.connect();
      });
      actor.connect();
    },
  },
  {
    name: "button",
    character: "publishes without a connection (QoS -1)",
    async play(actor) {
      await actor.begin();
      actor.every(9, () => actor.press(buttonTopicId));
    },
  },
  {
    name: "stranger-7",
    character: "knocks and is not admitted; admit it by a click",
    async play(actor) {
      let isIn = false;
      await actor.begin(({ event }) => {
        if (event === "connected") isIn = true;
        if (event === "disconnected") isIn = false;
      });
      actor.every(8, () => (isIn ? actor.publish("hello", "in") : actor.connect()));
    },
  },
  {
    name: "broken",
    character: "says what is no message, and never acknowledges",
    async play(actor) {
      const { name } = actor;
      const id = [...new TextEncoder().encode(name)];
      const topic = [...new TextEncoder().encode("demo/+/battery")];
      const connect = [6 + id.length, 0x04, 0x04, 0x01, 0x00, 60, ...id];
      actor.say(connect);
      actor.after(1, () => actor.say([5 + topic.length, 0x12, 0x20, 0x00, 0x01, ...topic])); // SUBSCRIBE at QoS 1
      actor.every(6, () => actor.say([0x09, 0x0c, 0x20, 0x33, 0x33, 0x00, 0x02, 0x68, 0x69])); // a topic id that was never assigned
      actor.every(10, () => actor.say([0x40, 0x0c, 0x00])); // longer in words than in fact
      actor.every(45, () => actor.say(connect));
    },
  },
];

function thermometer(name: string, seconds: number): Role {
  return {
    name,
    character: `a temperature every ${seconds} s`,
    async play(actor) {
      let temperature = 18 + 4 * Math.random();
      await actor.begin();
      actor.connect();
      actor.every(seconds, () => {
        temperature += Math.random() - 0.5;
        actor.publish("temperature", temperature.toFixed(1));
      });
    },
  };
}

function sleeper(name: string, seconds: number): Role {
  return {
    name,
    character: `sleeps, wakes every ${seconds} s and reports`,
    async play(actor) {
      let count = 100;
      await actor.begin(({ event }) => {
        if (event === "connected") actor.publish("count", ++count);
        if (event === "published") actor.sleep(seconds);
        if (event === "asleep") actor.after(seconds - 2, () => actor.connect());
      });
      actor.connect();
    },
  };
}

function windowSensor(name: string): Role {
  return {
    name,
    character: "says when it is opened or closed",
    async play(actor) {
      let isOpen = false;
      await actor.begin();
      actor.connect();
      actor.every(20, () => {
        isOpen = !isOpen;
        actor.publish("state", isOpen ? "open" : "closed");
      });
    },
  };
}
