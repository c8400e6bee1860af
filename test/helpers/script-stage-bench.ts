/** A core with a stage for scripts in front of it, and scripts that answer when the test says so. */
import { parseConfig } from "../../src/config/load.ts";
import { payloadPolicy, scriptEntries } from "../../src/config/payloads.ts";
import type { LinkId, PeerId, Publication, QoS } from "../../src/core/types.ts";
import { ScriptStage, type StageLimits, type Waiting } from "../../src/runtime/script-stage.ts";
import type { Answer, Question } from "../../src/script/question.ts";
import { ScriptValues } from "../../src/script/values.ts";
import { encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { testOptions } from "../simulation/options.ts";
import { Bench, connect, elsewhere, here, octets, publish, register, type Turn } from "./bench.ts";

export const text = (payload: Uint8Array) => new TextDecoder().decode(payload);
export const json = (value: unknown) => octets(JSON.stringify(value));
export const made = (said: string): Answer => ({ is: "made", payload: octets(said), warnings: [] });
/** Messages that wait for a sleeper. */
export const bufferMax = 3;
export const limits: StageLimits = {
  lineMax: 4,
  lineBytesMax: 1_000,
  allMax: 8,
  allBytesMax: 10_000,
  strangersMax: 2,
};

/** A script that answers when the test says so. */
export class Asked {
  readonly open: { question: Question; sender: string; done: (answer: Answer) => void }[] = [];
  ended = 0;
  refuses: Answer | undefined;
  can = () => true;

  ask = (question: Question, sender: string, done: (answer: Answer) => void): Answer | (() => void) => {
    if (this.refuses) return this.refuses;
    const each = { question, sender, done };
    this.open.push(each);
    return () => {
      const at = this.open.indexOf(each);
      if (at >= 0) this.open.splice(at, 1);
      this.ended++;
    };
  };

  get payloads(): string[] {
    return this.open.map(({ question }) => text(question.payload));
  }

  answers(answer: Answer | string = "{}", at = 0): void {
    const [each] = this.open.splice(at, 1);
    if (!each) throw new Error("nothing was asked");
    each.done(typeof answer === "string" ? made(answer) : answer);
  }
}

export const declared = [
  { topics: "cal", format: "json" },
  { topics: "s/+", script: "s.js", to: "{topic}/json", raw: "{topic}/raw" },
  { topics: "ab", script: "s.js" },
  { topics: "plain", script: "down.js", direction: "down" },
];

export function world(
  mode: "transparent" | "aggregating" = "transparent",
  declarations: unknown[] = declared,
  waiting?: Waiting,
) {
  const { payloads } = parseConfig({ payloads: declarations });
  const policy = payloadPolicy(payloads);
  const buffer = { ...testOptions.buffer, messagesMax: bufferMax };
  const bench = new Bench({ payloads: policy, buffer, upstream: { ...testOptions.upstream, mode } });
  const scripts = new Asked();
  const values = new ScriptValues();
  const turns: Turn[] = [];
  const stage = new ScriptStage(
    {
      core: bench.core,
      handle: (input) => turns.push(bench.input(input)),
      scripts,
      wallClock: () => 7,
      limits,
      values,
      ...(waiting && { waiting }),
    },
    scriptEntries(payloads, policy),
  );
  const says = (message: Message, from: PeerId = here) =>
    stage.take({ kind: "datagram", from, bytes: encode(message) });
  const links = () => bench.links;
  const link = (name = "c1"): LinkId => {
    const id = links().get(mode === "transparent" ? name : "gateway");
    if (id === undefined) throw new Error("no link");
    return id;
  };
  let packetId = 0;
  const delivers = (topicName: string, payload: Uint8Array, qos: QoS = 1, name = "c1") => {
    const publication: Publication = { topicName, payload, qos, retain: false };
    stage.take({ kind: "delivered", linkId: link(name), publication, packetId: qos && ++packetId, dup: false });
    return packetId;
  };
  /** Everything since the last look. */
  const came = () => {
    const effects = turns.splice(0).flatMap((turn) => turn.effects);
    return {
      published: effects.flatMap((effect) =>
        effect.kind === "publish" ? [`${effect.publication.topicName} ${text(effect.publication.payload)}`] : [],
      ),
      sent: effects.flatMap((effect) => (effect.kind === "send" ? [effect.message.type] : [])),
      told: effects.flatMap((effect) =>
        effect.kind === "send" && effect.message.type === "PUBLISH" ? [text(effect.message.data)] : [],
      ),
      acked: effects.flatMap((effect) => (effect.kind === "ackBroker" ? [effect.packetId] : [])),
      unfit: effects.flatMap((effect) =>
        effect.kind === "report" && effect.event.event === "payload_unfit" ? [effect.event.why] : [],
      ),
    };
  };
  return { bench, stage, scripts, values, says, delivers, came, link, turns };
}

export function begun(
  mode: "transparent" | "aggregating" = "transparent",
  declarations: unknown[] = declared,
  waiting?: Waiting,
) {
  const all = world(mode, declarations, waiting);
  const connects = (clientId: string, from: PeerId) => {
    all.bench.client(connect({ clientId }), from);
    if (mode === "transparent") all.bench.link(clientId).up();
  };
  if (mode === "aggregating") all.bench.link("gateway").up();
  connects("c1", here);
  connects("c2", elsewhere);
  all.bench.client(register("s/1"), here);
  all.bench.client(register("s/1"), elsewhere);
  return all;
}

export const data = (said: string, msgId: number, more: Partial<Extract<Message, { type: "PUBLISH" }>> = {}) =>
  publish({ data: octets(said), msgId, ...more });
