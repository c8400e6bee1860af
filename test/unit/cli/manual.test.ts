/** Manual page, completion and examples are made from the list of commands, and true. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { examples } from "../../../src/cli/examples.ts";
import { bashCompletion, manualPage } from "../../../src/cli/manual.ts";
import { commandLine } from "../../../src/cli/program.ts";

const root = new URL("../../../", import.meta.url);
const { version } = JSON.parse(readFileSync(new URL("package.json", root), "utf8")) as { version: string };

test("what lies in docs/command is what they are made to; if not: npm run docs", () => {
  const there = (name: string) => readFileSync(new URL(`docs/command/${name}`, root), "utf8");
  expect(there("mqtt-sn-gateway.1")).toBe(manualPage(commandLine(), version));
  expect(there("mqtt-sn-gateway.bash")).toBe(bashCompletion(commandLine()));
});

test("every example is a command with options that it has, and stands in the help", () => {
  for (const [path, all] of Object.entries(examples)) {
    const named = commandAt(path.split(" ").filter(Boolean));
    let help = "";
    named.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
    for (const { type } of all) {
      expect(help).toContain(type);
      const [name, ...words] = (type.split(" | ")[0] ?? "").split(" ");
      expect(name).toBe("mqtt-sn-gateway");
      let command = commandLine();
      while (command.commands.some((each) => each.name() === words[0]))
        command = commandAt([words.shift() ?? ""], command);
      for (const word of words.filter((each) => each.startsWith("-") && each !== "-"))
        expect(
          command.options.some(({ short, long }) => word === short || word === long),
          `${type}: ${word}`,
        ).toBe(true);
    }
  }
});

test.each([
  ["", "se", ["sessions"]],
  ["sessions", "sh", ["show"]],
  ["queue purge", "--cl", ["--client"]],
  ["start", "--con", ["--config"]],
  ["demo", "", ["--port", "--seconds"]],
])("bash completes: %s %s", (before, typed, wanted) => {
  const words = ["mqtt-sn-gateway", ...before.split(" ").filter(Boolean), typed];
  const script = fileURLToPath(new URL("docs/command/mqtt-sn-gateway.bash", root));
  const line = `source ${script}; COMP_WORDS=(${words.map((word) => `"${word}"`).join(" ")}); COMP_CWORD=${words.length - 1}; _mqtt_sn_gateway; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync("bash", ["-c", line], { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(stdout.split("\n")).toEqual(expect.arrayContaining(wanted));
});

function commandAt(path: readonly string[], from: Command = commandLine()): Command {
  return path.reduce((command, name) => {
    const found = command.commands.find((each) => each.name() === name);
    if (!found) throw new Error(`there is no command ${name}`);
    return found;
  }, from);
}
