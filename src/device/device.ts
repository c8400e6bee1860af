/**
 * The device's side of MQTT-SN 1.2, without I/O: time and bytes come in, bytes and events go out.
 *
 * It behaves as the standard's client: one request at a time, repeated T_retry apart N_retry times with DUP where it
 * exists; exactly once at QoS 2 both ways; every REGISTER answered; asleep it says nothing until it wakes.
 * The command line's `pub` and `sub`, the tests and the simulation use it.
 */

import type { QoS } from "../wire/fields.ts";
import { shortNameFromId, shortNameToId } from "../wire/topic.ts";
import { decode, encode } from "../wire/v12/codec.ts";
import type { Message, Publish } from "../wire/v12/messages.ts";
import type { DeviceEvent, DeviceWill, Request, TopicNaming } from "./request.ts";

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

const finishedMax = 16;

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
  #retryAt: number | undefined;
  #pingAt: number | undefined;
  #keepAliveMs = 0;
  #lastMsgId = 0;
  #lastRef = 0;
  readonly #idByName = new Map<string, number>();
  readonly #nameById = new Map<number, string>();
  /** QoS 2 messages taken, until the gateway releases them. */
  readonly #taken = new Set<number>();
  /** QoS 2 messages done lately, by MsgId: a repetition may be overtaken by the end of its own exchange. */
  readonly #finished = new Map<number, number>();

  constructor(options: DeviceOptions) {
    this.clientId = options.clientId;
    this.#retryMs = options.retryMs ?? 10_000;
    this.#retryLimit = options.retryLimit ?? 4;
  }

  /** Nothing is under way or waits. */
  get idle(): boolean {
    return this.#open === undefined && this.#queue.length === 0;
  }

  connect(options: { clean: boolean; keepAliveSeconds: number; will?: DeviceWill | undefined }, now: number): void {
    if (options.clean) {
      this.#forgetTopics();
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

  /** QoS -1: needs no connection, hears no answer. [§6.8] */
  publishWithoutConnection(message: { topic: TopicNaming; payload: Uint8Array; retain?: boolean }, now: number): void {
    this.#now = now;
    const id = this.#idOf(message.topic);
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

  /** Asks for what waits; ends with the event `drained`. */
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

  /** Power was lost: everything but what the owner tells it again is forgotten. */
  reset(): void {
    this.#end("disconnected");
    this.#forgetTopics();
    this.#taken.clear();
    this.#finished.clear();
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

  /** What is to be sent and told; starts anew. */
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

  /** Sends the open request, or sees first to what it needs. */
  #sendOpen(dup: boolean): void {
    const request = this.#open;
    if (!request) return;
    if (request.kind === "publish") {
      const id = this.#idOf(request.topic);
      if (!id && request.topic.by === "name") {
        this.#queue.unshift(request);
        this.#open = { kind: "register", topicName: request.topic.topicName, msgId: this.#nextMsgId() };
        return this.#sendOpen(false);
      }
      if (request.qos === 0) {
        this.#sendPublish(request, dup);
        this.#tell({ event: "published", ref: request.ref });
        return this.#next();
      }
      if (request.msgId === 0) request.msgId = this.#nextMsgId();
    }
    if (request.kind === "wake") this.state = "awake";
    const message = this.#messageOf(request, dup);
    if (message) this.#send(message);
    this.#retryAt = this.#now + this.#retryMs;
  }

  #messageOf(request: Request, dup: boolean): Message | undefined {
    switch (request.kind) {
      case "connect":
        return this.#connectMessage(request);
      case "register":
        return { type: "REGISTER", topicId: 0, msgId: request.msgId, topicName: request.topicName };
      case "publish":
        if (request.stage === "release") return { type: "PUBREL", msgId: request.msgId };
        this.#sendPublish(request, dup);
        return undefined;
      case "subscribe":
        return { type: "SUBSCRIBE", dup, qos: request.qos, msgId: request.msgId, ...reference(request.topic) };
      case "unsubscribe":
        return { type: "UNSUBSCRIBE", msgId: request.msgId, ...reference(request.topic) };
      case "willTopic":
        return {
          type: "WILLTOPICUPD",
          qos: request.will?.qos ?? 0,
          retain: request.will?.retain ?? false,
          willTopic: request.will?.topicName,
        };
      case "willMessage":
        return { type: "WILLMSGUPD", willMsg: request.payload };
      case "sleep":
        return { type: "DISCONNECT", duration: request.seconds };
      case "wake":
        return { type: "PINGREQ", clientId: this.clientId };
      case "ping":
        return { type: "PINGREQ", clientId: "" };
      case "disconnect":
        return { type: "DISCONNECT", duration: undefined };
    }
  }

  #connectMessage(request: Extract<Request, { kind: "connect" }>): Message {
    const { clean, keepAliveSeconds, will, stage } = request;
    if (stage === "willTopic" && will)
      return { type: "WILLTOPIC", qos: will.qos, retain: will.retain, willTopic: will.topicName };
    if (stage === "willMsg" && will) return { type: "WILLMSG", willMsg: will.payload };
    return {
      type: "CONNECT",
      will: will !== undefined,
      cleanSession: clean,
      protocolId: 1,
      duration: keepAliveSeconds,
      clientId: this.clientId,
    };
  }

  #sendPublish(request: Extract<Request, { kind: "publish" }>, dup: boolean): void {
    const id = this.#idOf(request.topic);
    if (!id) return;
    const { qos, retain, msgId, payload } = request;
    this.#send({
      type: "PUBLISH",
      dup: dup && qos > 0,
      qos,
      retain,
      topicIdType: id.type,
      topicId: id.id,
      msgId,
      data: payload,
    });
  }

  #repeat(): void {
    const request = this.#open;
    if (!request) return;
    if (this.#tries++ < this.#retryLimit) return this.#sendOpen(true);
    // No gateway any more, as far as we can tell. [§6.13]
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
      this.#retryAt = this.#now + this.#retryMs; // the gateway is at work [§6.14]
    }
    const request = this.#open;
    // Before CONNACK whatever comes is for our former self, whose topic ids and exchanges we may have forgotten.
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
        this.#learn(message.topicName, message.topicId);
        return this.#send({ type: "REGACK", topicId: message.topicId, msgId: message.msgId, returnCode: 0 });
      case "REGACK":
        if (request?.kind !== "register" || request.msgId !== message.msgId) return;
        if (message.returnCode === 0) this.#learn(request.topicName, message.topicId);
        else return this.#failRegistration(request, message.returnCode);
        return this.#done();
      case "PUBLISH":
        return this.#onPublish(message);
      case "PUBREL":
        if (this.#taken.delete(message.msgId)) this.#finish(message.msgId);
        return this.#send({ type: "PUBCOMP", msgId: message.msgId });
      case "PUBACK":
      case "PUBREC":
      case "PUBCOMP":
        return this.#onPublishAnswer(message);
      case "SUBACK":
        if (request?.kind !== "subscribe" || request.msgId !== message.msgId) return;
        if (message.returnCode !== 0) return this.#fail(request, message.returnCode);
        if (request.topic.by === "name" && message.topicId !== 0) this.#learn(request.topic.topicName, message.topicId);
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
      this.#tell({ event: "asleep", seconds: request.seconds });
      return this.#done();
    }
    if (this.state === "disconnected" && request?.kind !== "connect" && request?.kind !== "disconnect") return;
    if (request?.kind === "connect") return; // an old one, or to our former self: the CONNECT under way decides
    const asked = request?.kind === "disconnect";
    this.#end("disconnected");
    this.#tell({ event: "disconnected", asked });
  }

  #onPublish(message: Publish): void {
    const { qos, msgId, topicIdType, topicId } = message;
    if (qos === -1) return;
    const topicName =
      topicIdType === "normal"
        ? this.#nameById.get(topicId)
        : topicIdType === "short"
          ? shortNameFromId(topicId)
          : topicIdType === "predefined"
            ? `predefined ${topicId}`
            : undefined;
    if (topicName === undefined) return this.#send({ type: "PUBACK", topicId, msgId, returnCode: 2 });
    if (qos === 1) this.#send({ type: "PUBACK", topicId, msgId, returnCode: 0 });
    if (qos === 2) this.#send({ type: "PUBREC", msgId });
    if (qos === 2) {
      const finishedAt = this.#finished.get(msgId);
      const late =
        message.dup && finishedAt !== undefined && this.#now - finishedAt < this.#retryMs * (this.#retryLimit + 1);
      if (late || this.#taken.has(msgId)) return;
      this.#taken.add(msgId);
    }
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

  #finish(msgId: number): void {
    this.#finished.delete(msgId);
    this.#finished.set(msgId, this.#now);
    const oldest = this.#finished.keys().next();
    if (this.#finished.size > finishedMax && !oldest.done) this.#finished.delete(oldest.value);
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

  /** "Invalid topic id": the gateway has forgotten it; once more under a new one. [§6.6] */
  #registerAgain(request: Extract<Request, { kind: "publish" }>): void {
    request.registeredAgain = true;
    if (request.topic.by === "name") this.#idByName.delete(request.topic.topicName);
    this.#tries = 0;
    this.#sendOpen(true);
  }

  #idOf(topic: TopicNaming): { type: "normal" | "short" | "predefined"; id: number } | undefined {
    if (topic.by === "predefined") return { type: "predefined", id: topic.topicId };
    if (topic.by === "short") {
      const id = shortNameToId(topic.topicName);
      if (id === undefined) throw new RangeError(`"${topic.topicName}" is no short topic name`);
      return { type: "short", id };
    }
    const id = this.#idByName.get(topic.topicName);
    return id === undefined ? undefined : { type: "normal", id };
  }

  #learn(topicName: string, topicId: number): void {
    this.#idByName.set(topicName, topicId);
    this.#nameById.set(topicId, topicName);
  }

  #forgetTopics(): void {
    this.#idByName.clear();
    this.#nameById.clear();
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

function reference(topic: TopicNaming): { topicIdType: "normal" | "short" | "predefined"; topic: string | number } {
  if (topic.by === "predefined") return { topicIdType: "predefined", topic: topic.topicId };
  if (topic.by === "name") return { topicIdType: "normal", topic: topic.topicName };
  const id = shortNameToId(topic.topicName);
  if (id === undefined) throw new RangeError(`"${topic.topicName}" is no short topic name`);
  return { topicIdType: "short", topic: id };
}
