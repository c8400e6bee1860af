/** Declarations of payloads as a configuration has them: which one is used, what is refused, and what a person is shown. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { decodePayload, payloadsInWords } from "../../src/cli/payload.ts";
import { verdictOn } from "../../src/config/checked.ts";
import { loadConfig, parseConfig, readConfig } from "../../src/config/load.ts";
import { payloadPolicy, scriptEntries, shownBy } from "../../src/config/payloads.ts";
import { readScripts } from "../../src/config/scripts.ts";
import { GatewayError } from "../../src/errors.ts";
import { formatNames } from "../../src/payload/formats.ts";

const octets = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));
const policyOf = (payloads: unknown) => payloadPolicy(parseConfig({ payloads }).payloads);
const text = (payload: Uint8Array) => Buffer.from(payload).toString();

const climate = {
  topics: "barn/+/climate",
  fields: [
    { name: "temperature", type: "i16", scale: 0.1 },
    { name: "humidity", type: "u8" },
  ],
};

describe("who said it, within what is decoded", () => {
  const accepted = Date.UTC(2026, 0, 2, 3, 4, 5);
  const about = { client: "c1", transport: "radio", rssi: -61, accepted: "2026-01-02T03:04:05.000Z" };
  const origin = () => ({ transport: "radio", rssi: -61, acceptedAt: accepted });

  test("each as far as it is known; what the device calls so is not believed", () => {
    const policy = policyOf([
      { ...climate, sender: "from" },
      { topics: "j", format: "json", sender: "from" },
      { topics: "plain", format: "json" },
    ]);
    const said = (topic: string, hex: string, clientId: string | undefined, known?: typeof origin) => {
      const made = policy?.up(clientId, topic, octets(hex), known);
      return made?.is === "made" && JSON.parse(text(made.payload));
    };
    expect(said("barn/1/climate", "00d730", "c1", origin)).toEqual({ temperature: 21.5, humidity: 48, from: about });
    expect(said("barn/1/climate", "00d730", undefined)).toEqual({ temperature: 21.5, humidity: 48, from: {} });
    const liar = Buffer.from('{"t":1,"from":{"client":"boss"}}').toString("hex");
    expect(said("j", liar, "c1", origin)).toEqual({ t: 1, from: about });
    expect(said("j", Buffer.from("[1]").toString("hex"), "c1", origin)).toEqual([1]);
    expect(said("plain", liar, "c1", origin)).toEqual({ t: 1, from: { client: "boss" } });
  });

  test("of scripts, too", () => {
    const { payloads } = parseConfig({ payloads: [{ topics: "t", script: "a.js", sender: "from" }] });
    const made = scriptEntries(payloads, payloadPolicy(payloads))
      ?.up("c1", "t")
      ?.made("c1", "t", Buffer.from('{"t":1}'), origin);
    expect(made?.is === "made" && JSON.parse(text(made.payload))).toEqual({ t: 1, from: about });
  });
});

describe("which declaration is used", () => {
  test("none: the core does not ask", () => {
    expect(policyOf([])).toBeUndefined();
  });

  test("the first that fits topic and client decides, also where the payload does not fit it", () => {
    const policy = policyOf([
      { ...climate, clients: "old-*", fields: [{ name: "t", type: "u8" }] },
      climate,
      { topics: "#", format: "json" },
    ]);
    const up = (clientId: string | undefined, topic: string, hex: string) => policy?.up(clientId, topic, octets(hex));
    expect(up("new-1", "barn/1/climate", "00d730")).toMatchObject({ is: "made", topicName: "barn/1/climate" });
    expect(up("old-1", "barn/1/climate", "00d730")).toMatchObject({ is: "unfit" });
    expect(up(undefined, "barn/1/climate", "00d730")).toMatchObject({ is: "made" }); // QoS -1
    expect(up("new-1", "yard", "7b7d")).toMatchObject({ is: "made" });
  });

  test("a name is looked for once, and many names do not fill the memory", () => {
    const policy = policyOf([climate]);
    for (let i = 0; i < 10_000; i++) policy?.up("c", `t/${i}`, octets("00"));
    const made = policy?.up("c", "barn/9/climate", octets("00d730"));
    expect(made?.is === "made" && text(made.payload)).toBe('{"temperature":21.5,"humidity":48}');
  });

  test("names of topics are made of the message's; a client id that no topic may hold is changed", () => {
    const policy = policyOf([{ ...climate, to: "things/{client}/{topic}/json", raw: "{topic}/raw" }]);
    expect(policy?.up("a+b#", "barn/1/climate", octets("00d730"))).toMatchObject({
      topicName: "things/a_b_/barn/1/climate/json",
      rawTopicName: "barn/1/climate/raw",
    });
    expect(policy?.up(undefined, "barn/1/climate", octets("00d730"))).toMatchObject({
      topicName: "things/-/barn/1/climate/json",
    });
  });

  test("direction: what is only for one is not used for the other", () => {
    const up = policyOf([{ ...climate, direction: "up" }]);
    const down = policyOf([{ ...climate, direction: "down" }]);
    const command = Buffer.from('{"temperature":21.5,"humidity":48}');
    expect(up?.down("c", "barn/1/climate", command)).toBeUndefined();
    expect(down?.up("c", "barn/1/climate", octets("00d730"))).toBeUndefined();
    expect(down?.down("c", "barn/1/climate", command)).toEqual({ is: "made", payload: octets("00d730") });
    expect(down?.down("c", "barn/1/climate", Buffer.from("on"))).toBeUndefined();
    expect(down?.down("c", "barn/1/climate", Buffer.from("{}"))).toEqual({
      is: "unfit",
      why: "temperature is missing",
    });
  });
});

describe("what is refused", () => {
  test.each([
    [{ topics: "t" }, 'payloads.0: give "fields", "format" or "script"'],
    [{ ...climate, format: "json" }, "one of them"],
    [{ topics: "t", format: "bthome", direction: "down" }, "for reading only"],
    [{ ...climate, raw: "{topic}" }, "payloads.0.raw"],
    [
      {
        topics: "t",
        fields: [
          { type: "bytes", name: "a" },
          { type: "u8", name: "b" },
        ],
      },
      "payloads.0.fields.0.length",
    ],
    [
      {
        topics: "t",
        fields: [
          { type: "u8", name: "a" },
          { type: "u8", name: "a" },
        ],
      },
      '"a" is taken',
    ],
    [{ topics: "t", fields: [{ type: "u8", name: "a", scale: 0 }] }, "payloads.0.fields.0.scale"],
    [{ topics: "t", fields: [{ type: "u8", name: "a", bits: [{ name: "b", bit: 8 }] }] }, "ends at bit 8"],
    [
      {
        topics: "t",
        fields: [
          { type: "u8", name: "a", optional: true },
          { type: "u8", name: "b" },
        ],
      },
      "optional",
    ],
    [{ topics: "t", fields: [{ type: "u9", name: "a" }] }, "payloads.0.fields.0.type"],
    [{ topics: "a/#/b", format: "json" }, "payloads.0.topics"],
    [{ topics: "t", format: "json", to: "a/+" }, "payloads.0.to"],
    [{ topics: "t", format: "json", script: "a.js" }, "one of them"],
    [{ topics: "t", format: "json", fPort: 3 }, "payloads.0.fPort"],
    [{ topics: "t", script: "a.js", fPort: 0 }, "payloads.0.fPort"],
    [{ ...climate, sender: "humidity" }, "payloads.0.sender: is the name of a field"],
  ])("%j: %s", (declaration, problem) => {
    const parse = () => parseConfig({ payloads: [declaration] });
    expect(parse).toThrow(GatewayError);
    const problems = (() => {
      try {
        parse();
      } catch (error) {
        return error instanceof GatewayError ? JSON.stringify(error.details) : "";
      }
      return "";
    })();
    expect(problems.replaceAll('\\"', '"')).toContain(problem);
  });
});

describe("what a person is shown", () => {
  test("a sample of each format and of fields", () => {
    const { payloads } = parseConfig({
      payloads: [climate, ...formatNames.map((format) => ({ topics: format, format }))],
    });
    const lines = payloadsInWords(payloads);
    expect(lines[0]).toBe('barn/+/climate: 006464 says {"temperature":10,"humidity":100}');
    expect(lines).toHaveLength(1 + formatNames.length);
    for (const line of lines) expect(line).toMatch(/says \{"/);
  });

  test("decode --payload", async () => {
    const file = join(tmpdir(), `payloads-${process.pid}.json`);
    writeFileSync(file, JSON.stringify({ payloads: [{ ...climate, raw: "{topic}/raw" }] }));
    const said: string[] = [];
    const write = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
      said.push(String(chunk));
      return true;
    });
    const codes: unknown[] = [];
    for (const [topic, hex] of [
      ["barn/1/climate", "00 d7 30"],
      ["barn/1/climate", "00"],
      ["yard", "00"],
    ] as const) {
      await decodePayload(topic, [hex], { config: file });
      codes.push(process.exitCode);
    }
    write.mockRestore();
    process.exitCode = undefined;
    expect(codes).toEqual([0, 2, 2]);
    expect(said.join("")).toBe(
      'barn/1/climate {"temperature":21.5,"humidity":48}\nbarn/1/climate/raw 00d730 (octets)\n' +
        "barn/1/climate: temperature takes 2 octets from octet 0 on, and 1 are there; it is forwarded unchanged\n" +
        `yard: no declaration in ${file} is for it and every client (--client NAME asks for one); it is forwarded unchanged\n`,
    );
  });
});

describe("scripts", () => {
  const folder = mkdtempSync(join(tmpdir(), "scripts-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "gateway.config.json");
  const problemsWith = (text: string, script = "barn.js") => {
    writeFileSync(join(folder, "barn.js"), text);
    writeFileSync(file, JSON.stringify({ payloads: [{ topics: "t", script }] }));
    return verdictOn(readConfig(file)).problems;
  };

  test("a file is found beside the configuration, and read once for all entries that name it", () => {
    writeFileSync(join(folder, "barn.js"), "function decodeUplink() {}");
    writeFileSync(file, JSON.stringify({ payloads: ["a", "b"].map((topics) => ({ topics, script: "./barn.js" })) }));
    const { payloads } = loadConfig(file);
    expect(readScripts(payloads)).toEqual([{ file: join(folder, "barn.js"), text: "function decodeUplink() {}" }]);
    const can = [{ file: join(folder, "barn.js"), can: ["up", "down"] as const }];
    expect(payloadsInWords(payloads, can)[0]).toBe(
      "a: barn.js decodes what devices say, and encodes what they are told",
    );
  });

  test("check says what is wrong with its grammar, with file and line, and runs nothing", () => {
    expect(problemsWith("throw 1; function decodeUplink() {}")).toEqual([]);
    expect(problemsWith("for (;;);")).toEqual([]);
    const [problem, ...more] = problemsWith("\n\nfunction decodeUplink( {");
    expect(problem).toBe(`payloads.0.script: ${join(folder, "barn.js")}:3: Unexpected end of input`);
    expect(more).toEqual([]);
    expect(problemsWith("export function decodeUplink() {}")[0]).toMatch(/barn\.js:1: Unexpected token 'export'/);
  });

  test("one that is not there, or too long", () => {
    expect(problemsWith("", "nowhere.js")[0]).toMatch(/^payloads\.0\.script: there is no file .*nowhere\.js/);
    expect(problemsWith(" ".repeat(600_000))[0]).toMatch(/has 600000 octets; a script has at most 524288/);
    expect(() => readScripts(parseConfig({ payloads: [{ topics: "t", script: "/nowhere.js" }] }).payloads)).toThrow(
      expect.objectContaining({ code: "ERR_PAYLOAD_SCRIPT" }),
    );
  });

  test("nobody asked it: what devices say goes as it is, and a command is not sent as it is", () => {
    const policy = policyOf([
      { topics: "t", script: "a.js" },
      { topics: "#", format: "json" },
    ]);
    expect(policy?.up("c", "t", octets("00"))).toEqual({ is: "unfit", why: "the script a.js was not asked" });
    expect(policy?.down("c", "t", Buffer.from("{}"))).toMatchObject({ is: "unfit" });
    expect(policy?.down("c", "t", octets("00"))).toBeUndefined();
    expect(
      shownBy(parseConfig({ payloads: [{ topics: "t", script: "a.js" }] }).payloads)("in", "c", "t", octets("00")),
    ).toBeUndefined();
  });

  test("of one topic, the entries that decide for some client", () => {
    const { payloads } = parseConfig({
      payloads: [
        { topics: "t", clients: "a*", script: "a.js" },
        { topics: "t", clients: "b", format: "json" },
        { topics: "t", direction: "up", script: "up.js" },
        { topics: "t", script: "rest.js", to: "{topic}/{client}" },
        { topics: "t", script: "never.js" },
      ],
    });
    const entries = scriptEntries(payloads, payloadPolicy(payloads));
    expect(entries?.downFor("t").map((entry) => entry.file)).toEqual(["a.js", "rest.js"]);
    expect(entries?.down("b", "t")).toBeUndefined();
    expect(entries?.down("c", "t")?.file).toBe("rest.js");
    expect(entries?.up("c", "t")?.file).toBe("up.js");
    expect(entries?.up(undefined, "u")).toBeUndefined();
    expect(entries?.downFor("t")[1]?.made("c", "t", Buffer.from("1"))).toMatchObject({ topicName: "t/c" });
  });
});
