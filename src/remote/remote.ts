/**
 * Commands over MQTT. A client that the broker allows to publish below the control topic can send the commands of the API. Events of
 * devices are published there too.
 *
 *     {topic}/command/NAME        the inputs as a JSON object; answered at the response topic of MQTT 5, with its correlation data
 *     {topic}/command/NAME/ID     the same; answered at {topic}/answer/ID
 *     {topic}/event/NAME          an event
 *
 * Commands that give access to the gateway, or answer with a secret, are refused. This class makes no connection: `OwnConnection`
 * passes messages to it, and an outlet for answers.
 */
import { z } from "zod";
import type { GatewayEvent } from "../core/event.ts";
import { seenBy } from "../observe/events.ts";
import type { Role } from "../roles.ts";
import type { Answer, AnyCommand } from "../runtime/command.ts";
import { type CommandName, commands } from "../runtime/commands.ts";
import type { OperatorDesk } from "../runtime/desk.ts";
import type { Outlet, OwnMessage, Speaker } from "../upstream/own-connection.ts";
import { matches } from "../wire/topic.ts";

/** Octets of a command. */
export const commandBytesMax = 65_536;
/** Octets of an answer. A longer one is refused with the advice to use the API. */
export const answerBytesMax = 262_144;
/** Commands that are carried out at the same time. Further ones are refused. */
const underWayMax = 16;
const quietMs = 60_000;

export interface RemoteOptions {
  readonly topic: string;
  readonly role: Role;
  /** Topic filters of answers besides those below `{topic}/answer/`. */
  readonly answerTopics: readonly string[];
  readonly commandsPerSecondMax: number;
  readonly eventsPerSecondMax: number;
  /** 0 if the broker supports no higher QoS. */
  readonly qos: 0 | 1 | 2;
}

export interface RemoteParts {
  readonly desk: Pick<OperatorDesk, "ask">;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Milliseconds since 1970. */
  readonly wallClock: () => number;
  readonly told: (level: "info" | "warn", say: string) => void;
}

/** The inputs of a command; an empty payload has none. Values as in the API: strings, numbers, booleans and lists. */
const inputs = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), z.array(z.union([z.string(), z.number()])), z.array(z.json())]),
);

export class Remote implements Speaker {
  readonly filters: readonly string[];
  readonly qos: 0 | 1 | 2;
  readonly words: Speaker["words"];
  readonly #options: RemoteOptions;
  readonly #parts: RemoteParts;
  readonly #commands: Allowance;
  readonly #events: Allowance;
  #outlet: Outlet | undefined;
  #underWay = 0;
  #quietUntil = Number.NEGATIVE_INFINITY;
  /** The number of events that were left out since the last published one. */
  #leftOut = 0;

  constructor(options: RemoteOptions, parts: RemoteParts) {
    this.#options = options;
    this.#parts = parts;
    this.qos = options.qos;
    this.filters = [`${options.topic}/command/#`];
    this.words = {
      works: `commands are accepted at ${options.topic}`,
      fails: `no commands are accepted at ${options.topic}`,
    };
    this.#commands = new Allowance(options.commandsPerSecondMax, parts.now);
    this.#events = new Allowance(options.eventsPerSecondMax, parts.now);
  }

  connected(outlet: Outlet): void {
    this.#outlet = outlet;
  }

  disconnected(): void {
    this.#outlet = undefined;
  }

  received(topicName: string, payload: Uint8Array, message: OwnMessage): void {
    const [name = "", id, ...more] = topicName.slice(this.#options.topic.length + "/command/".length).split("/");
    const answerTo = this.#answerTopic(id, message);
    const refuse = (say: string) => this.#answer(answerTo, message, { command: name, outcome: "refused", say });
    // The broker would send a retained command again at each connection.
    if (message.retain) return refuse("a command must not be retained");
    if (more.length > 0 || (id !== undefined && !/^[\w.~-]{1,64}$/.test(id)))
      return refuse(
        "the topic is {topic}/command/NAME or {topic}/command/NAME/ID, ID up to 64 letters, digits, . _ ~ -",
      );
    if (!this.#commands.take()) return refuse(`more than ${this.#options.commandsPerSecondMax} commands a second`);
    if (this.#underWay >= underWayMax) return refuse(`${underWayMax} commands are running already`);
    if (payload.byteLength > commandBytesMax) return refuse(`more than ${commandBytesMax} octets`);
    if (!isOffered(name)) return refuse("there is no such command here");
    const query = queryOf(payload);
    if (typeof query === "string") return refuse(query);
    this.#underWay++;
    void this.#carryOut(name, query, answerTo, message).finally(() => this.#underWay--);
  }

  /** Each event of the core. */
  happened(event: GatewayEvent): void {
    const outlet = this.#outlet;
    if (!outlet) return;
    const { role, topic } = this.#options;
    const seen = seenBy(role, event);
    if (!seen) return;
    if (!this.#events.take()) {
      this.#leftOut++;
      return;
    }
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    const told = {
      at: this.#parts.wallClock(),
      ...seen,
      ...(leftOut > 0 && { leftOut }),
    };
    outlet.publish(`${topic}/event/${event.event}`, JSON.stringify(told), { qos: 0, retain: false });
  }

  async #carryOut(name: CommandName, query: URLSearchParams, answerTo: string | undefined, message: OwnMessage) {
    let answer: Answer | { readonly kind: "failed" };
    try {
      answer = await this.#parts.desk.ask(
        { name: `MQTT ${this.#options.topic}`, role: this.#options.role },
        name,
        query,
      );
    } catch (error) {
      this.#warn(`command ${name} by MQTT failed: ${error instanceof Error ? error.message : String(error)}`);
      answer = { kind: "failed" };
    }
    this.#answer(answerTo, message, { command: name, ...inAnswer(answer) });
  }

  /** Undefined: the sender wants no answer, or answers to this topic are not allowed. */
  #answerTopic(id: string | undefined, { responseTopic }: OwnMessage): string | undefined {
    const { topic, answerTopics } = this.#options;
    if (responseTopic !== undefined && !/[+#\0]/.test(responseTopic)) {
      const filters = [`${topic}/answer/#`, ...answerTopics];
      if (responseTopic.startsWith(`${topic}/command/`)) return undefined; // the answer would be read as a command
      if (filters.some((filter) => matches(filter, responseTopic))) return responseTopic;
      this.#warn(`an answer is not sent to ${responseTopic.slice(0, 200)}: control.answerTopics does not contain it`);
      return undefined;
    }
    return id === undefined ? undefined : `${topic}/answer/${id.slice(0, 64)}`;
  }

  /** Logs at most one warning a minute, because senders determine how many there are. */
  #warn(say: string): void {
    const now = this.#parts.now();
    if (now < this.#quietUntil) return;
    this.#quietUntil = now + quietMs;
    this.#parts.told("warn", say);
  }

  #answer(topicName: string | undefined, { correlationData }: OwnMessage, answer: object): void {
    if (topicName === undefined) return;
    let text = JSON.stringify(answer);
    if (Buffer.byteLength(text) > answerBytesMax) {
      const { command } = answer as { command?: string };
      text = JSON.stringify({
        command,
        outcome: "refused",
        say: `the answer has more than ${answerBytesMax} octets: use the API`,
      });
    }
    this.#outlet?.publish(topicName, text, { qos: 1, retain: false, correlationData });
  }
}

/** A token bucket: it gets `perSecond` tokens each second, and holds as many. */
class Allowance {
  readonly #perSecond: number;
  readonly #now: () => number;
  #left: number;
  #at: number;

  constructor(perSecond: number, now: () => number) {
    this.#perSecond = perSecond;
    this.#now = now;
    this.#left = perSecond;
    this.#at = now();
  }

  take(): boolean {
    const now = this.#now();
    this.#left = Math.min(this.#perSecond, this.#left + ((now - this.#at) / 1_000) * this.#perSecond);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}

/**
 * Other clients can read what is published at the broker. So commands with a secret, or that give access, are not
 * offered.
 */
function isOffered(name: string): name is CommandName {
  if (!Object.hasOwn(commands, name)) return false;
  const command: AnyCommand = commands[name as CommandName];
  return command.isLocal !== true && command.isSecret !== true && command.stream === undefined;
}

/** Commands that can be sent over MQTT, with the role that each needs. */
export function offered(): readonly { readonly name: string; readonly role: Role }[] {
  return Object.entries(commands as Record<string, AnyCommand>)
    .filter(([name]) => isOffered(name))
    .map(([name, { role }]) => ({ name, role }));
}

function queryOf(payload: Uint8Array): URLSearchParams | string {
  const query = new URLSearchParams();
  if (payload.byteLength === 0) return query;
  let raw: unknown;
  try {
    raw = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    return "the payload is not JSON";
  }
  const read = inputs.safeParse(raw);
  if (!read.success) return "the payload is not a JSON object of texts, numbers, true, false and lists";
  for (const [name, value] of Object.entries(read.data)) query.set(name, textOf(value));
  return query;
}

function textOf(value: z.output<typeof inputs>[string]): string {
  if (!Array.isArray(value)) return String(value);
  return value.some((each) => typeof each === "object") ? JSON.stringify(value) : value.join(",");
}

function inAnswer(answer: Answer | { readonly kind: "failed" }): object {
  switch (answer.kind) {
    case "done":
      return { outcome: "done", output: answer.output };
    case "wrong-input":
      return { outcome: "refused", problems: answer.problems };
    case "stream":
      return { outcome: "refused", say: "its answer is not JSON: use the API" };
    case "failed":
      return { outcome: "failed", say: "see the log of the gateway" };
    default:
      return { outcome: "refused", say: answer.say };
  }
}
