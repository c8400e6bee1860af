/**
 * Declarations of payloads, in the form that the core uses. They are compiled once; each message costs a look-up and a
 * pass over its fields.
 */
import type { Decoded, Encoded, Origin, PayloadPolicy, Unfit } from "../core/payloads.ts";
import { compileFields, type Field, isNumberField, type NumberField, wrongBits } from "../payload/fields.ts";
import { formats } from "../payload/formats.ts";
import { jsonOctets, parseJson } from "../payload/json.ts";
import { isObject, type PayloadCodec, type PayloadValue } from "../payload/value.ts";
import type { ScriptEntries, ScriptEntry } from "../script/question.ts";
import { globToRegExp } from "../upstream/credentials.ts";
import { isTopicName, matches } from "../wire/topic.ts";
import type { PayloadDeclaration } from "./payload-options.ts";

/** The outputs of a declaration, besides the decoded values. */
interface Shape {
  readonly to: string;
  readonly raw: string | undefined;
  /** The JSON member for the id of the sender. */
  readonly sender: string | undefined;
}

interface Rule extends Shape {
  readonly topics: string;
  readonly isForAll: boolean;
  readonly clients: RegExp;
  /** Undefined: the declaration has a script. */
  readonly codec: PayloadCodec | undefined;
  readonly script: ScriptEntry | undefined;
  readonly fields: readonly Field[] | undefined;
}

/** Topic names whose rules are cached. If there are more, the cache is emptied. */
const rememberedMax = 4_096;

/** The codec of a declaration; undefined: the declaration has neither fields nor a format. */
export function codecOf({ fields, format }: PayloadDeclaration): PayloadCodec | undefined {
  if (fields) return compileFields(fields);
  return format && formats[format];
}

/** Undefined: there are no declarations. */
export function payloadPolicy(declarations: readonly PayloadDeclaration[]): PayloadPolicy | undefined {
  if (declarations.length === 0) return undefined;
  const up = new Rules(declarations.filter(({ direction }) => direction !== "down"));
  const down = new Rules(declarations.filter(({ direction }) => direction !== "up"));
  return {
    up: (clientId, topicName, payload, origin) => {
      const rule = up.of(clientId, topicName);
      return rule && decoded(rule, clientId, topicName, payload, origin);
    },
    down: (clientId, topicName, payload) => {
      const rule = down.of(clientId, topicName);
      if (rule?.script) return parseJson(payload).ok ? notAsked(rule.script) : undefined;
      return rule?.codec?.write && encoded(rule.codec.write, payload);
    },
  };
}

/** Scripts were asked earlier, at a stage where messages can wait; see runtime/script-stage.ts. */
function notAsked({ file }: ScriptEntry): Unfit {
  return { is: "unfit", why: `the script ${file} was not asked` };
}

/** Undefined: no declaration has a script. `policy`: for all other messages. */
export function scriptEntries(
  declarations: readonly PayloadDeclaration[],
  policy: PayloadPolicy | undefined,
): ScriptEntries | undefined {
  if (!policy || declarations.every(({ script }) => script === undefined)) return undefined;
  const up = new Rules(declarations.filter(({ direction }) => direction !== "down"));
  const down = new Rules(declarations.filter(({ direction }) => direction !== "up"));
  return {
    up: (clientId, topicName) => up.of(clientId, topicName)?.script,
    down: (clientId, topicName) => down.of(clientId, topicName)?.script,
    downFor: (topicName) => down.allOf(topicName).flatMap(({ script }) => script ?? []),
    isCommand: (payload) => parseJson(payload).ok,
    policy,
  };
}

/**
 * The declared fields of a topic, for parts of the gateway that show values. Only declarations with fields are used.
 */
export class Declarations {
  readonly #up: Rules;
  readonly #down: Rules;
  /** True if any declaration has fields. */
  readonly isSayingSomething: boolean;

  constructor(declarations: readonly PayloadDeclaration[]) {
    this.#up = new Rules(declarations.filter(({ direction }) => direction !== "down"));
    this.#down = new Rules(declarations.filter(({ direction }) => direction !== "up"));
    this.isSayingSomething = declarations.some(({ fields }) => fields !== undefined);
  }

  /** The declared fields of this client's publications under this topic, and the topic of the decoded values. */
  says(clientId: string, topicName: string): { fields: readonly Field[]; topicName: string } | undefined {
    const rule = this.#up.of(clientId, topicName);
    return rule?.fields && { fields: rule.fields, topicName: filled(rule.to, clientId, topicName) };
  }

  takes(clientId: string, topicName: string): { fields: readonly Field[]; topicName: string } | undefined {
    const rule = this.#down.of(clientId, topicName);
    return rule?.fields && { fields: rule.fields, topicName };
  }
}

/**
 * Decodes a payload to JSON for display: of a message from a client (`in`) or to it (`out`). Undefined: no declaration
 * applies, or the payload does not fit.
 */
export type Shown = (
  way: "in" | "out",
  clientId: string | undefined,
  topicName: string,
  payload: Uint8Array,
) => string | undefined;

export function shownBy(declarations: readonly PayloadDeclaration[]): Shown {
  const up = new Rules(declarations.filter(({ direction }) => direction !== "down"));
  const down = new Rules(declarations.filter(({ direction }) => direction !== "up"));
  return (way, clientId, topicName, payload) => {
    const reading = (way === "in" ? up : down).of(clientId, topicName)?.codec?.read(payload);
    return reading?.ok ? Buffer.from(jsonOctets(reading.value)).toString("utf8") : undefined;
  };
}

class Rules {
  readonly #rules: readonly Rule[];
  readonly #byTopic = new Map<string, readonly Rule[]>();

  constructor(declarations: readonly PayloadDeclaration[]) {
    this.#rules = declarations.flatMap((each) => {
      const codec = codecOf(each);
      const { topics, clients, fields, to, raw, sender } = each;
      const script = scriptEntry(each);
      const isForAll = clients === "*";
      const rule = { topics, isForAll, clients: globToRegExp(clients), codec, script, fields, to, raw, sender };
      return codec || script ? [rule] : [];
    });
  }

  /** The first declaration that fits. A sender without a client id fits only declarations for all clients. */
  of(clientId: string | undefined, topicName: string): Rule | undefined {
    const rules = this.#byTopic.get(topicName) ?? this.#remember(topicName);
    for (const rule of rules) if (rule.isForAll || (clientId !== undefined && rule.clients.test(clientId))) return rule;
    return undefined;
  }

  /** The rules that apply to at least one client. */
  allOf(topicName: string): readonly Rule[] {
    const rules = this.#byTopic.get(topicName) ?? this.#remember(topicName);
    const last = rules.findIndex(({ isForAll }) => isForAll);
    return last === -1 ? rules : rules.slice(0, last + 1);
  }

  #remember(topicName: string): readonly Rule[] {
    const rules = this.#rules.filter(({ topics }) => matches(topics, topicName));
    if (this.#byTopic.size >= rememberedMax) this.#byTopic.clear();
    this.#byTopic.set(topicName, rules);
    return rules;
  }
}

function decoded(
  rule: Rule,
  clientId: string | undefined,
  topicName: string,
  payload: Uint8Array,
  origin: (() => Origin) | undefined,
): Decoded | Unfit | undefined {
  const { codec, script, sender } = rule;
  if (!codec) return script && notAsked(script);
  const reading = codec.read(payload);
  if (!reading.ok) return { is: "unfit", why: reading.why };
  const value = sender === undefined ? reading.value : withSender(reading.value, sender, clientId, origin?.());
  return published(rule, clientId, topicName, jsonOctets(value));
}

/**
 * Adds the sender to a decoded value. A member of the same name from the device is replaced, because it is not trusted.
 * A value that is no object stays unchanged.
 */
function withSender(
  value: PayloadValue,
  name: string,
  clientId: string | undefined,
  { transport, rssi, acceptedAt }: Origin = {},
): PayloadValue {
  if (!isObject(value)) return value;
  const about = {
    ...(clientId !== undefined && { client: clientId }),
    ...(transport !== undefined && { transport }),
    ...(rssi !== undefined && { rssi }),
    ...(acceptedAt !== undefined && { accepted: new Date(acceptedAt).toISOString() }),
  };
  return { ...value, [name]: about };
}

function scriptEntry({ script, fPort = 1, to, raw, sender }: PayloadDeclaration): ScriptEntry | undefined {
  if (script === undefined) return undefined;
  return {
    file: script,
    fPort,
    made: (clientId, topicName, json, origin) => {
      const parsed = sender === undefined ? undefined : parseJson(json);
      const octets =
        sender !== undefined && parsed?.ok ? jsonOctets(withSender(parsed.value, sender, clientId, origin?.())) : json;
      return published({ to, raw, sender }, clientId, topicName, octets);
    },
  };
}

function published(
  { to, raw }: Shape,
  clientId: string | undefined,
  topicName: string,
  json: Uint8Array,
): Decoded | Unfit {
  const made = to === "{topic}" ? topicName : filled(to, clientId, topicName);
  if (!isTopicName(made)) return { is: "unfit", why: `the topic name ${to} is too long, or none` };
  return {
    is: "made",
    topicName: made,
    payload: json,
    contentType: "application/json",
    ...(raw !== undefined && { rawTopicName: filled(raw, clientId, topicName) }),
  };
}

/** A payload that is not JSON is sent to the device unchanged. */
function encoded(write: NonNullable<PayloadCodec["write"]>, payload: Uint8Array): Encoded | Unfit | undefined {
  const command = parseJson(payload);
  if (!command.ok) return undefined;
  const writing = write(command.value);
  return writing.ok ? { is: "made", payload: writing.payload } : { is: "unfit", why: writing.why };
}

/** A client id may have characters that a topic name must not have. A sender without one is "-". */
function filled(template: string, clientId: string | undefined, topicName: string): string {
  return template.replace(/\{(topic|client)\}/g, (_, what: string) =>
    what === "topic" ? topicName : (clientId ?? "-").replace(/[+#\0]/g, "_"),
  );
}

/** Each has its own interpreter. */
const scriptsMax = 50;

/** Checks that the schema of a single key cannot make. Each problem has its key and what to type. */
export function checkPayloads(declarations: readonly PayloadDeclaration[]): string[] {
  const problems: string[] = [];
  const files = new Set(declarations.flatMap(({ script }) => script ?? []));
  if (files.size > scriptsMax) problems.push(`payloads: at most ${scriptsMax} different scripts can be used`);
  for (const [i, { fields, format, script, fPort, direction, to, raw, sender }] of declarations.entries()) {
    const path = `payloads.${i}`;
    const given = [fields, format, script].filter((each) => each !== undefined).length;
    if (given !== 1) problems.push(`${path}: give "fields", "format" or "script"${given > 1 ? ", one of them" : ""}`);
    if (fPort !== undefined && script === undefined)
      problems.push(`${path}.fPort: is for a script; leave it out, or give "script"`);
    if (format && direction === "down" && !formats[format].write)
      problems.push(`${path}.format: ${format} is for reading only; set "direction": "up"`);
    if (raw !== undefined && raw === to)
      problems.push(`${path}.raw: is the topic of what is decoded; type "{topic}/raw", or leave it out`);
    if (fields?.some((field) => namesOf(field).includes(sender ?? "")))
      problems.push(`${path}.sender: is the name of a field; give it another`);
    problems.push(...checkFields(path, fields ?? []));
  }
  return problems;
}

function checkFields(path: string, fields: readonly Field[]): string[] {
  const problems: string[] = [];
  const seen = new Set<string>();
  const last = fields.length - 1;
  for (const [i, field] of fields.entries()) {
    const at = `${path}.fields.${i}`;
    if (!isNumberField(field) && field.length === undefined && i !== last)
      problems.push(`${at}.length: only the last field may take all that is left; give this one a length`);
    if (isNumberField(field)) problems.push(...checkNumber(at, field));
    if (field.optional === true && fields.slice(i + 1).some(({ optional }) => optional !== true))
      problems.push(`${at}.optional: a field after it is not optional; say it of all that follow`);
    for (const name of namesOf(field)) {
      if (seen.has(name)) problems.push(`${at}.name: "${name}" is taken by another field; give each its own`);
      seen.add(name);
    }
  }
  return problems;
}

function checkNumber(at: string, field: NumberField): string[] {
  const { scale, offset, values, bits } = field;
  const problems: string[] = [];
  if (scale === 0) problems.push(`${at}.scale: must not be 0`);
  if (bits && (scale !== undefined || offset !== undefined || values))
    problems.push(`${at}: a number that is a row of bits has no scale, offset or values of its own`);
  const wrong = wrongBits(field);
  if (wrong !== undefined) problems.push(`${at}.bits: ${wrong}`);
  return problems;
}

function namesOf(field: Field): readonly string[] {
  if (field.type === "skip") return [];
  return isNumberField(field) && field.bits ? field.bits.map(({ name }) => name) : [field.name];
}
