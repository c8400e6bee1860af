/**
 * The process in which scripts run. It gets the scripts, and answers one question at a time. It has no secrets, decides nothing, and
 * nothing that it keeps is needed after its end.
 */
import process from "node:process";
import type { ChildCommand, ChildReport } from "./child-words.ts";
import { type Limits, Sandbox } from "./sandbox.ts";

const tell = (report: ChildReport): void => {
  if (process.connected) process.send?.(report);
};

process.on("disconnect", () => process.exit(0)); // the gateway has ended
process.on("SIGINT", () => {}); // from the terminal; the gateway ends this process
process.on("SIGTERM", () => process.exit(0));

const sandbox = await Sandbox.open(JSON.parse(process.argv[2] ?? "{}") as Limits);
process.on("message", (said) => {
  const command = said as ChildCommand;
  if (command.do === "load")
    return void sandbox.load(command.scripts).then((scripts) => tell({ is: "loaded", scripts }));
  tell({ is: "answered", id: command.id, answer: sandbox.ask(command.question) });
});
tell({ is: "ready" });
