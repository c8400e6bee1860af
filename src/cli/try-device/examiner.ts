/**
 * A gateway for one device that plays situations to it and judges its reactions. Without I/O: datagrams and the time
 * are inputs, datagrams are outputs. Between situations it is an ordinary gateway without a broker.
 */
import { decode, encode } from "../../wire/v12/codec.ts";
import type { Message, Writable } from "../../wire/v12/messages.ts";
import type { Answer, Play, Situation, Stage, Verdict } from "./situation.ts";
import { situations as all } from "./situations.ts";

export type Result = { readonly situation: Situation; readonly verdict: Verdict | undefined };

/** Milliseconds between two situations that begin by themselves, and after a SUBACK. */
const breathMs = 500;
const gatewayId = 1;

export class Examiner implements Stage {
  isAsleep = false;
  subscribedId: number | undefined;
  /** Octets that are no message, with the reason: a fault in every situation. */
  readonly unreadable: string[] = [];
  readonly #situations: readonly Situation[];
  readonly #verdicts = new Map<Situation, Verdict>();
  readonly #onVerdict: (situation: Situation, verdict: Verdict) => void;
  #output: Uint8Array[] = [];
  #now = 0;
  #isConnected = false;
  #hasSubscribed = false;
  #willStage: "topic" | "message" | undefined;
  #playing: { readonly situation: Situation; readonly play: Play; readonly until: number } | undefined;
  #breathUntil: number | undefined;
  readonly #topicIds = new Map<string, number>();
  #lastTopicId = 0;
  #lastMsgId = 100;

  constructor(onVerdict: (situation: Situation, verdict: Verdict) => void = () => {}, situations = all) {
    this.#onVerdict = onVerdict;
    this.#situations = situations;
  }

  get results(): readonly Result[] {
    return this.#situations.map((situation) => ({ situation, verdict: this.#verdicts.get(situation) }));
  }

  get isDone(): boolean {
    return this.#verdicts.size === this.#situations.length;
  }

  /** The action that the device should do next; undefined: an exchange is open, or everything is done. */
  get needs(): string | undefined {
    if (this.#playing) return undefined;
    return this.#situations.find((situation) => !this.#verdicts.has(situation))?.needs;
  }

  receive(bytes: Uint8Array, now: number): void {
    this.#now = now;
    const decoded = decode(bytes);
    if (!decoded.ok) {
      this.unreadable.push(`${decoded.type ?? "octets"}: ${decoded.code}`);
      return;
    }
    const { message } = decoded;
    if (this.#answerTo(message) === "as usual") this.#asUsual(message);
  }

  timeout(now: number): void {
    this.#now = now;
    if (this.#playing && now >= this.#playing.until) this.#playing.play.over(this);
    if (this.#breathUntil !== undefined && now >= this.#breathUntil) {
      this.#breathUntil = undefined;
      this.#beginByItself();
    }
  }

  nextDeadline(): number | undefined {
    return this.#playing?.until ?? this.#breathUntil;
  }

  /** The datagrams to send; empties the list. */
  take(): readonly Uint8Array[] {
    const output = this.#output;
    this.#output = [];
    return output;
  }

  send(message: Writable): void {
    this.#output.push(encode(message));
  }

  nextMsgId(): number {
    return ++this.#lastMsgId;
  }

  tellTopicId(name: string): number {
    this.subscribedId = this.#topicIdOf(name);
    this.#hasSubscribed = true;
    return this.subscribedId;
  }

  forgetDevice(): void {
    this.#isConnected = false;
  }

  ends(verdict: Verdict): void {
    const situation = this.#playing?.situation;
    this.#playing = undefined;
    if (!situation || this.#verdicts.has(situation)) return;
    this.#verdicts.set(situation, verdict);
    this.#breathUntil = this.#now + breathMs;
    this.#onVerdict(situation, verdict);
  }

  #answerTo(message: Message): Answer {
    if (this.#playing) return this.#playing.play.onMessage(message, this);
    // Messages before CONNECT cannot be judged.
    if (!this.#isConnected && message.type !== "CONNECT") return "as usual";
    for (const situation of this.#situations) {
      if (this.#verdicts.has(situation) || !situation.begin) continue;
      const begun = situation.begin(message, this);
      if (!begun) continue;
      this.#play(situation, begun.play);
      return begun.answer;
    }
    return "as usual";
  }

  #play(situation: Situation, play: Play): void {
    this.#playing = { situation, play, until: this.#now + play.lastsMs };
    this.#breathUntil = undefined;
  }

  #beginByItself(): void {
    if (this.#playing || !this.#isConnected || this.isAsleep || !this.#hasSubscribed) return;
    for (const situation of this.#situations) {
      if (this.#verdicts.has(situation)) continue;
      const play = situation.beginAfterSubscribe?.(this);
      if (play) return this.#play(situation, play);
    }
  }

  #asUsual(message: Message): void {
    switch (message.type) {
      case "SEARCHGW":
        return this.send({ type: "GWINFO", gwId: gatewayId, gwAdd: new Uint8Array() });
      case "CONNECT":
        this.#isConnected = true;
        this.isAsleep = false;
        this.#willStage = message.will ? "topic" : undefined;
        return this.send(message.will ? { type: "WILLTOPICREQ" } : { type: "CONNACK", returnCode: 0 });
      case "WILLTOPIC":
        this.#willStage = this.#willStage && "message";
        return this.send({ type: "WILLMSGREQ" });
      case "WILLMSG":
        this.#willStage = undefined;
        return this.send({ type: "CONNACK", returnCode: 0 });
      case "DISCONNECT":
        this.isAsleep = message.duration !== undefined && message.duration > 0;
        this.#isConnected = this.isAsleep;
        return this.send({ type: "DISCONNECT", duration: undefined });
      default:
        if (this.#isConnected) return this.#inSession(message);
        if (message.type !== "PUBLISH" || message.qos >= 0) this.send({ type: "DISCONNECT", duration: undefined });
    }
  }

  #inSession(message: Message): void {
    switch (message.type) {
      case "REGISTER": {
        const { msgId } = message;
        return this.send({ type: "REGACK", topicId: this.#topicIdOf(String(message.topicName)), msgId, returnCode: 0 });
      }
      case "PUBLISH": {
        const { topicId, msgId } = message;
        if (message.qos === 1) this.send({ type: "PUBACK", topicId, msgId, returnCode: 0 });
        if (message.qos === 2) this.send({ type: "PUBREC", msgId });
        return;
      }
      case "PUBREL":
        return this.send({ type: "PUBCOMP", msgId: message.msgId });
      case "SUBSCRIBE": {
        const { topic, msgId } = message;
        const isName = typeof topic === "string" && !/[+#]/.test(topic);
        const topicId = isName ? this.#topicIdOf(topic) : 0;
        if (isName) this.subscribedId = topicId;
        this.#hasSubscribed = true;
        this.#breathUntil ??= this.#now + breathMs;
        const qos = Math.max(0, message.qos) as 0 | 1 | 2;
        return this.send({ type: "SUBACK", qos, topicId, msgId, returnCode: 0 });
      }
      case "UNSUBSCRIBE":
        return this.send({ type: "UNSUBACK", msgId: message.msgId });
      case "PINGREQ":
        return this.send({ type: "PINGRESP" });
      case "WILLTOPICUPD":
        return this.send({ type: "WILLTOPICRESP", returnCode: 0 });
      case "WILLMSGUPD":
        return this.send({ type: "WILLMSGRESP", returnCode: 0 });
      default:
        return;
    }
  }

  #topicIdOf(name: string): number {
    const known = this.#topicIds.get(name) ?? ++this.#lastTopicId;
    this.#topicIds.set(name, known);
    return known;
  }
}
