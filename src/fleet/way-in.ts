/**
 * Restores the backup of a single gateway, or of a pair, into the stores of a fleet's shards. Each client goes to its
 * shard with all its records, and its address into the address book, so that its device continues without CONNECT.
 * Everything is restored, or nothing.
 */
import { transportNameOf } from "../core/peer-id.ts";
import type { Change } from "../core/record.ts";
import type { PeerId } from "../core/types.ts";
import { addressSeconds, type BookServer, bookEntry } from "./address-book.ts";
import { addressIn, placeOf, sharedNameOf } from "./belongs.ts";

/** The content of a backup, as `Content` of storage/backup.ts. */
type Content =
  | { readonly is: "change"; readonly change: Change }
  | { readonly is: "later"; readonly what: string }
  | { readonly is: "own" };

export interface WayInParts {
  readonly shards: number;
  /** The names of the fleet's transports. */
  readonly transports: ReadonlySet<string>;
  readonly contents: AsyncIterable<Content>;
  /** Writes changes to one shard's store, all at once. Fails if they are not written. */
  readonly write: (shard: number, changes: readonly Change[]) => Promise<void>;
  readonly book: Pick<BookServer, "set">;
  /** The prefix of the keys of the whole fleet. */
  readonly prefix: string;
  /** Called after each record, for example to report the progress. */
  readonly read: () => Promise<void> | void;
}

export interface WayIn {
  /** The number of records that are stored now. */
  readonly records: number;
  readonly sessions: number;
  /** The number of clients whose devices can continue at their addresses. */
  readonly addresses: number;
  /** Clients at transports that the fleet does not have, by the name of the transport. */
  readonly elsewhere: ReadonlyMap<string, number>;
  /** Shared connections of the backup that the fleet does not use, by their names in `SessionRecord.home`. */
  readonly sharedConnections: readonly string[];
  /** Kinds of records of a later version, which were left out. */
  readonly leftOut: readonly string[];
}

/**
 * Limits of collected changes: for one shard in one commit, and for all shards together; beyond the second, the fullest
 * shard is written.
 */
const inOneCommit = 500;
const waitingMax = 10_000;
const addressesAtOnce = 1_000;

interface Where {
  readonly shard: number;
  readonly peer: PeerId;
}

export async function fillFleet(parts: WayInParts): Promise<WayIn> {
  const { shards, contents, read } = parts;
  const filling = new Filling(parts);
  const clients = new Map<string, Where | undefined>();
  const sharedConnections = new Set<string>();
  const leftOut = new Set<string>();
  let records = 0;
  for await (const content of contents) {
    await read();
    if (content.is === "later") leftOut.add(content.what);
    if (content.is !== "change") continue;
    const { change } = content;
    const shared = change.of === "session" ? sharedNameOf(change) : undefined;
    if (shared !== undefined) {
      if (change.record) sharedConnections.add(shared);
      else sharedConnections.delete(shared);
    }
    const placed = placeOf(change, shards);
    if ("leftOut" in placed) continue;
    if (change.record) records++;
    if (change.of === "session") note(clients, placed.shard, change);
    await filling.add(placed.shard, placed.change);
  }
  await filling.rest();
  const { addresses, elsewhere } = await writeAddresses(parts, clients);
  return {
    records,
    sessions: clients.size,
    addresses,
    elsewhere,
    sharedConnections: [...sharedConnections],
    leftOut: [...leftOut],
  };
}

/** The last record of a client is valid, because a backup of Redis may contain its session twice. */
function note(clients: Map<string, Where | undefined>, shard: number, change: Extract<Change, { of: "session" }>) {
  const { clientId, record } = change;
  if (!record) return void clients.delete(clientId);
  const peer = addressIn(record);
  clients.set(clientId, peer === undefined ? undefined : { shard, peer });
}

async function writeAddresses(
  { transports, book, prefix, read }: WayInParts,
  clients: ReadonlyMap<string, Where | undefined>,
): Promise<Pick<WayIn, "addresses" | "elsewhere">> {
  const elsewhere = new Map<string, number>();
  let addresses = 0;
  let entries: (readonly [key: string, value: string])[] = [];
  for (const where of clients.values()) {
    if (!where) continue;
    const transport = transportNameOf(where.peer);
    if (!transports.has(transport)) {
      elsewhere.set(transport, (elsewhere.get(transport) ?? 0) + 1);
      continue;
    }
    addresses++;
    entries.push(bookEntry(prefix, where.peer, { shard: where.shard, front: "" }));
    if (entries.length < addressesAtOnce) continue;
    await book.set(entries, addressSeconds);
    await read();
    entries = [];
  }
  if (entries.length > 0) await book.set(entries, addressSeconds);
  return { addresses, elsewhere };
}

/** Collects changes, so that a shard's store gets few large commits. */
class Filling {
  readonly #write: WayInParts["write"];
  readonly #waiting = new Map<number, Change[]>();
  #count = 0;

  constructor({ write }: WayInParts) {
    this.#write = write;
  }

  async add(shard: number, change: Change): Promise<void> {
    const changes = this.#waiting.get(shard) ?? [];
    this.#waiting.set(shard, changes);
    changes.push(change);
    this.#count++;
    if (changes.length >= inOneCommit) await this.#flush(shard);
    else if (this.#count >= waitingMax) await this.rest();
  }

  async rest(): Promise<void> {
    for (const shard of [...this.#waiting.keys()]) await this.#flush(shard);
  }

  async #flush(shard: number): Promise<void> {
    const changes = this.#waiting.get(shard) ?? [];
    this.#waiting.delete(shard);
    this.#count -= changes.length;
    await this.#write(shard, changes);
  }
}
