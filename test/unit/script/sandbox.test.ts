/** The interpreter for scripts: what a script may say, and that what it does wrong stays in it. */
import { beforeAll, describe, expect, test } from "vitest";
import type { Answer, Question } from "../../../src/script/question.ts";
import { Sandbox } from "../../../src/script/sandbox.ts";

let sandbox: Sandbox;

beforeAll(async () => {
  sandbox = await Sandbox.open({ runMs: 2_000, memoryBytes: 16 * 2 ** 20 });
});

const octets = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

function question(is: Question["is"], payload: Uint8Array, file = "a.js"): Question {
  return { file, is, payload, fPort: 5, recvTime: 86_400_000, variables: { topic: "barn/1", client: "c7" } };
}

const asked = async (text: string, is: Question["is"], payload: Uint8Array): Promise<Answer> => {
  const [loaded] = await sandbox.load([{ file: "a.js", text }]);
  expect(loaded?.problem).toBeUndefined();
  return sandbox.ask(question(is, payload));
};
const said = (answer: Answer) => (answer.is === "made" ? Buffer.from(answer.payload).toString() : answer);
const why = (answer: Answer) => (answer.is === "unfit" ? answer.why : answer);

describe("what scripts are told, and what they answer", () => {
  test("decodeUplink as The Things Network and ChirpStack call it", async () => {
    const text = `
      function decodeUplink(input) {
        const { bytes, fPort, recvTime, variables } = input;
        return {
          data: { t: ((bytes[0] << 8) | bytes[1]) / 10, fPort, day: recvTime.getUTCDate(), client: variables.client },
          warnings: ["battery low"],
          errors: [],
        };
      }`;
    const answer = await asked(text, "up", octets("00d7"));
    expect(said(answer)).toBe('{"t":21.5,"fPort":5,"day":2,"client":"c7"}');
    expect(answer).toMatchObject({ warnings: ["battery low"] });
  });

  test("encodeDownlink; and a function may be a constant", async () => {
    const text = "const encodeDownlink = ({ data }) => ({ bytes: [data.level, 255], fPort: 3 });";
    expect(await asked(text, "down", json({ level: 7 }))).toEqual({
      is: "made",
      payload: octets("07ff"),
      warnings: [],
    });
  });

  test("ChirpStack's older Decode and Encode", async () => {
    const text = `
      function Decode(fPort, bytes, variables) { return { first: bytes[0], fPort, topic: variables.topic }; }
      function Encode(fPort, obj) { return [fPort, obj.x]; }`;
    expect(said(await asked(text, "up", octets("2a")))).toBe('{"first":42,"fPort":5,"topic":"barn/1"}');
    expect(await asked(text, "down", json({ x: 9 }))).toMatchObject({ payload: octets("0509") });
  });

  test("a direction for which there is no function: as it is", async () => {
    expect(await asked("function decodeUplink() { return { data: 1 }; }", "down", json({}))).toEqual({ is: "asItIs" });
  });
});

describe("what makes no sense is unfit, with a reason", () => {
  const decode = async (body: string) =>
    why(await asked(`function decodeUplink(input) { ${body} }`, "up", octets("00")));
  const encode = async (body: string) =>
    why(await asked(`function encodeDownlink(input) { ${body} }`, "down", json({})));

  test("what it throws, with file and line", async () => {
    expect(await decode("\n null.x;")).toMatch(/^a\.js threw TypeError: .* at decodeUplink \(a\.js:2/);
    expect(await decode('throw "no";')).toMatch(/^a\.js threw no/);
    expect(await decode("throw { toString() { throw 1; } };")).toBe("a.js threw something that cannot be shown");
    expect(await decode("throw undefined;")).toMatch(/^a\.js threw undefined/);
  });

  test("its own errors", async () => {
    expect(await decode('return { data: {}, errors: ["too short", 3] };')).toBe("a.js says: too short; 3");
  });

  test("nothing, a promise, numbers for bytes that are none", async () => {
    for (const body of ["", "return;", "return null;", "return 7;", "return {};", "return { data: null };"])
      expect(await decode(body), body).toBe("a.js returned no data");
    expect(await decode("return Promise.resolve({ data: 1 });")).toBe("a.js returned no data");
    expect(await decode("return { data: () => 1 };")).toBe("a.js returned no data");
    expect(await encode("return {};")).toBe("a.js returned no bytes");
    for (const bytes of ["[256]", "[-1]", "[1.5]", '["1"]', "[null]", '"00ff"', "{}"])
      expect(await encode(`return { bytes: ${bytes} };`), bytes).toMatch(/not a list of numbers from 0 to 255/);
  });

  test("more than a message may have", async () => {
    expect(await decode('return { data: "x".repeat(70000) };')).toMatch(/made 70002 octets; at most 65535 are allowed/);
    expect(await encode("return { bytes: new Array(70000).fill(1) };")).toMatch(/made 70000 octets/);
  });

  test("a value in itself", async () => {
    expect(await decode("const a = {}; a.a = a; return { data: a };")).toMatch(/^a\.js threw TypeError: circular/);
  });
});

describe("what a script does wrong stays in it", () => {
  const good = { file: "good.js", text: "function decodeUplink({ bytes }) { return { data: bytes }; }" };
  const isGood = () => expect(said(sandbox.ask(question("up", octets("0102"), "good.js")))).toBe("[1,2]");

  test("a loop is ended, and the script can be asked again, as if it were new", async () => {
    const hasty = await Sandbox.open({ runMs: 20, memoryBytes: 16 * 2 ** 20 });
    const text = "let n = 0; function decodeUplink({ bytes }) { n++; while (bytes[0] === 1); return { data: n }; }";
    await hasty.load([{ file: "a.js", text }]);
    expect(hasty.ask(question("up", octets("00")))).toMatchObject({ is: "made" });
    expect(hasty.ask(question("up", octets("01")))).toEqual({
      is: "unfit",
      why: "a.js took more than 20 ms",
      isOverTime: true,
    });
    expect(said(hasty.ask(question("up", octets("00"))))).toBe("1");
    // Nor can it be caught.
    await hasty.load([{ file: "a.js", text: "function decodeUplink() { for (;;) try { for (;;); } catch {} }" }]);
    expect(hasty.ask(question("up", octets("01")))).toMatchObject({ isOverTime: true });
  });

  test("memory that grows, at once and from call to call; a stack that does", async () => {
    const grown = 'function decodeUplink() { const a = []; for (;;) a.push("x".repeat(1e5) + a.length); }';
    const kept =
      "var all = []; function decodeUplink() { all.push(new Array(2e5).fill(1.5)); return { data: all.length }; }";
    const deep = "function decodeUplink(i) { return decodeUplink(i); }";
    await sandbox.load([
      good,
      { file: "grown.js", text: grown },
      { file: "kept.js", text: kept },
      { file: "deep.js", text: deep },
    ]);
    const ask = (file: string) => sandbox.ask(question("up", octets("00"), file));
    expect(why(ask("grown.js"))).toMatch(/^grown\.js (threw InternalError: out of memory|ran out of memory|took more)/);
    expect(why(ask("deep.js"))).toMatch(
      /^deep\.js (threw InternalError: stack overflow|ran out of memory or of stack)/,
    );
    const first = Array.from({ length: 12 }, () => ask("kept.js").is);
    expect(first).toContain("made");
    expect(first).toContain("unfit");
    expect(first.lastIndexOf("made")).toBeGreaterThan(first.indexOf("unfit")); // its memory is new
    isGood();
  });

  test("prototypes are its own, and cannot change what it is told or what is made of its answer", async () => {
    const polluting = `
      Object.prototype.errors = ["polluted"];
      Object.prototype.bytes = [1];
      Array.prototype.slice = String.prototype.slice = () => { throw 1; };
      JSON.parse = JSON.stringify = () => "{}";
      Date = Map = undefined;
      Object.defineProperty(Object.prototype, "recvTime", { set() { throw 1; } });
      function decodeUplink(input) { return { data: { own: input.fPort, ["__proto__"]: { x: 1 } }, errors: undefined }; }`;
    await sandbox.load([good, { file: "a.js", text: polluting }]);
    expect(said(sandbox.ask(question("up", octets("00"))))).toBe('{"own":5,"__proto__":{"x":1}}');
    isGood();
    expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain("errors");
  });

  test("nothing of the machine is to be had", async () => {
    const text = `function decodeUplink() {
      const names = ["process", "require", "fetch", "setTimeout", "console", "Buffer", "WebAssembly", "std", "os"];
      return { data: names.filter((name) => typeof globalThis[name] !== "undefined") };
    }`;
    expect(said(await asked(text, "up", octets("00")))).toBe("[]");
    expect((await sandbox.load([{ file: "m.js", text: 'import * as std from "std";' }]))[0]?.problem).toMatch(
      /m\.js:1/,
    );
  });
});

describe("loading", () => {
  test("says file and line of what cannot be read, or throws", async () => {
    const problem = async (text: string) => (await sandbox.load([{ file: "b.js", text }]))[0]?.problem;
    expect(await problem("\nfunction decodeUplink( {")).toMatch(/^b\.js:2:\d+: SyntaxError: /);
    expect(await problem("\n\nnull.x")).toMatch(/^b\.js:3:\d+: TypeError: /);
    expect(await problem("const x = 1;")).toMatch(/^b\.js: has neither decodeUplink nor encodeDownlink/);
    expect(await problem("for (;;);")).toBe("b.js: took more than 1000 ms to load");
  });

  test("one that cannot be used leaves what was there; one that is not named is gone", async () => {
    await sandbox.load([{ file: "a.js", text: "function decodeUplink() { return { data: 1 }; }" }]);
    expect(await sandbox.load([{ file: "a.js", text: "oh no" }])).toMatchObject([
      { can: ["up"], problem: expect.any(String) },
    ]);
    expect(said(sandbox.ask(question("up", octets("00"))))).toBe("1");
    await sandbox.load([]);
    expect(sandbox.ask(question("up", octets("00")))).toMatchObject({ is: "unfit" });
  });
});
