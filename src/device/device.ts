/**
 * The device's side of MQTT-SN 1.2, without I/O: time and bytes come in, bytes and events go out.
 *
 * The device behaves as the standard's client: one request at a time, repeated T_retry apart N_retry times, with DUP
 * where it exists; exactly once at QoS 2 in both directions; every REGISTER is answered; a sleeping device sends
 * nothing until it wakes. The commands `pub` and `sub`, the tests and the simulation use it.
 */

import type { QoS } from "../wire/fields.ts";
import { decode, encode } from "../wire/v12/codec.ts";
import type { Message, Publish } from "../wire/v12/messages.ts";
import type { DeviceEvent, DeviceWill, Request, TopicNaming } from "./request.ts";
import { messageOf } from "./request-message.ts";
import { TakenMessages } from "./taken-messages.ts";
import { TopicTable } from "./topic-table.ts";

export type { DeviceEvent, DeviceWill, Request, TopicNaming } from "./request.ts";

export interface DeviceOptions {
  readonly clientId: string;
  /** T_retry. Default 10 s. */
  readonly retryMs?: number;
  /** N_retry. Default 4. */
  readonly retryLimit?: number;
}

export type DeviceState = "disconnected" | "active" | "asleep" | "awake";

export type DeviceOutput =
  | { readonly kind: "send"; readonly bytes: Uint8Array }
  | { readonly kind: "event"; readonly event: DeviceEvent };

/** The interface of a device: this class, or the library in C in the tests. */
export type AnyDevice = Pick<Device, keyof Device>;

export class Device {
  readonly clientId: string;
  state: DeviceState = "disconnected";
  readonly #retryMs: number;
  readonly #retryLimit: number;
  #now = 0;
  #output: DeviceOutput[] = [];
  #queue: Request[] = [];
  #open: Request | undefined;
  #tries = 0;
  /** Number of copies of the DISCONNECT for sleeping whose answers may still arrive, and until when. */
  #sleepAnswersLeft = 0;
  #sleepAnswersUntil = 0;
  #retryAt: number | undefined;
  #pingAt: number | undefined;
  #keepAliveMs = 0;
  #lastMsgId = 0;
  #lastRef = 0;
  readonly #topics = new TopicTable();
  readonly #taken: TakenMessages;

  constructor(options: DeviceOptions) {
    this.clientId = options.clientId;
    this.#retryMs = options.retryMs ?? 10_000;
    this.#retryLimit = options.retryLimit ?? 4;
    this.#taken = new TakenMessages(this.#retryMs * (this.#retryLimit + 1));
  }

  /** No request is open or waits. */
  get idle(): boolean {
    return this.#open === undefined && this.#queue.length === 0;
  }

  connect(options: { clean: boolean; keepAliveSeconds: number; will?: DeviceWill | undefined }, now: number): void {
    if (options.clean) {
      this.#topics.clear();
      this.#taken.clear();
    }
    this.#ask(
      {
        kind: "connect",
        clean: options.clean,
        keepAliveSeconds: options.keepAliveSeconds,
        will: options.will,
        stage: "connect",
      },
      now,
    );
  }

  /** Returns a number that comes back in `published` or `failed`; at QoS 0 it is published when it is sent. */
  publish(message: { topic: TopicNaming; payload: Uint8Array; qos: QoS; retain?: boolean }, now: number): number {
    const ref = ++this.#lastRef;
    const { topic, payload, qos, retain = false } = message;
    this.#ask(
      { kind: "publish", topic, payload, qos, retain, ref, msgId: 0, stage: "publish", registeredAgain: false },
      now,
    );
    return ref;
  }

  /** QoS -1: needs no connection and gets no answer. [§6.8] */
  publishWithoutConnection(message: { topic: TopicNaming; payload: Uint8Array; retain?: boolean }, now: number): void {
    this.#now = now;
    const id = this.#topics.idOf(message.topic);
    if (!id || id.type === "normal") throw new RangeError("QoS -1 needs a predefined or a short topic");
    this.#send({
      type: "PUBLISH",
      dup: false,
      qos: -1,
      retain: message.retain ?? false,
      topicIdType: id.type,
      topicId: id.id,
      msgId: 0,
      data: message.payload,
    });
  }

  subscribe(topic: TopicNaming, qos: QoS, now: number): number {
    const ref = ++this.#lastRef;
    this.#ask({ kind: "subscribe", topic, qos, msgId: this.#nextMsgId(), ref }, now);
    return ref;
  }

  unsubscribe(topic: TopicNaming, now: number): number {
    const ref = ++this.#lastRef;
    this.#ask({ kind: "unsubscribe", topic, msgId: this.#nextMsgId(), ref }, now);
    return ref;
  }

  /** Undefined deletes the will. */
  updateWillTopic(will: Omit<DeviceWill, "payload"> | undefined, now: number): void {
    this.#ask({ kind: "willTopic", will }, now);
  }

  updateWillMessage(payload: Uint8Array, now: number): void {
    this.#ask({ kind: "willMessage", payload }, now);
  }

  sleep(seconds: number, now: number): void {
    this.#ask({ kind: "sleep", seconds }, now);
  }

  /** Gets the waiting messages; ends with the event `drained`. */
  wake(now: number): void {
    this.#ask({ kind: "wake" }, now);
  }

  disconnect(now: number): void {
    this.#ask({ kind: "disconnect" }, now);
  }

  searchGateway(radius: number, now: number): void {
    this.#now = now;
    this.#send({ type: "SEARCHGW", radius });
  }

  /** Power was lost: the device forgets everything that its owner does not set again. */
  reset(): void {
    this.#end("disconnected");
    this.#topics.clear();
    this.#taken.clear();
  }

  receive(bytes: Uint8Array, now: number): void {
    this.#now = now;
    const decoded = decode(bytes);
    if (decoded.ok) this.#on(decoded.message);
  }

  timeout(now: number): void {
    this.#now = now;
    if (this.#retryAt !== undefined && now >= this.#retryAt) this.#repeat();
    if (this.#pingAt !== undefined && now >= this.#pingAt && this.#open === undefined) this.#ask({ kind: "ping" }, now);
  }

  nextDeadline(): number | undefined {
    if (this.#retryAt === undefined) return this.#pingAt;
    return this.#pingAt === undefined || this.#open ? this.#retryAt : Math.min(this.#retryAt, this.#pingAt);
  }

  /** The datagrams to send and the events; empties the list. */
  take(): readonly DeviceOutput[] {
    const output = this.#output;
    this.#output = [];
    return output;
  }

  #ask(request: Request, now: number): void {
    this.#now = now;
    this.#queue.push(request);
    if (!this.#open) this.#next();
  }

  #next(): void {
    this.#retryAt = undefined;
    this.#open = this.#queue.shift();
    if (!this.#open) return;
    this.#tries = 0;
    this.#sendOpen(false);
  }

  /** Sends the open request, or first a REGISTER that it needs. */
  #sendOpen(dup: boolean): void {
    const request = this.#open;
    if (!request) return;
    if (request.kind === "publish") {
      const id = this.#topics.idOf(request.topic);
      if (!id && request.topic.by === "name") {
        this.#queue.unshift(request);
        this.#open = { kind: "register", topicName: request.topic.topicName, msgId: this.#nextMsgId() };
        return this.#sendOpen(false);
      }
      if (request.qos === 0) {
        const message = messageOf(request, this.clientId, dup, id);
        if (message) this.#send(message);
        this.#tell({ event: "published", ref: request.ref });
        return this.#next();
      }
      if (request.msgId === 0) request.msgId = this.#nextMsgId();
    }
    if (request.kind === "wake") this.state = "awake";
    const topic = request.kind === "publish" ? this.#topics.idOf(request.topic) : undefined;
    const message = messageOf(request, this.clientId, dup, topic);
    if (message) this.#send(message);
    this.#retryAt = this.#now + this.#retryMs;
  }

  #repeat(): void {
    const request = this.#open;
    if (!request) return;
    if (this.#tries++ < this.#retryLimit) return this.#sendOpen(true);
    // The device assumes that there is no gateway any more. [§6.13]
    this.#tell({ event: "failed", request, returnCode: undefined });
    if (request.kind === "sleep" || request.kind === "disconnect") this.#tell({ event: "disconnected", asked: true });
    else this.#tell({ event: "disconnected", asked: false });
    this.#end("disconnected");
  }

  #end(state: DeviceState): void {
    this.state = state;
    this.#open = undefined;
    this.#queue = [];
    this.#retryAt = undefined;
    this.#pingAt = undefined;
  }

  #done(): void {
    this.#open = undefined;
    this.#next();
  }

  #fail(request: Request, returnCode: number): void {
    this.#tell({ event: "failed", request, returnCode });
    this.#done();
  }

  #on(message: Message): void {
    if (this.state === "awake" && this.#open?.kind === "wake" && message.type !== "PINGRESP") {
      this.#retryAt = this.#now + this.#retryMs; // the gateway is sending messages [§6.14]
      this.#tries = 0;
    }
    const request = this.#open;
    // Before CONNACK, messages belong to the device's earlier connection, whose topic ids and exchanges it may have forgotten.
    if (this.state === "disconnected" && (message.type === "PUBLISH" || message.type === "REGISTER")) return;
    switch (message.type) {
      case "CONNACK":
        if (request?.kind !== "connect") return;
        if (message.returnCode !== 0) {
          this.state = "disconnected";
          return this.#fail(request, message.returnCode);
        }
        this.state = "active";
        this.#keepAliveMs = request.keepAliveSeconds * 1_000;
        this.#armPing();
        this.#tell({ event: "connected" });
        return this.#done();
      case "WILLTOPICREQ":
      case "WILLMSGREQ":
        if (request?.kind !== "connect") return;
        request.stage = message.type === "WILLTOPICREQ" ? "willTopic" : "willMsg";
        this.#tries = 0;
        return this.#sendOpen(false);
      case "REGISTER":
        if (typeof message.topicName !== "string") return;
        this.#topics.learn(message.topicName, message.topicId);
        return this.#send({ type: "REGACK", topicId: message.topicId, msgId: message.msgId, returnCode: 0 });
      case "REGACK":
        if (request?.kind !== "register" || request.msgId !== message.msgId) return;
        if (message.returnCode === 0) this.#topics.learn(request.topicName, message.topicId);
        else return this.#failRegistration(request, message.returnCode);
        return this.#done();
      case "PUBLISH":
        return this.#onPublish(message);
      case "PUBREL":
        this.#taken.release(message.msgId, this.#now);
        return this.#send({ type: "PUBCOMP", msgId: message.msgId });
      case "PUBACK":
      case "PUBREC":
      case "PUBCOMP":
        return this.#onPublishAnswer(message);
      case "SUBACK":
        if (request?.kind !== "subscribe" || request.msgId !== message.msgId) return;
        if (message.returnCode !== 0) return this.#fail(request, message.returnCode);
        if (request.topic.by === "name" && message.topicId !== 0)
          this.#topics.learn(request.topic.topicName, message.topicId);
        this.#tell({ event: "subscribed", ref: request.ref, qos: message.qos, topicId: message.topicId });
        return this.#done();
      case "UNSUBACK":
        if (request?.kind !== "unsubscribe" || request.msgId !== message.msgId) return;
        this.#tell({ event: "unsubscribed", ref: request.ref });
        return this.#done();
      case "WILLTOPICRESP":
      case "WILLMSGRESP":
        if (request?.kind !== (message.type === "WILLTOPICRESP" ? "willTopic" : "willMessage")) return;
        if (message.returnCode !== 0) return this.#fail(request, message.returnCode);
        this.#tell({ event: "willUpdated" });
        return this.#done();
      case "PINGREQ":
        return this.#send({ type: "PINGRESP" });
      case "PINGRESP":
        return this.#onPingResp(request);
      case "DISCONNECT":
        return this.#onDisconnect(request);
      case "GWINFO":
      case "ADVERTISE":
        return this.#tell({ event: "gateway", gwId: message.gwId });
      default:
        return;
    }
  }

  #failRegistration(request: Extract<Request, { kind: "register" }>, returnCode: number): void {
    const publish = this.#queue.shift();
    this.#tell({ event: "failed", request: publish ?? request, returnCode });
    this.#done();
  }

  #onPingResp(request: Request | undefined): void {
    if (request?.kind === "wake") {
      this.state = "asleep";
      this.#tell({ event: "drained" });
      return this.#done();
    }
    if (request?.kind !== "ping") return;
    this.#tell({ event: "pong" });
    this.#done();
  }

  #onDisconnect(request: Request | undefined): void {
    if (request?.kind === "sleep") {
      this.state = "asleep";
      this.#pingAt = undefined;
      this.#sleepAnswersLeft = this.#tries;
      this.#sleepAnswersUntil = this.#now + this.#retryMs * (this.#tries + 1);
      this.#tell({ event: "asleep", seconds: request.seconds });
      return this.#done();
    }
    if (this.state === "disconnected" && request?.kind !== "connect" && request?.kind !== "disconnect") return;
    if (request?.kind === "connect") return; // an answer to an earlier DISCONNECT or connection: the open CONNECT decides
    // The gateway answers each copy of the DISCONNECT for sleeping, so this answer contains nothing new.
    if ((this.state === "asleep" || this.state === "awake") && this.#isLateAnswer(request)) return;
    const asked = request?.kind === "disconnect";
    this.#end("disconnected");
    this.#tell({ event: "disconnected", asked });
  }

  #isLateAnswer(request: Request | undefined): boolean {
    if (request?.kind === "disconnect" || this.#sleepAnswersLeft === 0) return false;
    this.#sleepAnswersLeft--;
    return this.#now < this.#sleepAnswersUntil;
  }

  #onPublish(message: Publish): void {
    const { qos, msgId, topicIdType, topicId } = message;
    if (qos === -1) return;
    const topicName = this.#topics.nameOf(message);
    if (topicName === undefined) return this.#send({ type: "PUBACK", topicId, msgId, returnCode: 2 });
    if (qos === 1) this.#send({ type: "PUBACK", topicId, msgId, returnCode: 0 });
    if (qos === 2) this.#send({ type: "PUBREC", msgId });
    if (qos === 2 && !this.#taken.take(message, message.dup, this.#now)) return;
    this.#tell({
      event: "message",
      topicName,
      topicIdType,
      topicId,
      payload: message.data,
      qos,
      retain: message.retain,
      dup: message.dup,
    });
  }

  #onPublishAnswer(message: Extract<Message, { type: "PUBACK" | "PUBREC" | "PUBCOMP" }>): void {
    const request = this.#open;
    if (request?.kind !== "publish" || request.msgId !== message.msgId) return;
    if (message.type === "PUBACK") {
      if (message.returnCode === 2 && request.topic.by === "name" && !request.registeredAgain)
        return this.#registerAgain(request);
      if (message.returnCode !== 0) return this.#fail(request, message.returnCode);
      if (request.qos !== 1) return;
      this.#tell({ event: "published", ref: request.ref });
      return this.#done();
    }
    if (request.qos !== 2) return;
    if (message.type === "PUBREC") {
      request.stage = "release";
      this.#tries = 0;
      return this.#sendOpen(false);
    }
    if (request.stage !== "release") return;
    this.#tell({ event: "published", ref: request.ref });
    this.#done();
  }

  /** After "invalid topic id" the gateway has forgotten the id, so the topic is registered once more. [§6.6] */
  #registerAgain(request: Extract<Request, { kind: "publish" }>): void {
    request.registeredAgain = true;
    if (request.topic.by === "name") this.#topics.forget(request.topic.topicName);
    this.#tries = 0;
    this.#sendOpen(true);
  }

  #nextMsgId(): number {
    this.#lastMsgId = (this.#lastMsgId % 65_535) + 1;
    return this.#lastMsgId;
  }

  #armPing(): void {
    this.#pingAt = this.state === "active" && this.#keepAliveMs > 0 ? this.#now + this.#keepAliveMs * 0.9 : undefined;
  }

  #send(message: Message): void {
    this.#output.push({ kind: "send", bytes: encode(message) });
    this.#armPing();
  }

  #tell(event: DeviceEvent): void {
    this.#output.push({ kind: "event", event });
  }
}
