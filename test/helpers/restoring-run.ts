/** A gateway core that serves clients while it restores the sessions of the run before. */
import type { Input } from "../../src/core/input.ts";
import type { CoreOptions } from "../../src/core/options.ts";
import type { StoredState } from "../../src/core/record.ts";
import type { PeerId } from "../../src/core/types.ts";
import { StateTable } from "../../src/storage/state-table.ts";
import { testOptions } from "../simulation/options.ts";
import { Bench, connect, pubAck, regAck, sleep, subscribe, type Turn } from "./bench.ts";

export type Options = Partial<CoreOptions>;

export const aggregating: Options = { upstream: { ...testOptions.upstream, mode: "aggregating", copies: "one" } };
export const peerOf = (clientId: string): PeerId => `udp/192.0.2.${clientId.charCodeAt(0)}:1`;

/** A core over a table of records: commits are kept, and done at once. */
export class Run {
  readonly bench: Bench;
  readonly table: StateTable;

  constructor(options: Options, table = new StateTable(), first?: readonly StoredState[]) {
    this.table = table;
    this.bench = new Bench({ ...options, durable: true }, first ? { first } : []);
    this.keep(this.bench.began);
  }

  keep(turn: Turn): Turn {
    for (const effect of turn.effects) {
      if (effect.kind !== "persist") continue;
      for (const change of effect.changes) this.table.apply(change);
      this.bench.input({ kind: "persisted", token: effect.token });
    }
    return turn;
  }

  says(clientId: string, message: Parameters<Bench["client"]>[0], from = peerOf(clientId)): Turn {
    return this.keep(this.bench.client(message, from));
  }

  input(input: Input): Turn {
    return this.keep(this.bench.input(input));
  }

  /** The store answers the question for this session. */
  loads(clientId: string): Turn {
    const state = this.table.state(clientId);
    return this.input({ kind: "loaded", clientId, ...(state && { state }) });
  }

  slice(...clientIds: string[]): Turn {
    const states = clientIds.flatMap((clientId) => this.table.state(clientId) ?? []);
    return this.input({ kind: "restored", goesOn: true, states });
  }

  completes(): Turn {
    return this.input({ kind: "restored", goesOn: true, isComplete: true });
  }

  get shared() {
    return this.bench.link("gateway");
  }
}

/**
 * A run in which clients sleep that share a connection, each with the filter of its letters; then the next run, to
 * which only the record of the shared connection was handed yet.
 */
export function restarted(filters: Record<string, string>, options: Options = aggregating): Run {
  const before = new Run(options);
  before.keep(before.shared.up()); // the second: what the first found there was ended
  for (const [clientId, filter] of Object.entries(filters)) {
    before.says(clientId, connect({ clientId, cleanSession: false })).gets("CONNACK");
    const { packetId } = before.says(clientId, subscribe(filter)).effect("subscribe");
    before.keep(before.shared.acks("suback", packetId, 1)).gets("SUBACK");
    before.says(clientId, sleep(600)).gets("DISCONNECT");
  }
  return again(before, options);
}

export function again(before: Run, options: Options = aggregating): Run {
  const first = [...before.table.states()].filter(
    ({ session, uplink }) => session.clientId.startsWith("\0") || uplink.length > 0,
  );
  return new Run(options, before.table, first);
}

export const loads = (turn: Turn) =>
  turn.effects.flatMap((effect) => (effect.kind === "load" ? [effect.clientId] : []));

/** What a client that wakes is sent, beginning with this turn, if it answers everything. */
export function sentTo(run: Run, clientId: string, first: Turn): string[] {
  const got: string[] = [];
  for (let turn: Turn | undefined = first; turn; ) {
    const { sent }: Turn = turn;
    turn = undefined;
    for (const message of sent) {
      if (message.type === "PUBLISH") got.push(Buffer.from(message.data).toString());
      if (message.type === "REGISTER") turn = run.says(clientId, regAck(message));
      if (message.type === "PUBLISH" && message.qos === 1) turn = run.says(clientId, pubAck(message));
    }
  }
  return got;
}
