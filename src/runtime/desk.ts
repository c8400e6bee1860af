/** Runs the commands of all interfaces: checks the role, reads the inputs, and writes the log line. */
import { mayAs, type Role, showsPayloads } from "../roles.ts";
import type { Answer, AnyCommand } from "./command.ts";
import { type CommandName, commands } from "./commands.ts";
import { openApiOf } from "./openapi.ts";
import type { Operator } from "./operator.ts";

/** The user, as the log names it. */
export interface Asker {
  readonly name: string;
  readonly role: Role;
  /** The user of the control socket: a user that may open it controls the gateway. */
  readonly isLocal?: true;
  /** Nobody can read the answer on its way, because the user is on this machine or uses https. */
  readonly isPrivate?: true;
}

/** One audited command, for the log. No text is longer than `textMax`. */
export interface AuditEntry {
  readonly who: string;
  readonly command: CommandName;
  /** The input as JSON. */
  readonly input: string;
  readonly outcome: string;
}

export interface Route {
  readonly command: CommandName;
  readonly method: string;
  readonly path: string;
  /** True: only over the control socket. */
  readonly isLocal: boolean;
}

const textMax = 200;
const notPrivate =
  "a key is returned only on the gateway's own machine or by https, because others could read it on the network: use `mqtt-sn-gateway device` there";

/** Commands about this gateway, not about devices. They also work on a gateway that stands by. */
const ofTheMachine = /^(overview|totals|radio|settings|console|token|fleet)\./;

/** Every command, with its method and path. */
export const routes: readonly Route[] = Object.entries(commands as Record<CommandName, AnyCommand>).map(
  ([command, { method, path, isLocal = false }]) => ({ command: command as CommandName, method, path, isLocal }),
);

export class OperatorDesk {
  readonly routes = routes;
  readonly #operator: Operator;
  readonly #audit: (entry: AuditEntry) => void;

  readonly #standsBy: () => string | undefined;

  /** `standsBy`: in a pair, why commands about devices cannot be used here; undefined: they can. */
  constructor(
    operator: Operator,
    audit: (entry: AuditEntry) => void,
    standsBy: () => string | undefined = () => undefined,
  ) {
    this.#operator = operator;
    this.#audit = audit;
    this.#standsBy = standsBy;
  }

  /** The commands that can be used from other machines, as an OpenAPI document. */
  document(): object {
    return openApiOf(commands, this.#operator.installation.version);
  }

  /** Executes one command. Throws only because of a programming error. */
  async ask(who: Asker, name: CommandName, query: URLSearchParams): Promise<Answer> {
    const command: AnyCommand = commands[name];
    const asked = Object.fromEntries(query);
    const input = command.isSecret ? "{}" : short(command.noted?.(asked) ?? asked);
    const note = (outcome: string) => this.#audit({ who: who.name, command: name, input, outcome: cut(outcome) });
    try {
      const standby = ofTheMachine.test(name) ? undefined : this.#standsBy();
      const answer: Answer = standby ? { kind: "not-possible", say: standby } : await this.#answer(who, command, query);
      if (!command.audited) return answer;
      if (answer.kind === "stream") return { ...answer, octets: counted(answer.octets, note) };
      note(command.isSecret && answer.kind === "done" ? "done" : outcomeOf(answer));
      return answer;
    } catch (error) {
      if (command.audited) note(`failed: ${messageOf(error)}`);
      throw error;
    }
  }

  async #answer(who: Asker, command: AnyCommand, query: URLSearchParams): Promise<Answer> {
    if (command.isLocal && !who.isLocal)
      return { kind: "not-allowed", say: "this is available only at the control socket" };
    if (!mayAs(who.role, command.role)) return { kind: "not-allowed", say: `this needs the role ${command.role}` };
    if (command.isPrivate && !who.isLocal && !who.isPrivate) return { kind: "not-allowed", say: notPrivate };
    const seesPayloads = who.isLocal === true || showsPayloads(this.#operator.installation.payloadsFor(), who.role);
    if (command.isPayloads && !seesPayloads)
      return { kind: "not-allowed", say: "payloads are hidden (api.payloads): use the control socket" };
    const values: Record<string, string> = {};
    for (const [name, value] of query) {
      if (Object.hasOwn(values, name)) {
        return { kind: "wrong-input", problems: [`${name.slice(0, 40)}: this input is there more than once`] };
      }
      Object.defineProperty(values, name, { value, enumerable: true }); // a name may be __proto__
    }
    return command.answer(this.#operator, values, { role: who.role, seesPayloads });
  }
}

/** Passes the same octets on. When they end or are cut off, their number is logged. */
async function* counted(
  octets: AsyncIterable<Uint8Array>,
  note: (outcome: string) => void,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  let outcome = "cut off";
  try {
    for await (const part of octets) {
      yield part;
      bytes += part.byteLength;
    }
    outcome = "done";
  } catch (error) {
    outcome = `failed: ${messageOf(error)}`;
    throw error;
  } finally {
    note(`${outcome}, ${bytes} octets`);
  }
}

function outcomeOf(answer: Exclude<Answer, { kind: "stream" }>): string {
  switch (answer.kind) {
    case "done":
      return `done ${short(answer.output)}`;
    case "wrong-input":
      return `refused: ${answer.problems.join("; ")}`;
    default:
      return `refused: ${answer.say}`;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function short(value: unknown): string {
  return cut(JSON.stringify(value) ?? "");
}

function cut(text: string): string {
  return text.length <= textMax ? text : `${text.slice(0, textMax - 1)}…`;
}
