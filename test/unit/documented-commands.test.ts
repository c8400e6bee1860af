/** Every command line of the documents is one that the program takes: the command is there, and each of its options. */
import type { Command } from "commander";
import { expect, test } from "vitest";
import { commandLine } from "../../src/cli/program.ts";
import { type DocumentedCommand, documentedCommands } from "../helpers/documented-commands.ts";

test("documents show commands and options that there are", () => {
  const documented = documentedCommands();
  expect(documented.length).toBeGreaterThan(40);
  expect(documented.flatMap(problemsOf)).toEqual([]);
});

test("a command, an option and an argument too many are noticed", () => {
  const problems = (...words: string[]) => problemsOf({ document: "x.md", words, isInBlock: true });
  expect(problems("pub", "-t", "a", "-m", "1")).toEqual([]);
  expect(problems("publish", "-t", "a")).toEqual(["x.md: publish -t a: there is no command publish"]);
  expect(problems("pub", "--topics", "a")).toEqual(["x.md: pub --topics a: pub has no --topics"]);
  expect(problems("check", "now")).toEqual(["x.md: check now: check takes no now"]);
});

function problemsOf({ document, words }: DocumentedCommand): string[] {
  let command = commandLine();
  let i = 0;
  for (; i < words.length && command.commands.length > 0; i++) {
    const next = subcommand(command, words[i]);
    if (!next) break;
    command = next;
  }
  const say = (problem: string) => [`${document}: ${words.join(" ")}: ${problem}`];
  if (command.parent === null) return say(`there is no command ${words[0]}`);
  let places = command.registeredArguments.length;
  if (command.registeredArguments.some(({ variadic }) => variadic)) places = Number.POSITIVE_INFINITY;
  for (; i < words.length; i++) {
    const word = words[i] ?? "";
    if (/^--?[a-zA-Z1]/.test(word)) {
      const [flag = "", given] = word.split("=");
      const option = optionsOf(command).find(({ short, long }) => flag === short || flag === long);
      if (!option && !["-h", "--help", "--version"].includes(flag)) return say(`${command.name()} has no ${flag}`);
      if (option && (option.required || option.optional) && given === undefined) i++;
    } else if (--places < 0) return say(`${command.name()} takes no ${word}`);
  }
  return [];
}

function subcommand(command: Command, name: string | undefined): Command | undefined {
  return command.commands.find((each) => each.name() === name || each.aliases().includes(name ?? ""));
}

function optionsOf(command: Command): Command["options"] {
  return command.parent ? [...command.options, ...optionsOf(command.parent)] : command.options;
}
