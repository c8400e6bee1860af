/**
 * The type of an operator's command: its name and path, its input and output, the role that may use it, and what it
 * does. The commands themselves are in commands.ts. They do not depend on sockets, HTTP or terminals; those are made
 * from the commands.
 */
import { z } from "zod";
import type { Role } from "../roles.ts";
import type { Operator } from "./operator.ts";

/** The result of a command. A thing that does not exist, or cannot be done, is an answer and not an error. */
export type Outcome<Output> = { readonly kind: "done"; readonly output: Output } | Refusal;

export interface Refusal {
  readonly kind: "not-there" | "not-possible";
  /** One sentence for people. */
  readonly say: string;
}

/** The answer for the user. */
export type Answer =
  | { readonly kind: "done"; readonly output: unknown }
  | { readonly kind: "stream"; readonly contentType: string; readonly octets: AsyncIterable<Uint8Array> }
  | Refusal
  | { readonly kind: "wrong-input"; readonly problems: readonly string[] }
  | { readonly kind: "not-allowed"; readonly say: string };

/** The user: some roles see less of the same answer. */
export interface Reader {
  readonly role: Role;
  readonly seesPayloads: boolean;
}

interface Spec<In extends z.ZodObject> {
  /** One line: for `--help`, and for the description of an HTTP interface. */
  readonly description: string;
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  /** The schema that converts the texts of a query in a URL to values; unknown keys are refused. */
  readonly input: In;
  readonly role: Role;
  /** True: each use is logged. For commands that change something, or hand out data in bulk. */
  readonly audited: boolean;
  /** The whole answer is payloads, so roles that do not see payloads cannot use the command. */
  readonly isPayloads?: true;
  /** Only users of the control socket have this command; it does not exist over HTTP. */
  readonly isLocal?: true;
  /** The answer has a secret: only over the control socket, from this machine, or over https. */
  readonly isPrivate?: true;
  /** Input or output is confidential: the log contains only the use of the command and its result. */
  readonly isSecret?: true;
  /** The part of the input that is logged, if not all of it may be logged. */
  readonly noted?: (query: Query) => object;
}

interface JsonSpec<In extends z.ZodObject, Out extends z.ZodType> extends Spec<In> {
  /** A value that JSON can express: no octets, no dates. */
  readonly output: Out;
  readonly run: (
    operator: Operator,
    input: z.output<In>,
    reader: Reader,
  ) => Outcome<z.output<Out>> | Promise<Outcome<z.output<Out>>>;
}

interface StreamSpec<In extends z.ZodObject> extends Spec<In> {
  /** The content type of the octets, which are sent in pieces. */
  readonly stream: string;
  readonly run: (operator: Operator, input: z.output<In>, reader: Reader) => Outcome<AsyncIterable<Uint8Array>>;
}

/** A command of either kind, where the kind does not matter. */
export interface AnyCommand extends Spec<z.ZodObject> {
  /** The output, if the command answers with one value. */
  readonly output?: z.ZodType;
  /** The content type, if the command answers with octets. */
  readonly stream?: string;
  readonly answer: (operator: Operator, query: Query, reader: Reader) => Promise<Answer>;
}

export type Query = Readonly<Record<string, string>>;

/** A command that answers with one value. */
export function json<In extends z.ZodObject, Out extends z.ZodType>(spec: JsonSpec<In, Out>) {
  const answer = async (operator: Operator, query: Query, reader: Reader): Promise<Answer> => {
    const input = z.safeDecode(spec.input, query as z.input<In>);
    return input.success ? spec.run(operator, input.data, reader) : wrongInput(input.error);
  };
  return { ...spec, answer };
}

/** A command that answers with octets, as many as there are. */
export function stream<In extends z.ZodObject>(spec: StreamSpec<In>) {
  const answer = async (operator: Operator, query: Query, reader: Reader): Promise<Answer> => {
    const input = z.safeDecode(spec.input, query as z.input<In>);
    if (!input.success) return wrongInput(input.error);
    const outcome = spec.run(operator, input.data, reader);
    if (outcome.kind !== "done") return outcome;
    return { kind: "stream", contentType: spec.stream, octets: outcome.output };
  };
  return { ...spec, answer };
}

/** Describes each problem in words, with the name of the input; at most the first few. */
function wrongInput(error: z.core.$ZodError): Answer {
  const problems = error.issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys")
      return issue.keys.slice(0, problemsMax).map((key) => `${key.slice(0, 40)}: there is no such input`);
    const [name = "input"] = issue.path;
    return [`${String(name)}: ${issue.message}`];
  });
  return { kind: "wrong-input", problems: problems.slice(0, problemsMax) };
}

const problemsMax = 10;
