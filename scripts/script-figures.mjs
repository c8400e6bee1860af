// What a script costs a message (docs/guide/payloads.md): a payload of four octets made into JSON by a declaration of three fields, in
// the gateway's own process, and by a script that says the same, in the process for scripts. Prints a table in the form of
// docs/measurements/figures.
// Usage: node scripts/script-figures.mjs [messages of a round] [rounds]     (after npm run build)
import { cpus } from "node:os";
import { payloadPolicy } from "../dist/config/payloads.js";
import { gatewayConfig } from "../dist/config/schema.js";
import { ScriptRunner } from "../dist/script/runner.js";
import { systemTimers } from "../dist/transports/timers.js";

const perRound = Number(process.argv[2] ?? 20_000);
const rounds = Number(process.argv[3] ?? 11);
const payload = Uint8Array.from([0x00, 0xd7, 0x30, 0x96]);
const text = `function decodeUplink({ bytes }) {
  return { data: { temperature: ((bytes[0] << 8) | bytes[1]) / 10, humidity: bytes[2], battery: bytes[3] / 50 } };
}`;
const fields = [
  { name: "temperature", type: "i16", scale: 0.1 },
  { name: "humidity", type: "u8" },
  { name: "battery", type: "u8", scale: 0.02 },
];
const { payloads } = gatewayConfig.parse({ payloads: [{ topics: "t", fields }] });
const policy = payloadPolicy(payloads);
const runner = new ScriptRunner({ runMs: 1_000, memoryBytes: 2 ** 24 }, systemTimers, (_level, say) =>
  console.error(say),
);
await runner.start([{ file: "t.js", text }]);

const question = { file: "t.js", is: "up", payload, fPort: 1, recvTime: 0, variables: { topic: "t", client: "c" } };
const ask = () =>
  new Promise((done) => {
    const asked = runner.ask(question, "c", done);
    if (typeof asked !== "function") throw new Error(asked.why);
  });

const declared = () => {
  for (let i = 0; i < perRound; i++) policy.up("c", "t", payload);
};
/** One device: each message waits for the one before it. */
const oneByOne = async () => {
  for (let i = 0; i < perRound; i++) await ask();
};
/** Many devices at once. */
const together = async () => {
  for (let i = 0; i < perRound; i += 500) await Promise.all(Array.from({ length: 500 }, ask));
};

/** Microseconds of a message: by the clock, and of this process's CPU. */
async function measured(work) {
  const [began, cpuBefore] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(cpuBefore);
  return { wall: ((performance.now() - began) * 1_000) / perRound, cpu: (user + system) / perRound };
}

const ways = { declared, oneByOne, together };
const found = { declared: [], oneByOne: [], together: [] };
for (let round = 0; round < rounds; round++)
  for (const [name, work] of Object.entries(ways)) found[name].push(await measured(work));
await runner.close();

const median = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
const row = (says, name) => [
  says,
  `${median(found[name].map(({ wall }) => wall)).toFixed(1)} µs`,
  `${median(found[name].map(({ cpu }) => cpu)).toFixed(1)} µs`,
];
console.log(
  JSON.stringify(
    {
      machine: `${cpus().length} cores (${cpus()[0]?.model}), Node ${process.versions.node}`,
      date: new Date().toISOString().slice(0, 10),
      command: `node scripts/script-figures.mjs ${perRound} ${rounds}`,
      columns: ["a payload of four octets", "from question to answer", "CPU time in the gateway's process"],
      rows: [
        row("declaration of three fields", "declared"),
        row("script, one device", "oneByOne"),
        row("script, many devices at once", "together"),
      ],
    },
    null,
    2,
  ),
);
