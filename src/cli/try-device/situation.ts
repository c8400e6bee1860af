/** What a situation is: something that happens to every device one day, played to one on purpose, and what it must do then. */
import type { Message, Publish, Writable } from "../../wire/v12/messages.ts";

export type Verdict =
  | { readonly is: "ok" }
  /** `clause` of MQTT-SN 1.2, and what the device did, or did not do. */
  | { readonly is: "wrong"; readonly clause: string; readonly say: string };

/** What the device is to be answered: as a gateway does, not at all, or the situation has answered itself. */
export type Answer = "as usual" | "nothing";

/** What is known of the device, and how it is spoken to. */
export interface Stage {
  readonly isAsleep: boolean;
  /** A topic id that was sent to the device, for its subscription; undefined: none yet. */
  readonly subscribedId: number | undefined;
  send(message: Writable): void;
  nextMsgId(): number;
  /** The topic id of this name, under which the device then gets messages. */
  tellTopicId(name: string): number;
  /** The session has ended: the device must send CONNECT. */
  forgetDevice(): void;
  /** It is over. */
  ends(verdict: Verdict): void;
}

/** One situation that is being played. */
export interface Play {
  /** Milliseconds until `over` is called, from the beginning. */
  readonly lastsMs: number;
  /** A message of the device. */
  onMessage(message: Message, stage: Stage): Answer;
  /** The time is over. */
  over(stage: Stage): void;
}

export interface Situation {
  readonly name: string;
  /** What is played, in a sentence. */
  readonly title: string;
  /** What the device must do that it can be played. */
  readonly needs: string;
  /** It begins with what the device says, or not with this. */
  begin?(message: Message, stage: Stage): { readonly play: Play; readonly answer: Answer } | undefined;
  /** It begins by itself, when the device is connected, awake and has subscribed to something. */
  beginAfterSubscribe?(stage: Stage): Play | undefined;
}

/** The standard allows 10 to 15 s for T_retry; here most devices get much more time. [§7.2] */
export const patienceMs = 60_000;

export function wrong(clause: string, say: string): Verdict {
  return { is: "wrong", clause, say };
}

export function samePublication(a: Publish, b: Publish): boolean {
  return a.topicId === b.topicId && Buffer.compare(a.data, b.data) === 0;
}
