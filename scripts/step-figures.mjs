// How long the gateway does one thing and nothing else with many sleeping clients of one shared connection: what a person asks for, which is done in
// slices, and what a broker or a person changes for all of them.
// Usage: node scripts/step-figures.mjs [sessions] [folder of another version]    (after npm run build)
import { resolve } from "node:path";
import { setImmediate } from "node:timers";
import { parkedWorld } from "./parked-world.mjs";

const count = Number(process.argv[2] ?? 100_000);
const version = resolve(process.argv[3] ?? `${import.meta.dirname}/..`);
const { core, dist, admitAll, restore } = await parkedWorld({ version, count });
const { createOperator } = await dist("runtime/operator.js");
const { emptyInstallation } = await dist("runtime/installation.js");
const { noLimits } = await dist("core/types.js");
restore();

console.log("| what | longest step, ms | in all, ms | CPU, ms |\n| --- | --- | --- | --- |");
const nothing = { letters: async () => [], fetch: (_client, _from, _limit, done) => done([]) };
const operator = createOperator(
  core,
  nothing,
  { handle() {} },
  () => performance.now(),
  () => {},
  {},
  emptyInstallation,
);
for (let round = 0; round < 2; round++) {
  const of = round === 0 ? "the first time" : "again";
  await watched(`overview, ${of}`, () => operator.overview(true));
  await watched(`a page of devices, ${of}`, () =>
    operator.devices({ sort: "heard", order: "up", offset: 0, limit: 100, search: `${round}` }),
  );
  await watched(`all sessions, ${of}`, () => operator.sessions());
  await watched(`depth of queues, ${of}`, () => operator.queue());
  await watched(`topics, ${of}`, () => operator.topics());
}

let now = 2;
let linkId;
const take = (effects) => {
  for (const effect of effects) if (effect.kind === "openLink") linkId = effect.link.linkId;
  return effects;
};
step("the shared connection is opened: overlapping filters are looked for", () => take(core.timeout(now)));
take(core.handle({ kind: "linkUp", linkId, sessionPresent: true, limits: noLimits }, now)); // what was there is ended
now += 1_000;
const asked = [];
const toAsk = (effects) => asked.push(...take(effects).filter(({ kind }) => kind === "subscribe"));
step("the broker has forgotten: the first filters are subscribed to", () =>
  toAsk(core.handle({ kind: "linkUp", linkId, sessionPresent: false, limits: noLimits }, now)),
);
const inFlight = asked.length;
let worst = 0;
for (let next = asked.shift(); next; next = asked.shift()) {
  const began = performance.now();
  toAsk(core.handle({ kind: "brokerAck", linkId, packetId: next.packetId, ack: "suback", code: 1 }, now));
  worst = Math.max(worst, performance.now() - began);
}
say(`the broker answers each (${inFlight} in flight)`, worst, "", "");
step("it stood still for 30 s", () => core.handle({ kind: "stoodStill", ms: 30_000 }, now));
steps("new access rules", () => core.handle({ kind: "accessChanged", access: admitAll }, now));
step("an orderly end", () => core.handle({ kind: "shutdown" }, now));

function step(what, work) {
  const began = performance.now();
  work();
  const ms = performance.now() - began;
  say(what, ms, ms, "");
}

/** With the deadlines that become due within a second after it. */
function steps(what, work) {
  const began = performance.now();
  work();
  let longest = performance.now() - began;
  const until = now + 1_000;
  for (let at = core.nextDeadline(); at !== undefined && at <= until; at = core.nextDeadline()) {
    now = Math.max(now, at);
    const from = performance.now();
    core.timeout(now);
    longest = Math.max(longest, performance.now() - from);
  }
  say(what, longest, performance.now() - began, "");
}

async function watched(what, work) {
  let longest = 0;
  let last = performance.now();
  let isOn = true;
  const look = () => {
    const at = performance.now();
    longest = Math.max(longest, at - last);
    last = at;
    if (isOn) setImmediate(look);
  };
  setImmediate(look);
  const cpu = process.cpuUsage();
  const began = performance.now();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  longest = Math.max(longest, performance.now() - last);
  say(what, longest, performance.now() - began, (user + system) / 1_000);
  isOn = false;
}

function say(what, ...figures) {
  const shown = figures.map((each) => (typeof each === "number" ? each.toFixed(1) : each));
  console.log(`| ${what} | ${shown.join(" | ")} |`);
}
