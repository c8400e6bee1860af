/** The manual page and the completion for bash, made from the list of commands. */
import type { Command, Option } from "commander";
import { examples } from "./examples.ts";
import { tokenVariable } from "./place.ts";

/** The manual page in troff, for `man`. */
export function manualPage(program: Command, version: string): string {
  const name = program.name();
  const lines = [
    `.TH ${name.toUpperCase()} 1 "" "${name} ${version}" "User Commands"`,
    ".SH NAME",
    `${plain(name)} \\- ${plain(program.description())}`,
    ".SH SYNOPSIS",
    `.B ${plain(name)}`,
    ".I command",
    "[options]",
    ".SH COMMANDS",
    ...program.commands.flatMap((command) => section(command, "")),
    ".SH FILES",
    ".TP",
    ".I gateway.config.json",
    "The configuration, unless \\-c or $MQTT_SN_GATEWAY_CONFIG names another. JSON, with comments.",
    ".SH ENVIRONMENT",
    ".TP",
    ".B MQTT_SN_GATEWAY_CONFIG",
    "The configuration where no option names one.",
    ".TP",
    `.B ${tokenVariable}`,
    "A token of console token add, for sessions and queue where they ask by HTTP.",
    ".TP",
    ".B NO_COLOR",
    "No colours in the log.",
    ".SH EXAMPLES",
    ...(examples[""] ?? []).flatMap(exampleLines),
  ];
  return `${lines.join("\n")}\n`;
}

/** Completes commands, and after a command its options and subcommands. */
export function bashCompletion(program: Command): string {
  const name = program.name();
  const rows = [...wordsOf(program, "")].map(([path, words]) => `    "${path}") words="${words.join(" ")}" ;;`);
  const paths = [...wordsOf(program, "")]
    .map(([path]) => path)
    .filter((path) => path !== "")
    .map((path) => `      "${path.includes(" ") ? path : ` ${path}`}") path="${path}" ;;`);
  return `# Completion of ${name} for bash. Made from the list of commands by npm run docs.
_mqtt_sn_gateway() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" path="" word words
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$path $word" in
${paths.join("\n")}
    esac
  done
  case "$path" in
${rows.join("\n")}
  esac
  # Behind an option stands its value: most are files.
  if [[ "$previous" != -* || "$current" == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  fi
  if [[ \${#COMPREPLY[@]} -eq 0 ]]; then mapfile -t COMPREPLY < <(compgen -f -- "$current"); fi
}
complete -F _mqtt_sn_gateway ${name}
`;
}

function section(command: Command, before: string): string[] {
  const name = `${before}${command.name()}`;
  const usage = command.registeredArguments.map((argument) => {
    const text = argument.variadic ? `${argument.name()}...` : argument.name();
    return argument.required ? text : `[${text}]`;
  });
  return [
    `.SS ${plain([name, ...usage].join(" "))}`,
    plain(sentence(command.description())),
    ...command.registeredArguments.flatMap((argument) =>
      argument.description === "" ? [] : [".TP", `.I ${plain(argument.name())}`, plain(argument.description)],
    ),
    ...command.options.filter(({ hidden }) => !hidden).flatMap(optionLines),
    ...(examples[name] ?? []).flatMap(exampleLines),
    ...command.commands.flatMap((each) => section(each, `${name} `)),
  ];
}

function optionLines({ flags, description, defaultValue }: Option): string[] {
  const usual =
    defaultValue === undefined || defaultValue === false ? "" : ` (default: ${JSON.stringify(defaultValue)})`;
  return [".TP", `.B ${plain(flags)}`, plain(description + usual)];
}

function exampleLines({ type, does }: { readonly type: string; readonly does: string }): string[] {
  return [".PP", `${plain(sentence(does))}:`, ".PP", ".RS 4", `\\fB${plain(type)}\\fR`, ".RE"];
}

function* wordsOf(command: Command, path: string): Generator<readonly [path: string, words: readonly string[]]> {
  const options = command.options.flatMap(({ short, long }) => [short, long].filter((each) => each !== undefined));
  yield [
    path,
    [...command.commands.map((each) => each.name()), ...options, path === "" ? "--version" : "", "--help"].filter(
      Boolean,
    ),
  ];
  for (const each of command.commands) yield* wordsOf(each, path === "" ? each.name() : `${path} ${each.name()}`);
}

/** Escapes the characters that have a meaning in troff. */
function plain(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^([.'])/gm, "\\&$1");
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
