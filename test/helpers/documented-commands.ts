/** The command lines that documents show: of code blocks, and between backticks. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface DocumentedCommand {
  readonly document: string;
  /** Words after the program's name, as a shell would make them. */
  readonly words: readonly string[];
  readonly isInBlock: boolean;
}

export function documentedCommands(): readonly DocumentedCommand[] {
  return documents().flatMap((document) => commandsIn(document, readFileSync(join(root, document), "utf8")));
}

function documents(): readonly string[] {
  const inside = (folder: string) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md") && !/node_modules|^measurements/.test(name)) // those are transcripts
      .map((name) => join(folder, name));
  return ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md", ...inside("docs"), ...inside("hardware")];
}

function commandsIn(document: string, text: string): DocumentedCommand[] {
  const found: DocumentedCommand[] = [];
  const add = (line: string, isInBlock: boolean) => {
    const command = /^(?:\$ )?(?:sudo )?(?:mqtt-sn-gateway|node dist\/main\.js) (.+)$/.exec(line.trim())?.[1];
    const words = command === undefined ? [] : wordsOf(command);
    if (words.length > 0) found.push({ document, words, isInBlock });
  };
  const prose = text.replace(/```\w*\n([\s\S]*?)```/g, (_, block: string) => {
    for (const line of block.split("\n")) add(line, true);
    return "";
  });
  for (const [, line = ""] of prose.matchAll(/`([^`]+)`/g)) add(line, false);
  return found;
}

/** What comes behind a pipe, `&`, `>` or `#` is not the command's. */
function wordsOf(command: string): string[] {
  const words: string[] = [];
  for (const [, single, double, plain] of command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)) {
    if (plain !== undefined && /^([|&>#]|2>)/.test(plain)) break;
    words.push(single ?? double ?? plain ?? "");
  }
  return words;
}
