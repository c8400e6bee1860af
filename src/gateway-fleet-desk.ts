/**
 * Part of the composition root: executes commands in a process of a fleet. A command is passed to the gateway of the
 * right shard, or to all shards of this process.
 */
import type { GatewayConfig } from "./config/schema.ts";
import { shardName } from "./config/shard-config.ts";
import { type FrontCounters, type FrontDropReason, frontDropReasons } from "./fleet/front-counters.ts";
import type { Owners } from "./fleet/owners.ts";
import { shardOf } from "./fleet/shard.ts";
import type { Gateway } from "./gateway.ts";
import type { Answer } from "./runtime/command.ts";
import type { CommandName, JsonCommandName, OutputOf } from "./runtime/commands.ts";
import { type Asker, type OperatorDesk, routes } from "./runtime/desk.ts";
import type { FleetFacts } from "./runtime/fleet-facts.ts";
import { letterOf, mergedDepth, mergedLetters, mergedOverview, mergedTopics } from "./runtime/merged-answers.ts";

export interface FleetDeskParts {
  readonly config: () => GatewayConfig;
  readonly version: string;
  readonly owners: Owners;
  readonly front: FrontCounters;
  /** The gateways of this process, by shard. */
  readonly gateways: () => ReadonlyMap<number, Gateway>;
  readonly facts: () => FleetFacts;
  /** The number of clients that were refused, and not admitted since. */
  readonly knocks: () => number;
  readonly uptimeSeconds: () => number;
  /** Answers commands about the process and the fleet, and the list of devices. */
  readonly own: OperatorDesk;
}

/**
 * Commands about this process: its settings, users and networks, and which clients it refuses and admits. They also
 * name the fleet, and list the devices of all shards of this process.
 */
const ofTheProcess = /^(fleet|totals|radio|settings|console|token|knocking|admitted|join|device)\.|^devices\.list$/;
/** Commands about one client, which belongs to one shard. */
const ofOneClient: ReadonlySet<CommandName> = new Set<CommandName>([
  "sessions.show",
  "sessions.drop",
  "queue.show",
  "queue.clear",
  "devices.show",
  "devices.send",
  "devices.clear",
  "capture",
]);
/** Commands whose answers are lists, which are joined for all shards of this process. */
const lists: ReadonlySet<CommandName> = new Set<CommandName>(["sessions.list"]);
/** Commands whose answers of all shards of this process are merged to one answer. */
const merged: ReadonlySet<CommandName> = new Set<CommandName>([
  "overview.show",
  "queue.depth",
  "queue.dead",
  "queue.republish",
  "queue.purge",
  "topics.list",
]);

const noKeys = "in a fleet the keys of devices are in files that every gateway has: see keys of the DTLS transport";
/** Commands that a fleet does not support, with the reason. */
const whyNot: Partial<Record<CommandName, string>> = {
  backup: "the sessions of a fleet are in Redis: back up that server, for example with redis-cli --rdb FILE",
  capture: "in a fleet one client is captured at a time: name it with --client",
  "queue.clear": "in a fleet name the client, not a topic",
  "topics.add": "in a fleet predefined topic ids are set in the configuration of every gateway",
  "topics.remove": "in a fleet predefined topic ids are set in the configuration of every gateway",
  "device.add": noKeys,
  "device.rotate": noKeys,
  "device.remove": noKeys,
};

export class FleetDesk {
  readonly routes = routes;
  readonly #parts: FleetDeskParts;

  constructor(parts: FleetDeskParts) {
    this.#parts = parts;
  }

  /** Executes one command: here, at the gateway of the client's shard, or at those of all shards here. */
  async ask(who: Asker, name: CommandName, query: URLSearchParams): Promise<Answer> {
    const never = whyNot[name];
    if (never !== undefined && !(ofOneClient.has(name) && query.has("client")))
      return { kind: "not-possible", say: never };
    if (ofTheProcess.test(name)) return this.#parts.own.ask(who, name, query);
    const client = query.get("client");
    if (ofOneClient.has(name)) {
      // Without a client, the command says what is missing.
      return client === null ? this.#parts.own.ask(who, name, query) : this.#askShardOf(client, who, name, query);
    }
    if (lists.has(name)) return this.#list(who, name, query);
    if (merged.has(name)) return this.#merged(who, name, query);
    return { kind: "not-possible", say: `${name} is not answered in a fleet` };
  }

  /** See `OperatorDesk.document`. */
  document(): object {
    return this.#parts.own.document();
  }

  async #askShardOf(client: string, who: Asker, name: CommandName, query: URLSearchParams): Promise<Answer> {
    const shard = shardOf(client, this.#parts.owners.shards);
    return (await this.#askShard(shard, who, name, query)) ?? this.#notHere(`"${client}" belongs to`, shard);
  }

  /** Undefined: the shard is not served here. */
  async #askShard(shard: number, who: Asker, name: CommandName, query: URLSearchParams): Promise<Answer | undefined> {
    const { owners, gateways } = this.#parts;
    const gateway = owners.ownerOf(shard) === "here" ? gateways().get(shard) : undefined;
    return gateway?.ask(who, name, query);
  }

  #notHere(what: string, shard: number): Answer {
    const { owners } = this.#parts;
    const owner = owners.ownerOf(shard);
    const whose =
      typeof owner === "object" ? `${owner.name} owns: ask there` : "no gateway owns at this moment: ask again";
    return { kind: "not-possible", say: `${what} shard ${shardName(shard, owners.shards)}, which ${whose}` };
  }

  /** Asks the shards of this gateway. Other gateways have other shards, see `fleet.members`. */
  async #list(who: Asker, name: CommandName, query: URLSearchParams): Promise<Answer> {
    const answers = await this.#askAll(who, name, query);
    if (answers.refusal) return answers.refusal;
    return { kind: "done", output: answers.outputs.flatMap(({ output }) => (Array.isArray(output) ? output : [])) };
  }

  async #merged(who: Asker, name: CommandName, query: URLSearchParams): Promise<Answer> {
    switch (name) {
      case "queue.republish":
      case "queue.purge":
        return this.#letters(who, name, query);
      case "overview.show": {
        return this.#together(who, name, query, (outputs) =>
          mergedOverview(
            outputs.map(([, each]) => each),
            this.#ofTheProcess(this.#parts.knocks()),
          ),
        );
      }
      case "queue.depth":
        return this.#together(who, name, query, (outputs) => mergedDepth(outputs.map(([, each]) => each)));
      case "topics.list":
        return this.#together(who, name, query, (outputs) => mergedTopics(outputs.map(([, each]) => each)));
      default:
        return this.#together(who, "queue.dead", query, (outputs) => mergedLetters(outputs, this.#parts.owners.shards));
    }
  }

  async #together<Name extends JsonCommandName>(
    who: Asker,
    name: Name,
    query: URLSearchParams,
    merge: (outputs: readonly (readonly [shard: number, output: OutputOf<Name>])[]) => OutputOf<Name>,
  ): Promise<Answer> {
    const answers = await this.#askAll(who, name, query);
    if (answers.refusal) return answers.refusal;
    // All gateways answer by the same row of the list of commands, so the type is certain.
    const outputs = answers.outputs.map(({ shard, output }) => [shard, output as OutputOf<Name>] as const);
    return { kind: "done", output: merge(outputs) };
  }

  /** Handles dead letters by their numbers, each at its shard; without numbers: those of all shards here. */
  async #letters(who: Asker, name: "queue.republish" | "queue.purge", query: URLSearchParams): Promise<Answer> {
    const ids = query.get("ids");
    const field = name === "queue.purge" ? "purged" : "republished";
    let count = 0;
    const add = (output: unknown) => {
      const value = typeof output === "object" && output !== null ? Object.entries(output) : [];
      for (const [key, number] of value) if (key === field && typeof number === "number") count += number;
    };
    if (ids === null) {
      const answers = await this.#askAll(who, name, query);
      if (answers.refusal) return answers.refusal;
      for (const { output } of answers.outputs) add(output);
      return { kind: "done", output: { [field]: count } };
    }
    const byShard = new Map<number, number[]>();
    for (const text of ids.split(",")) {
      if (!/^\d{1,15}$/.test(text))
        return {
          kind: "wrong-input",
          problems: ["ids: numbers of dead letters with commas between them, as in 3,4,7"],
        };
      const letter = letterOf(Number(text), this.#parts.owners.shards);
      byShard.set(letter.shard, [...(byShard.get(letter.shard) ?? []), letter.id]);
    }
    for (const [shard, own] of byShard) {
      const answer = await this.#askShard(shard, who, name, new URLSearchParams({ ids: own.join(",") }));
      if (!answer) return this.#notHere("a dead letter of this number belongs to", shard);
      if (answer.kind !== "done") return answer;
      add(answer.output);
    }
    return { kind: "done", output: { [field]: count } };
  }

  async #askAll(who: Asker, name: CommandName, query: URLSearchParams) {
    const outputs: { readonly shard: number; readonly output: unknown }[] = [];
    for (const [shard, gateway] of this.#parts.gateways()) {
      if (!gateway.serves) continue;
      const answer = await gateway.ask(who, name, query);
      if (answer.kind !== "done") return { refusal: answer, outputs: [] };
      outputs.push({ shard, output: answer.output });
    }
    return { refusal: undefined, outputs };
  }

  #ofTheProcess(knocks: number) {
    const { version, facts, front, uptimeSeconds, config } = this.#parts;
    const reasons = Object.entries(front.dropped) as [FrontDropReason, number][];
    return {
      version,
      uptimeSeconds: uptimeSeconds(),
      memoryBytes: process.memoryUsage.rss(),
      at: Date.now(),
      fleet: facts(),
      frontDrops: reasons.map(([reason, count]) => ({ reason, count, meaning: frontDropReasons[reason] })),
      knocks,
      keepsWhenAway: config().uplink.whenAway === "store",
    };
  }
}
