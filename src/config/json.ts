/**
 * Parses a configuration: JSON with comments (`// ...`, and between slash and star). Reports the place of an error and
 * what to type there. The contents are never repeated in an error.
 */
import { stripComments } from "jsonc-parser";

export type Parsed = { readonly value: unknown } | { readonly problems: readonly string[] };

/** The deepest nesting that the scanner accepts; JSON.parse would accept more. */
const depthMax = 200;

export function parseJson(octets: Uint8Array, name: string): Parsed {
  if ((octets[0] === 0xff && octets[1] === 0xfe) || (octets[0] === 0xfe && octets[1] === 0xff))
    return { problems: [`${name}: is UTF-16; save it as UTF-8`] };
  // The decoder removes a byte order mark, which some editors write and which has no meaning in UTF-8.
  const text = new TextDecoder("utf-8").decode(octets);
  const scanner = new Scanner(text);
  const wrong = scanner.run();
  if (wrong) return { problems: [`${name}: not valid JSON at ${placeIn(text, wrong.at)}: ${wrong.say}`] };
  if (scanner.twice.length > 0) {
    return {
      problems: scanner.twice.map(
        ({ key, at }) =>
          `${key}: appears twice, again at ${placeIn(text, at)}; only the last would count: make one of both`,
      ),
    };
  }
  try {
    return { value: JSON.parse(stripComments(text, " ")) };
  } catch {
    // The parser's error is not used, because it repeats a part of the file, which may be a secret.
    return { problems: [`${name}: not valid JSON`] };
  }
}

function placeIn(text: string, at: number): string {
  const before = text.slice(0, at).split("\n");
  return `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
}

interface Wrong {
  readonly at: number;
  readonly say: string;
}

/** Looks for mistakes only: the first place that is no JSON, and keys that occur twice. */
class Scanner {
  readonly twice: { readonly key: string; readonly at: number }[] = [];
  readonly #text: string;
  #at = 0;
  /** The positions of the brackets that are open. */
  readonly #open: number[] = [];
  /** The position of a comment that does not end; undefined: there is none. */
  #unclosed: number | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  run(): Wrong | undefined {
    this.#skip();
    if (this.#unclosed !== undefined) return this.#endless(this.#unclosed);
    if (this.#text.length === this.#at) return this.#wrong("the file is empty; {} is the least, and has the defaults");
    if (!/^[{["\d-]/.test(this.#rest(1)) && !/^(#|'|true|false|null)/.test(this.#rest(5)))
      return this.#wrong("a configuration begins with { and is JSON (not YAML, TOML or INI)");
    const wrong = this.#value("", 0);
    if (this.#unclosed !== undefined) return this.#endless(this.#unclosed);
    if (wrong) return wrong;
    this.#skip();
    if (this.#unclosed !== undefined) return this.#endless(this.#unclosed);
    return this.#at < this.#text.length ? this.#wrong("it should end here: one bracket too many?") : undefined;
  }

  #is(character: string): boolean {
    return this.#text[this.#at] === character;
  }

  #rest(count: number): string {
    return this.#text.slice(this.#at, this.#at + count);
  }

  /** Skips blanks and comments. */
  #skip(): void {
    for (;;) {
      const next = this.#rest(2);
      if (next === "//") {
        const end = this.#text.indexOf("\n", this.#at);
        this.#at = end < 0 ? this.#text.length : end;
      } else if (next === "/*") {
        const end = this.#text.indexOf("*/", this.#at + 2);
        if (end < 0) this.#unclosed ??= this.#at;
        this.#at = end < 0 ? this.#text.length : end + 2;
      } else if (/^[ \t\r\n]/.test(next)) this.#at++;
      else return;
    }
  }

  #endless(at: number): Wrong {
    return { at, say: "a comment that begins here does not end: */ is missing" };
  }

  #value(path: string, depth: number): Wrong | undefined {
    if (depth > depthMax) return this.#wrong("too many brackets in one another");
    if (this.#is("{")) return this.#inBrackets("}", path, depth);
    if (this.#is("[")) return this.#inBrackets("]", path, depth);
    if (this.#is('"')) return this.#string();
    const word = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/.exec(
      this.#rest(400),
    )?.[0];
    if (word === undefined) return this.#unexpected("a value");
    this.#at += word.length;
    return undefined;
  }

  #inBrackets(end: "}" | "]", path: string, depth: number): Wrong | undefined {
    this.#open.push(this.#at++);
    const keys = new Set<string>();
    this.#skip();
    for (let index = 0; !this.#is(end) || index > 0; index++) {
      let key = String(index);
      if (end === "}") {
        if (!this.#is('"')) return this.#unexpected("a key");
        const from = this.#at;
        const wrong = this.#string();
        if (wrong) return wrong;
        key = unquoted(this.#text.slice(from, this.#at));
        if (keys.has(key)) this.twice.push({ key: path === "" ? key : `${path}.${key}`, at: from });
        keys.add(key);
        this.#skip();
        if (!this.#is(":")) return this.#unexpected("a colon");
        this.#at++;
        this.#skip();
      }
      const wrong = this.#value(path === "" ? key : `${path}.${key}`, depth + 1);
      if (wrong) return wrong;
      this.#skip();
      if (this.#is(end)) break;
      if (!this.#is(",")) return this.#unexpected("a comma");
      const comma = this.#at++;
      this.#skip();
      if (this.#is(end)) return { at: comma, say: `delete this comma: nothing follows it before the ${end}` };
    }
    this.#at++;
    this.#open.pop();
    return undefined;
  }

  #string(): Wrong | undefined {
    const found = /^"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/u.exec(this.#text.slice(this.#at));
    if (!found)
      return this.#wrong(
        "a text that begins here does not end, or has a line end or a lone \\ in it (type \\\\ for one \\)",
      );
    this.#at += found[0].length;
    return undefined;
  }

  #unexpected(wanted: string): Wrong {
    const rest = this.#rest(5);
    if (rest === "") {
      const open = this.#open.at(-1);
      if (open === undefined) return this.#wrong("it ends too early");
      const bracket = this.#text[open] === "[" ? "]" : "}";
      return this.#wrong(`it ends too early: a ${bracket} is missing for ${placeIn(this.#text, open)}`);
    }
    if (rest.startsWith("#")) return this.#wrong("a comment begins with //, not with #");
    if (/^['\u2018-\u201d]/.test(rest)) return this.#wrong('keys and texts stand in double quotes: "..."');
    if (wanted === "a comma") return this.#wrong("a comma is missing before this");
    if (wanted === "a colon") return this.#wrong("a colon is missing between key and value");
    if (wanted === "a key") return this.#wrong('a key is expected here, in double quotes: "..."');
    if (/^(True|False|None|yes|no\b|on\b|off\b)/.test(rest)) return this.#wrong("type true, false or null");
    if (/^[\w.+-]/.test(rest)) return this.#wrong('a text stands in double quotes: "..."; a number has no unit');
    return this.#wrong("a value is expected here");
  }

  #wrong(say: string): Wrong {
    return { at: this.#at, say };
  }
}

function unquoted(text: string): string {
  const value: unknown = JSON.parse(text);
  return String(value);
}
