/**
 * The type of a situation: an event that happens to every device some day, is played to a device on purpose, and has an
 * expected reaction.
 */
import type { Message, Publish, Writable } from "../../wire/v12/messages.ts";

export type Verdict =
  | { readonly is: "ok" }
  /** `clause`: the clause of MQTT-SN 1.2. `say`: what the device did, or did not do. */
  | { readonly is: "wrong"; readonly clause: string; readonly say: string };

/**
 * The examiner's answer to the device: as a gateway answers, or none, because the situation has answered or wants no
 * answer.
 */
export type Answer = "as usual" | "nothing";

/** The state of the device, and functions to send to it. */
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
  /** Ends the situation with this verdict. */
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
  /** The event that is played, in a sentence. */
  readonly title: string;
  /** The action of the device that makes the situation possible. */
  readonly needs: string;
  /** Begins the situation with a message of the device; undefined: this message does not begin it. */
  begin?(message: Message, stage: Stage): { readonly play: Play; readonly answer: Answer } | undefined;
  /** Begins the situation without a message, when the device is connected, awake and has subscribed to something. */
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
