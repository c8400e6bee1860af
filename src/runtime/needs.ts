/**
 * Lists what the operator has to look at: one sentence each, and advice. Pure: facts in, lines out, the worst first.
 */
import type { BrokerFacts, TransportFacts } from "./installation.ts";
import { duration } from "./state-words.ts";

export interface Need {
  readonly level: "bad" | "warn" | "note";
  readonly says: string;
  readonly advice: string;
  /** The view of the console that shows more; "" = none. */
  readonly view: string;
}

export interface NeedFacts {
  readonly brokers: readonly BrokerFacts[];
  readonly transports: readonly TransportFacts[];
  readonly storeFails: boolean;
  readonly pair?:
    | { readonly role: string; readonly trouble: string; readonly sinceSeconds: number; readonly other?: object }
    | undefined;
  readonly keepsWhenAway: boolean;
  readonly owedToBroker: number;
  readonly deadLetters: number;
  readonly late: number;
  readonly lost: number;
  readonly knocks: number;
  readonly clockIsTrusted: boolean;
  readonly isRestoring: boolean;
}

export function needsOf(facts: NeedFacts): Need[] {
  return [
    ...ofStore(facts),
    ...ofPair(facts),
    ...facts.brokers.flatMap((broker) => ofBroker(broker, facts)),
    ...ofRest(facts),
  ];
}

/**
 * An active gateway without a partner is reported after these seconds, because a partner that restarts is back before.
 */
const aloneSeconds = 30;

function ofStore({ storeFails }: NeedFacts): Need[] {
  if (!storeFails) return [];
  const says = "The store cannot write: publications at QoS 1 and 2 that need it are refused.";
  const advice =
    "Free some disk space, or check the kernel's log for errors of the disk. The gateway tries again every two seconds.";
  return [{ level: "bad", says, advice, view: "" }];
}

function ofPair({ pair }: NeedFacts): Need[] {
  if (pair?.trouble === "" && pair.role === "active" && !pair.other && pair.sinceSeconds >= aloneSeconds)
    return [
      {
        level: "warn",
        says: "There is no standby: when this gateway ends, no other one takes over.",
        advice: "Start the other gateway of the pair, and check that it reaches Redis.",
        view: "",
      },
    ];
  if (!pair || pair.trouble === "") return [];
  const says =
    pair.role === "active"
      ? "The lease of the pair cannot be renewed: this gateway will give up soon, and the other one takes over."
      : "This gateway is the standby, and it cannot take over.";
  return [
    { level: "bad", says: `${says} ${pair.trouble}`, advice: "Check the Redis server of `store.redis`.", view: "" },
  ];
}

function ofBroker({ name, url, isThere, sinceSeconds, why }: BrokerFacts, facts: NeedFacts): Need[] {
  if (isThere) return [];
  const whose = `${name === "" ? "The broker" : `The broker of ${name}`}${url === "" ? "" : ` ${url}`}`;
  const since = sinceSeconds === undefined ? "has not been there yet" : `has been away for ${duration(sinceSeconds)}`;
  const cause = why === "" ? "" : ` (${why})`;
  const meanwhile = facts.keepsWhenAway
    ? `Until then publications at QoS 1 and 2 are kept on disk (${facts.owedToBroker} wait); publications at QoS 0 are lost.`
    : "Until then devices are answered 'congestion' and try again.";
  return [
    {
      level: "warn",
      says: `${whose} ${since}${cause}. ${meanwhile}`,
      advice: "Check the broker, the network to it, and `upstream`. The gateway tries again without help.",
      view: "",
    },
  ];
}

function ofRest(facts: NeedFacts): Need[] {
  const needs: Need[] = [];
  for (const { name, links, stats } of facts.transports) {
    if (links && !links.up)
      needs.push({ level: "bad", says: `${name}: ${links.condition}`, advice: "See Radio.", view: "radio" });
    if ((stats.kernelDrops ?? 0) > 0)
      needs.push({
        level: "note",
        says: `${name}: the kernel dropped ${counted(stats.kernelDrops ?? 0, "datagram")} before they could be read.`,
        advice: "Raise `receiveBufferBytes` of the transport, and net.core.rmem_max.",
        view: "radio",
      });
  }
  if (facts.isRestoring)
    needs.push({
      level: "note",
      says: "The sessions of the last run are still being read: not all of them are on this page yet.",
      advice: "Nothing: devices are served meanwhile. The log says when all are read.",
      view: "",
    });
  if (!facts.clockIsTrusted)
    needs.push({
      level: "warn",
      says: "The clock of this machine is not set: messages do not age while the gateway is down.",
      advice: "Let the machine set its clock from the network.",
      view: "",
    });
  const few = (count: number, one: string, many: string) => (count === 1 ? one : `${count} ${many}`);
  if (facts.knocks > 0)
    needs.push({
      level: "warn",
      says: `${few(facts.knocks, "One client was", "clients were")} not admitted.`,
      advice: "If the device is yours, admit it. If not, nothing has to be done.",
      view: "knocking",
    });
  if (facts.late > 0)
    needs.push({
      level: "warn",
      says: `${few(facts.late, "One device is", "devices are")} late.`,
      advice: "It will soon be lost. Check its battery and its radio.",
      view: "devices?state=late",
    });
  if (facts.lost > 0)
    needs.push({
      level: "warn",
      says: `${few(facts.lost, "One device is", "devices are")} lost.`,
      advice: "It sent no DISCONNECT. Check its battery and its radio.",
      view: "devices?state=lost",
    });
  if (facts.deadLetters > 0)
    needs.push({
      level: "note",
      says: `${few(facts.deadLetters, "One message is a dead letter", "messages are dead letters")}.`,
      advice: "See why each was dropped; send it again, or delete it.",
      view: "queues",
    });
  return needs;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
