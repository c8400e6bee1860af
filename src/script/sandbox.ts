/**
 * The interpreter in which scripts run: QuickJS, compiled to WebAssembly. A script has only the language: no files, no network, no clock
 * but `Date`, no timers. Each script has its own instance, and only JSON text goes in and out. What a script does to its prototypes, or to
 * its memory, stays in its instance.
 *
 * The limit on memory is that of the instance: QuickJS's own limit does not work in WebAssembly, where the size of a block is not known. A
 * script that allocates in a loop spends its time collecting garbage, so the limit on time ends it, but late: the caller needs its own
 * deadline.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import {
  newQuickJSWASMModuleFromVariant,
  newVariant,
  type QuickJSContext,
  type QuickJSHandle,
  type QuickJSRuntime,
  type QuickJSSyncVariant,
  type QuickJSWASMModule,
} from "quickjs-emscripten-core";
import type { Answer, Direction, Question, ScriptSource } from "./question.ts";

export interface Limits {
  /** Milliseconds for one call. */
  readonly runMs: number;
  /** Octets of one script with its interpreter; not below `leastMemoryBytes`. */
  readonly memoryBytes: number;
}

export interface Loaded {
  readonly file: string;
  /** Why the script cannot be used, with file and line if they are known. */
  readonly problem?: string;
  readonly can: readonly Direction[];
}

/** An answer, and whether the script used up its time. */
export type Ran = Answer & { readonly isOverTime?: boolean };

/** The interpreter's memory at the start. */
const leastMemoryBytes = 16 * 2 ** 20;
const stackBytesMax = 256 * 1_024;
/** Milliseconds for loading the file itself: functions and tables are made once. */
const loadMs = 1_000;
/** The longest payload that a script may return: no message has more octets. */
const octetsMax = 65_535;
const sayCharsMax = 200;

/** Names of the functions, in the order in which they are tried. */
const functions = {
  up: ["decodeUplink", "Decode"],
  down: ["encodeDownlink", "Encode"],
} as const;
type FunctionName = (typeof functions)[Direction][number];

/**
 * Runs before the script, and keeps functions of the language that it needs where the script cannot change them. The
 * older functions of scripts have separate arguments, and return the data itself.
 */
const callSource = `(() => {
  const { parse, stringify } = JSON;
  const { Date: Time, String: Text } = globalThis;
  const cut = Function.prototype.call.bind(String.prototype.slice);
  const lineOf = Function.prototype.call.bind(String.prototype.split);
  const said = (error) => {
    try {
      const where = error && error.stack ? lineOf(Text(error.stack), "\\n")[0] : "";
      return cut(Text(error), 0, ${sayCharsMax}) + cut(Text(where), 0, ${sayCharsMax});
    } catch {
      return "something that cannot be shown";
    }
  };
  const calls = {
    decodeUplink: (call, input) => call({ ...input, recvTime: new Time(input.recvTime) }),
    Decode: (call, { fPort, bytes, variables }) => ({ data: call(fPort, bytes, variables) }),
    encodeDownlink: (call, input) => call(input),
    Encode: (call, { fPort, data, variables }) => ({ bytes: call(fPort, data, variables) }),
  };
  return (call, name, json) => {
    try {
      const made = calls[name](call, parse(json));
      if (typeof made !== "object" || made === null) return stringify({ nothing: true });
      const { data, bytes, errors, warnings } = made;
      return stringify({ data, bytes, errors, warnings });
    } catch (error) {
      return stringify({ threw: said(error) });
    }
  };
})()`;

/** Node has WebAssembly, but its types without those of a browser do not contain it. */
const { WebAssembly: wasm } = globalThis as unknown as {
  readonly WebAssembly: {
    readonly Module: new (octets: Uint8Array) => object;
    readonly Memory: new (pages: { readonly initial: number; readonly maximum: number }) => object;
  };
};

/** The compiled interpreter, from which instances are made. */
interface Interpreter {
  readonly variant: QuickJSSyncVariant;
  readonly module: object;
}

const pageBytes = 65_536;

export class Sandbox {
  readonly #interpreter: Interpreter;
  readonly #limits: Limits;
  readonly #scripts = new Map<string, Script>();

  private constructor(interpreter: Interpreter, limits: Limits) {
    this.#interpreter = interpreter;
    this.#limits = limits;
  }

  static async open(limits: Limits): Promise<Sandbox> {
    const file = createRequire(import.meta.url).resolve("@jitl/quickjs-wasmfile-release-sync/wasm");
    const { default: found } = await import("@jitl/quickjs-wasmfile-release-sync");
    // The types are those of CommonJS, where the import is one level deeper.
    const variant = "default" in found ? found.default : found;
    return new Sandbox({ variant, module: new wasm.Module(readFileSync(file)) }, limits);
  }

  /** Replaces the scripts by these. If one cannot be used, the earlier script of the same name stays. */
  async load(sources: readonly ScriptSource[]): Promise<Loaded[]> {
    const names = new Set(sources.map(({ file }) => file));
    for (const [file, script] of this.#scripts) {
      if (names.has(file)) continue;
      script.close();
      this.#scripts.delete(file);
    }
    const all: Loaded[] = [];
    for (const source of sources) {
      const script = Script.open(await this.#instance(), source, this.#limits);
      const before = this.#scripts.get(source.file);
      if (typeof script === "string") {
        all.push({ file: source.file, problem: script, can: before?.can ?? [] });
        continue;
      }
      before?.close();
      this.#scripts.set(source.file, script);
      all.push({ file: source.file, can: script.can });
    }
    return all;
  }

  #instance(): Promise<QuickJSWASMModule> {
    const { variant, module: wasmModule } = this.#interpreter;
    const initial = leastMemoryBytes / pageBytes;
    const maximum = Math.max(initial, Math.floor(this.#limits.memoryBytes / pageBytes));
    const wasmMemory = new wasm.Memory({ initial, maximum });
    return newQuickJSWASMModuleFromVariant(newVariant(variant, { wasmModule, wasmMemory }));
  }

  ask(question: Question): Ran {
    const script = this.#scripts.get(question.file);
    if (!script) return { is: "unfit", why: `its script ${question.file} cannot be used` };
    const ran = script.ask(question);
    if (script.isSpent) this.#renew(script);
    return ran;
  }

  /** Replaces an instance that ran out of time or memory, because its state may be inconsistent. */
  #renew(script: Script): void {
    script.close();
    const { file } = script.source;
    const next = Script.open(script.quickJs, script.source, this.#limits);
    if (typeof next === "string") this.#scripts.delete(file);
    else this.#scripts.set(file, next);
  }
}

class Script {
  readonly source: ScriptSource;
  readonly quickJs: QuickJSWASMModule;
  /** The script was interrupted, or ran out of memory, so this instance must not be used again. */
  isSpent = false;
  readonly #runtime: QuickJSRuntime;
  readonly #context: QuickJSContext;
  readonly #limits: Limits;
  readonly #functions = new Map<Direction, { readonly name: FunctionName; readonly handle: QuickJSHandle }>();
  #call: QuickJSHandle | undefined;
  #until = 0;

  /** Returns a sentence if the script cannot be used. */
  static open(quickJs: QuickJSWASMModule, source: ScriptSource, limits: Limits): Script | string {
    const script = new Script(quickJs, source, limits);
    const problem = script.#load();
    if (problem !== undefined) script.close();
    return problem ?? script;
  }

  private constructor(quickJs: QuickJSWASMModule, source: ScriptSource, limits: Limits) {
    this.source = source;
    this.quickJs = quickJs;
    this.#limits = limits;
    this.#runtime = quickJs.newRuntime();
    this.#runtime.setMaxStackSize(stackBytesMax);
    this.#runtime.setInterruptHandler(() => performance.now() > this.#until);
    this.#context = this.#runtime.newContext();
  }

  get can(): readonly Direction[] {
    return [...this.#functions.keys()];
  }

  close(): void {
    for (const { handle } of this.#functions.values()) handle.dispose();
    this.#functions.clear();
    this.#call?.dispose();
    this.#call = undefined;
    this.#context.dispose();
    this.#runtime.dispose();
  }

  #load(): string | undefined {
    const { file, text } = this.source;
    this.#until = performance.now() + loadMs;
    this.#call = this.#context.unwrapResult(this.#context.evalCode(callSource, "gateway"));
    const loaded = this.#context.evalCode(text, file, { type: "global" });
    if (loaded.error) return this.#problemWith(loaded.error);
    loaded.value.dispose();
    const isThere = (is: Direction) => functions[is].some((name) => this.#find(is, name));
    if ([isThere("up"), isThere("down")].includes(true)) return undefined;
    return `${file}: has neither decodeUplink nor encodeDownlink; write function decodeUplink(input) { return { data: ... }; }`;
  }

  #find(is: Direction, name: FunctionName): boolean {
    const handle = this.#context.evalCode(`typeof ${name} === "function" ? ${name} : undefined`, "gateway");
    if (handle.error) {
      handle.error.dispose();
      return false;
    }
    if (this.#context.typeof(handle.value) === "function") {
      this.#functions.set(is, { name, handle: handle.value });
      return true;
    }
    handle.value.dispose();
    return false;
  }

  #problemWith(error: QuickJSHandle): string {
    const { file } = this.source;
    const isLate = performance.now() > this.#until;
    this.#until = performance.now() + this.#limits.runMs;
    const text = (name: string): string => {
      const handle = this.#context.getProp(error, name);
      const found = this.#context.typeof(handle) === "string" ? this.#context.getString(handle) : "";
      handle.dispose();
      return found.slice(0, 2_000);
    };
    const [name, message, stack] = [text("name"), text("message"), text("stack")];
    error.dispose();
    if (isLate) return `${file}: took more than ${loadMs} ms to load`;
    const place = /at (?:[^\n]*\()?([^\n()]*:\d+(?::\d+)?)\)?/.exec(stack)?.[1];
    return `${place ?? file}: ${name === "" ? "threw something" : name}: ${message}`.slice(0, 2 * sayCharsMax);
  }

  ask(question: Question): Ran {
    const found = this.#functions.get(question.is);
    const call = this.#call;
    if (!found || !call) return { is: "asItIs" };
    const context = this.#context;
    this.#until = performance.now() + this.#limits.runMs;
    const name = context.newString(found.name);
    const input = context.newString(JSON.stringify(inputOf(question)));
    const result = context.callFunction(call, context.undefined, found.handle, name, input);
    name.dispose();
    input.dispose();
    if (result.error) {
      result.error.dispose();
      this.isSpent = true;
      if (performance.now() <= this.#until)
        return { is: "unfit", why: `${question.file} ran out of memory or of stack` };
      return { is: "unfit", why: `${question.file} took more than ${this.#limits.runMs} ms`, isOverTime: true };
    }
    const made = context.typeof(result.value) === "string" ? context.getString(result.value) : "{}";
    result.value.dispose();
    // An InternalError may come from state that the script keeps, so the instance is replaced.
    if (made.startsWith('{"threw":"InternalError')) this.isSpent = true;
    return answerFrom(question, made);
  }
}

function inputOf({ is, payload, fPort, recvTime, variables }: Question): Record<string, unknown> {
  if (is === "up") return { bytes: [...payload], fPort, recvTime, variables };
  return { data: JSON.parse(Buffer.from(payload).toString("utf8")) as unknown, fPort, variables };
}

/** The script's answer, if it is valid. */
function answerFrom({ file, is }: Question, json: string): Answer {
  const unfit = (why: string): Answer => ({ is: "unfit", why: `${file} ${why}` });
  const made = JSON.parse(json) as Readonly<Record<string, unknown>>;
  if (typeof made["threw"] === "string") return unfit(`threw ${made["threw"]}`);
  const errors = textsOf(made["errors"]);
  if (errors.length > 0) return unfit(`says: ${errors.join("; ").slice(0, sayCharsMax)}`);
  const warnings = textsOf(made["warnings"]);
  const found = is === "up" ? made["data"] : made["bytes"];
  if (found === undefined || found === null) return unfit(is === "up" ? "returned no data" : "returned no bytes");
  const payload = is === "up" ? new TextEncoder().encode(JSON.stringify(found)) : octetsOf(found);
  if (!payload) return unfit("returned bytes that are not a list of numbers from 0 to 255");
  if (payload.byteLength > octetsMax)
    return unfit(`made ${payload.byteLength} octets; at most ${octetsMax} are allowed`);
  return { is: "made", payload, warnings };
}

const textsMax = 20;

function textsOf(found: unknown): string[] {
  const list: unknown[] = Array.isArray(found) ? found : found ? [found] : [];
  return list.slice(0, textsMax).map((each) => (typeof each === "string" ? each : JSON.stringify(each)));
}

function octetsOf(found: unknown): Uint8Array | undefined {
  if (!Array.isArray(found)) return undefined;
  const isOctet = (each: unknown) => Number.isInteger(each) && Number(each) >= 0 && Number(each) <= 255;
  return found.every(isOctet) ? Uint8Array.from(found as number[]) : undefined;
}
