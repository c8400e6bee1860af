/** What of a session survives a restart: plain data, versioned, written as deltas. */
import type { Publication, Will } from "./types.ts";

export interface SessionRecord {
  /** Format of this record. A later version reads all earlier ones. */
  readonly v: 1;
  readonly clientId: string;
  readonly peer: string | undefined;
  readonly state: "active" | "asleep" | "disconnected" | "lost";
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly sleepSeconds: number;
  readonly will: Will | undefined;
  readonly brokerWill: Will | undefined;
  readonly topics: readonly { readonly id: number; readonly name: string; readonly known: boolean }[];
  readonly nextTopicId: number;
  readonly subscriptions: readonly {
    readonly filter: string;
    readonly qos: number;
    readonly by: "name" | "predefined" | "short";
  }[];
}

/** A publication that waits for a client, in the order of `seq`. */
export interface QueuedRecord {
  readonly v: 1;
  readonly publication: Publication;
  /** MsgId under which it was sent to the client, 0 = not yet. */
  readonly msgId: number;
  readonly released: boolean;
}

/** A change to what is stored. `undefined` deletes. All changes of one turn are committed together. */
export type Change =
  | { readonly of: "session"; readonly clientId: string; readonly record: SessionRecord | undefined }
  | {
      readonly of: "queued";
      readonly clientId: string;
      readonly seq: number;
      readonly record: QueuedRecord | undefined;
    };

/** One session with what waits for it, as a store gives it back. */
export interface StoredState {
  readonly session: SessionRecord;
  /** In the order of their sequence numbers. */
  readonly queued: readonly (QueuedRecord & { readonly seq: number })[];
}
