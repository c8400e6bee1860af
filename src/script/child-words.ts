/**
 * The messages between the gateway and the process of scripts. Messages of the process are validated, because other
 * people's code runs in it.
 */
import { z } from "zod";
import type { Question, ScriptSource } from "./question.ts";
import type { Loaded, Ran } from "./sandbox.ts";

export type ChildCommand =
  | { readonly do: "load"; readonly scripts: readonly ScriptSource[] }
  | { readonly do: "ask"; readonly id: number; readonly question: Question };

export type ChildReport =
  | { readonly is: "ready" }
  | { readonly is: "loaded"; readonly scripts: readonly Loaded[] }
  | { readonly is: "answered"; readonly id: number; readonly answer: Ran };

const octetsMax = 65_535;
const text = z.string().max(4_000);
const isOverTime = z.boolean().exactOptional();

const answer: z.ZodType<Ran> = z.discriminatedUnion("is", [
  z.object({
    is: z.literal("made"),
    payload: z.instanceof(Uint8Array).refine((octets) => octets.byteLength <= octetsMax),
    warnings: z.array(z.string()).max(20),
    isOverTime,
  }),
  z.object({ is: z.literal("unfit"), why: text, isOverTime }),
  z.object({ is: z.literal("asItIs"), isOverTime }),
]);

const report: z.ZodType<ChildReport> = z.discriminatedUnion("is", [
  z.object({ is: z.literal("ready") }),
  z.object({
    is: z.literal("loaded"),
    scripts: z.array(
      z.object({ file: z.string(), problem: text.exactOptional(), can: z.array(z.enum(["up", "down"])) }),
    ),
  }),
  z.object({ is: z.literal("answered"), id: z.number(), answer }),
]);

/** Undefined: the message is not valid. */
export function parseReport(said: unknown): ChildReport | undefined {
  const { success, data } = report.safeParse(said);
  return success ? data : undefined;
}
