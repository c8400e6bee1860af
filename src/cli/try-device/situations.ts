/** The situations, in the order in which they are tried if several could begin. [MQTT-SN 1.2 §6] */
import type { Message, Publish } from "../../wire/v12/messages.ts";
import { type Play, patienceMs, type Situation, type Stage, samePublication, wrong } from "./situation.ts";

const answerMs = 15_000;
const longBytes = 300;
/** A device that got "congestion" must not try again sooner; the standard says more than five minutes. [§7.2] */
const pauseMs = 30_000;
const unknownTopicId = 0xfff0;
const topicName = "try-device/commands";
const text = new TextEncoder();

const ok = { is: "ok" } as const;

const lostConnack: Situation = {
  name: "lost-connack",
  title: "CONNACK is lost",
  needs: "CONNECT",
  begin: (message) =>
    message.type !== "CONNECT"
      ? undefined
      : {
          answer: "nothing",
          play: {
            lastsMs: patienceMs,
            onMessage: (next, stage) => {
              if (next.type === "CONNECT") stage.ends(ok);
              else if (next.type !== "SEARCHGW")
                stage.ends(wrong("6.2", `sends ${next.type} without having got CONNACK`));
              return "as usual";
            },
            over: (stage) => stage.ends(wrong("6.13", "does not send CONNECT again")),
          },
        },
};

const lostRegack: Situation = {
  name: "lost-regack",
  title: "REGACK is lost",
  needs: "REGISTER",
  begin: (message) =>
    message.type !== "REGISTER"
      ? undefined
      : {
          answer: "nothing",
          play: {
            lastsMs: patienceMs,
            onMessage: (next, stage) => {
              if (next.type === "REGISTER")
                stage.ends(
                  next.topicName === message.topicName
                    ? ok
                    : wrong("6.5", "registers another name while a REGISTER is not answered"),
                );
              else if (next.type === "PUBLISH" && next.topicIdType === "normal")
                stage.ends(wrong("6.5", "publishes under a topic id without having got REGACK"));
              return "as usual";
            },
            over: (stage) => stage.ends(wrong("6.13", "does not send REGISTER again")),
          },
        },
};

const lostPuback: Situation = {
  name: "lost-puback",
  title: "PUBACK is lost",
  needs: "PUBLISH at QoS 1",
  begin: (message) =>
    message.type !== "PUBLISH" || message.qos !== 1
      ? undefined
      : {
          answer: "nothing",
          play: {
            lastsMs: patienceMs,
            onMessage: (next, stage) => {
              if (next.type === "PUBLISH" && next.qos > 0) judgeRepetition(message, next, stage);
              return "as usual";
            },
            over: (stage) => stage.ends(wrong("6.13", "does not send PUBLISH again")),
          },
        },
};

function judgeRepetition(first: Publish, next: Publish, stage: Stage): void {
  if (!samePublication(first, next))
    return stage.ends(wrong("6.6", "sends another PUBLISH while one is not acknowledged"));
  if (next.msgId !== first.msgId) return stage.ends(wrong("6.13", "sends PUBLISH again under another MsgId"));
  if (!next.dup) return stage.ends(wrong("5.3.4", "sends PUBLISH again without DUP"));
  stage.ends(ok);
}

const forgottenId: Situation = {
  name: "restart",
  title: "the gateway was started again and knows the topic id no more",
  needs: "PUBLISH at QoS 1 under a registered topic id",
  begin: (message, stage) => {
    if (message.type !== "PUBLISH" || message.qos !== 1 || message.topicIdType !== "normal") return undefined;
    stage.send({ type: "PUBACK", topicId: message.topicId, msgId: message.msgId, returnCode: 2 });
    const play: Play = {
      lastsMs: patienceMs,
      onMessage: (next) => {
        if (next.type === "REGISTER" || next.type === "CONNECT") stage.ends(ok);
        else if (next.type === "PUBLISH" && next.topicIdType === "normal" && next.topicId === message.topicId)
          stage.ends(wrong("6.6", "publishes again under a topic id that was rejected, without REGISTER"));
        return "as usual";
      },
      over: () => stage.ends(wrong("6.6", 'does not send REGISTER after PUBACK "invalid topic id"')),
    };
    return { play, answer: "nothing" };
  },
};

const congestion: Situation = {
  name: "congestion",
  title: "the gateway has no room (PUBACK with code 1)",
  needs: "PUBLISH at QoS 1",
  begin: (message, stage) => {
    if (message.type !== "PUBLISH" || message.qos !== 1) return undefined;
    stage.send({ type: "PUBACK", topicId: message.topicId, msgId: message.msgId, returnCode: 1 });
    const play: Play = {
      lastsMs: pauseMs,
      onMessage: (next) => {
        if (next.type === "PUBLISH" && samePublication(message, next))
          stage.ends(wrong("7.2", `publishes the same again within ${pauseMs / 1_000} s of "congestion"`));
        return "as usual";
      },
      over: () => stage.ends(ok),
    };
    return { play, answer: "nothing" };
  },
};

const retained: Situation = {
  name: "retained",
  title: "a retained message comes right behind SUBACK",
  needs: "SUBSCRIBE to a name without wildcards",
  begin: (message, stage) => {
    if (message.type !== "SUBSCRIBE" || typeof message.topic !== "string" || /[+#]/.test(message.topic))
      return undefined;
    const topicId = stage.tellTopicId(message.topic);
    const qos = Math.max(0, message.qos) as 0 | 1 | 2;
    stage.send({ type: "SUBACK", qos, topicId, msgId: message.msgId, returnCode: 0 });
    return { play: delivery(stage, { topicId, retain: true }, "9"), answer: "nothing" };
  },
};

const registered: Situation = {
  name: "register",
  title: "the gateway gives a name a topic id (REGISTER), and publishes under it",
  needs: "SUBSCRIBE",
  beginAfterSubscribe: (stage) => {
    const topicId = stage.tellTopicId(topicName);
    const msgId = stage.nextMsgId();
    stage.send({ type: "REGISTER", topicId, msgId, topicName });
    let publishing: Play | undefined;
    return {
      lastsMs: 2 * answerMs,
      onMessage: (message) => {
        if (publishing) return publishing.onMessage(message, stage);
        if (message.type !== "REGACK") return "as usual";
        if (message.msgId !== msgId) stage.ends(wrong("5.4.11", "REGACK has another MsgId than REGISTER"));
        else if (message.topicId !== topicId) stage.ends(wrong("5.4.11", "REGACK has another topic id than REGISTER"));
        else if (message.returnCode !== 0) stage.ends(ok);
        else publishing = delivery(stage, { topicId }, "10");
        return "nothing";
      },
      over: () => (publishing ? publishing.over(stage) : stage.ends(wrong("6.10", "does not answer REGISTER"))),
    };
  },
};

const unknownId: Situation = {
  name: "unknown-topic-id",
  title: "a message comes under a topic id that the device was never told",
  needs: "SUBSCRIBE",
  beginAfterSubscribe: (stage) => {
    const msgId = publishTo(stage, { topicId: unknownTopicId });
    return {
      lastsMs: answerMs,
      onMessage: (message) => {
        if (message.type !== "PUBACK" || message.msgId !== msgId) return "as usual";
        const isAccepted = message.returnCode === 0;
        stage.ends(
          isAccepted ? wrong("6.10", "accepts a message whose topic it cannot know (PUBACK with code 0)") : ok,
        );
        return "nothing";
      },
      over: () => stage.ends(wrong("6.10", 'does not answer it (PUBACK "invalid topic id")')),
    };
  },
};

const long: Situation = {
  name: "long-message",
  title: `a message of ${longBytes} octets, with Length in three octets`,
  needs: "SUBSCRIBE to a name without wildcards",
  beginAfterSubscribe: (stage) =>
    stage.subscribedId === undefined
      ? undefined
      : delivery(stage, { topicId: stage.subscribedId, data: new Uint8Array(longBytes).fill(0x78) }, "2.1"),
};

const repeated: Situation = {
  name: "repeated",
  title: "the device's PUBACK is lost, and the message comes again with DUP",
  needs: "SUBSCRIBE to a name without wildcards",
  beginAfterSubscribe: (stage) => {
    const topicId = stage.subscribedId;
    if (topicId === undefined) return undefined;
    const msgId = publishTo(stage, { topicId });
    let acknowledged = 0;
    return {
      lastsMs: answerMs,
      onMessage: (message) => {
        if (message.type !== "PUBACK" || message.msgId !== msgId) return "as usual";
        acknowledged++;
        if (acknowledged === 1) publishTo(stage, { topicId, msgId, dup: true });
        else stage.ends(ok);
        return "nothing";
      },
      over: () =>
        stage.ends(
          wrong("6.13", acknowledged === 0 ? "does not acknowledge it" : "does not acknowledge the repetition"),
        ),
    };
  },
};

const sleepAndWake: Situation = {
  name: "sleep-and-wake",
  title: "the device sleeps, and wakes to a message that came meanwhile",
  needs: "DISCONNECT with a duration",
  begin: (message, stage) => {
    if (message.type !== "DISCONNECT" || message.duration === undefined || message.duration === 0) return undefined;
    let waiting: number | undefined;
    const play: Play = {
      lastsMs: message.duration * 1_500 + patienceMs,
      onMessage: (next) => {
        if (next.type === "CONNECT") stage.ends(ok);
        else if (next.type === "DISCONNECT") return "as usual";
        else if (waiting !== undefined) return answered(next);
        else if (next.type !== "PINGREQ") stage.ends(wrong("6.14", `sends ${next.type} while it sleeps`));
        else if (next.clientId === "") stage.ends(wrong("6.14", "wakes with a PINGREQ that has no client id"));
        else if (stage.subscribedId === undefined) stage.ends(ok);
        else {
          waiting = publishTo(stage, { topicId: stage.subscribedId });
          return "nothing";
        }
        return "as usual";
      },
      over: () =>
        stage.ends(
          waiting === undefined
            ? wrong("6.14", "does not wake within its own duration and half again")
            : wrong("6.14", "does not acknowledge what it is sent when it wakes"),
        ),
    };
    const answered = (next: Message) => {
      if (next.type === "PUBACK" && next.msgId === waiting) {
        stage.send({ type: "PINGRESP" });
        stage.ends(ok);
      }
      return "nothing" as const;
    };
    return { play, answer: "as usual" };
  },
};

const newAddress: Situation = {
  name: "new-address",
  title: "the device's address changed on the way: the gateway does not know it (DISCONNECT)",
  needs: "PUBLISH, or PINGREQ",
  begin: (message, stage) => {
    const isKeepAlive = message.type === "PINGREQ" && message.clientId === "";
    if (stage.isAsleep || !(isKeepAlive || (message.type === "PUBLISH" && message.qos >= 0))) return undefined;
    stage.send({ type: "DISCONNECT", duration: undefined });
    stage.forgetDevice();
    let others = 0;
    const play: Play = {
      lastsMs: patienceMs,
      onMessage: (next) => {
        if (next.type === "CONNECT") stage.ends(ok);
        // The device may have sent one message before it received the answer.
        else if (next.type !== "DISCONNECT" && next.type !== "SEARCHGW" && ++others > 1)
          stage.ends(wrong("6.12", `sends ${next.type} after DISCONNECT, and not CONNECT`));
        return "as usual";
      },
      over: () => stage.ends(wrong("6.12", "does not CONNECT again after DISCONNECT")),
    };
    return { play, answer: "nothing" };
  },
};

export const situations: readonly Situation[] = [
  lostConnack,
  lostRegack,
  retained,
  lostPuback,
  registered,
  unknownId,
  long,
  repeated,
  forgottenId,
  congestion,
  sleepAndWake,
  newAddress,
];

interface Delivery {
  readonly topicId: number;
  readonly msgId?: number;
  readonly dup?: boolean;
  readonly retain?: boolean;
  readonly data?: Uint8Array;
}

/** Sends PUBLISH at QoS 1; returns its MsgId. */
function publishTo(stage: Stage, { topicId, msgId = stage.nextMsgId(), ...rest }: Delivery): number {
  const { dup = false, retain = false, data = text.encode("try-device") } = rest;
  stage.send({ type: "PUBLISH", dup, qos: 1, retain, topicIdType: "normal", topicId, msgId, data });
  return msgId;
}

/** A message that must be acknowledged. `clause`: a number without a dot is a part of section 6. */
function delivery(stage: Stage, message: Delivery, clause: string): Play {
  const msgId = publishTo(stage, message);
  const where = clause.includes(".") ? `5.${clause}` : `6.${clause}`;
  return {
    lastsMs: answerMs,
    onMessage: (next) => {
      if (next.type !== "PUBACK") return "as usual";
      if (next.msgId !== msgId) stage.ends(wrong("5.4.13", "PUBACK has another MsgId than PUBLISH"));
      else if (next.topicId !== message.topicId)
        stage.ends(wrong("5.4.13", "PUBACK has another topic id than PUBLISH"));
      else if (next.returnCode === 2) stage.ends(wrong(where, "does not know the topic id that it was told"));
      else stage.ends(ok);
      return "nothing";
    },
    over: () => stage.ends(wrong(where, "does not acknowledge the message")),
  };
}
