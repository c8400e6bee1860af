/**
 * The live data for open pages: which devices changed, and which datagrams pass, decoded. While no page is open, this
 * costs one check for each event and each datagram, and stores nothing.
 *
 * Each watch holds a limited amount between two reads of its owner. What does not fit is counted and not queued: a slow page misses
 * something, and the gateway does not wait.
 */
import type { GatewayEvent } from "../core/event.ts";
import { peerBehind } from "../core/peer-id.ts";
import type { PeerId } from "../core/types.ts";
import { decode } from "../wire/v12/codec.ts";
import type { Message } from "../wire/v12/messages.ts";
import { describe } from "../wire/v12/words.ts";

/** Datagrams that one watch holds; a page reads them twice a second. */
const heldMax = 200;
const clientsNamedMax = 100;
/** Datagrams that are kept for one client, while a page shows it, and for all clients. */
const ringMax = 100;
const octetsShownMax = 256;
const lineCharactersMax = 300;

export interface DatagramEntry {
  /** Increases with each entry, so that a page knows which entries it has. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** in: from the device. */
  readonly way: "in" | "out";
  readonly peer: string;
  readonly client?: string | undefined;
  readonly type: string;
  /** The topic name, if the message has one. */
  readonly topic?: string | undefined;
  readonly bytes: number;
  /** The fields of the message, one a line; absent if the user may not see payloads. */
  readonly words?: readonly string[];
  /** The first octets, in hexadecimal. */
  readonly octets?: string;
}

/** An entry as it is stored. `isKnown`: a client with a session sent the datagram, or it was sent to such a client. */
interface Kept {
  readonly entry: DatagramEntry;
  readonly isKnown: boolean;
  /** Determined when a page reads it, because a script may have answered by then. */
  readonly value: () => string | undefined;
}

export interface Wanted {
  /** Datagrams: of this client, of all, or none. */
  readonly datagrams: "none" | "all" | { readonly clientId: string };
  readonly seesPayloads: boolean;
  /** A sender without a session, which chose its name itself. */
  readonly seesStrangers: boolean;
}

export interface News {
  /** Clients that changed; undefined: more than can be named. */
  readonly clients: readonly string[] | undefined;
  /** A device was refused, or admitted after a refusal. */
  readonly knocks: boolean;
  /** The state of a broker or of the store has changed. */
  readonly surroundings: boolean;
  readonly datagrams: readonly DatagramEntry[];
  /** Datagrams that found no room since the last look. */
  readonly lost: number;
}

/** The answer to a poll: one of the two members, or neither. */
export interface PollAnswer {
  readonly news?: News;
  /** A user who was logged in is logged out. */
  readonly bye?: true;
}

export interface LiveNames {
  clientAt(peer: PeerId): string | undefined;
  topicName(clientId: string, topicId: number, isPredefined: boolean): string | undefined;
}

/** Decodes a payload by its declaration; undefined: there is no declaration for it. */
type SaidBy = (
  way: "in" | "out",
  clientId: string | undefined,
  topicName: string,
  payload: Uint8Array,
) => string | undefined;

export class Live {
  readonly #names: LiveNames;
  readonly #saidBy: SaidBy;
  readonly #wallClock: () => number;
  readonly #watches = new Set<Watch>();
  readonly #rings = new Map<string, Kept[]>();
  #number = 0;
  /** Undefined while no page is open: the only check for each datagram. */
  tap: ((way: "in" | "out", peer: PeerId, bytes: Uint8Array) => void) | undefined = undefined;

  constructor(names: LiveNames, wallClock: () => number, saidBy: SaidBy = () => undefined) {
    this.#names = names;
    this.#saidBy = saidBy;
    this.#wallClock = wallClock;
  }

  /** The payload of this datagram as JSON, decoded by its declaration; undefined: it cannot be decoded. */
  valueIn(way: "in" | "out", clientId: string | undefined, bytes: Uint8Array): string | undefined {
    const decoded = decode(bytes);
    if (!decoded.ok || decoded.message.type !== "PUBLISH") return undefined;
    const topic = this.#topicOf(clientId, decoded.message);
    return topic === undefined ? undefined : this.#saidBy(way, clientId, topic, decoded.message.data);
  }

  get watched(): number {
    return this.#watches.size;
  }

  report(event: GatewayEvent): void {
    if (this.#watches.size === 0) return;
    for (const watch of this.#watches) watch.note(event);
  }

  /** A device was refused before the core got any message of it. */
  knocked(): void {
    for (const watch of this.#watches) watch.noteKnock();
  }

  /** Watches until `close`. Datagrams that another watch of the same kind has kept are delivered immediately. */
  watch(wanted: Wanted): Watch {
    const key = ringOf(wanted);
    const watch = new Watch(wanted, () => this.#close(watch));
    this.#watches.add(watch);
    if (key !== undefined) {
      const ring = this.#rings.get(key) ?? [];
      this.#rings.set(key, ring);
      for (const kept of ring) watch.add(kept);
      this.tap = this.#take;
    }
    return watch;
  }

  #close(watch: Watch): void {
    this.#watches.delete(watch);
    const wanted = new Set([...this.#watches].map((each) => ringOf(each.wanted)));
    for (const key of this.#rings.keys()) if (!wanted.has(key)) this.#rings.delete(key);
    if (this.#rings.size === 0) this.tap = undefined;
  }

  readonly #take = (way: "in" | "out", from: PeerId, bytes: Uint8Array): void => {
    const decoded = decode(bytes);
    const peer = way === "in" && decoded.forwarded ? peerBehind(from, decoded.forwarded.nodeId) : from;
    const message = decoded.ok ? decoded.message : undefined;
    const known = this.#names.clientAt(peer);
    const client = known ?? (way === "in" ? ownName(message) : undefined);
    const one = client === undefined ? undefined : this.#rings.get(`client ${client}`);
    const all = this.#rings.get("all");
    if (!one && !all) return;
    const takers = [...this.#watches].filter(({ wanted }) => wants(wanted, client));
    const withRoom = takers.filter((watch) => watch.hasRoom());
    if (withRoom.length === 0) return; // no page would show the entry, so it is not formatted
    const topic = message && this.#topicOf(client, message);
    const said = topic !== undefined && message?.type === "PUBLISH" ? message.data : undefined;
    const kept: Kept = {
      entry: this.#entry(way, peer, bytes, { client, message, topic }),
      isKnown: known !== undefined,
      value: () => (topic === undefined || said === undefined ? undefined : this.#saidBy(way, client, topic, said)),
    };
    for (const ring of [one, all]) {
      if (!ring) continue;
      ring.push(kept);
      if (ring.length > ringMax) ring.shift();
    }
    for (const watch of withRoom) watch.add(kept);
  };

  #entry(
    way: "in" | "out",
    peer: PeerId,
    bytes: Uint8Array,
    known: {
      readonly client: string | undefined;
      readonly message: Message | undefined;
      readonly topic: string | undefined;
    },
  ): DatagramEntry {
    const { client, message, topic } = known;
    this.#number++;
    return {
      number: this.#number,
      at: this.#wallClock(),
      way,
      peer,
      client,
      type: message?.type ?? "malformed",
      topic,
      bytes: bytes.byteLength,
      words: describe(bytes).map((line) => line.slice(0, lineCharactersMax)),
      octets: Buffer.from(bytes.subarray(0, octetsShownMax)).toString("hex"),
    };
  }

  #topicOf(client: string | undefined, message: Message): string | undefined {
    switch (message.type) {
      case "PUBLISH":
        if (message.topicIdType === "short") return String.fromCharCode(message.topicId >> 8, message.topicId & 255);
        return this.#names.topicName(client ?? "", message.topicId, message.topicIdType === "predefined");
      case "PUBACK":
      case "REGACK":
        return this.#names.topicName(client ?? "", message.topicId, false);
      case "REGISTER":
        return text(message.topicName);
      case "SUBSCRIBE":
      case "UNSUBSCRIBE":
        return text(message.topic);
      default:
        return undefined;
    }
  }
}

export class Watch {
  readonly wanted: Wanted;
  readonly #onClose: () => void;
  #clients: Set<string> | undefined = new Set();
  #knocks = false;
  #surroundings = false;
  #datagrams: Kept[] = [];
  #lost = 0;

  constructor(wanted: Wanted, onClose: () => void) {
    this.wanted = wanted;
    this.#onClose = onClose;
  }

  noteKnock(): void {
    this.#knocks = true;
  }

  note(event: GatewayEvent): void {
    switch (event.event) {
      case "not_admitted":
      case "connect_refused":
        this.#knocks = true;
        return;
      case "link_state":
        if (event.clientId === undefined) this.#surroundings = true;
        else this.#noteClient(event.clientId);
        return;
      case "persist_failed":
      case "persist_recovered":
        this.#surroundings = true;
        return;
      default:
        if ("clientId" in event && event.clientId !== undefined) this.#noteClient(event.clientId);
    }
  }

  /** Whether there is room for a datagram. If not, the datagram is counted as lost. */
  hasRoom(): boolean {
    if (this.#datagrams.length < heldMax) return true;
    this.#lost++;
    return false;
  }

  add(kept: Kept): void {
    if (!kept.isKnown && !this.wanted.seesStrangers) return;
    if (this.#datagrams.length >= heldMax) this.#lost++;
    else this.#datagrams.push(kept);
  }

  /** The news since the last call; undefined: there are none. */
  take(): News | undefined {
    const isNothing = this.#clients?.size === 0 && !this.#knocks && !this.#surroundings && this.#datagrams.length === 0;
    if (isNothing && this.#lost === 0) return undefined;
    const news = {
      clients: this.#clients && [...this.#clients],
      knocks: this.#knocks,
      surroundings: this.#surroundings,
      datagrams: this.#datagrams.map((kept) =>
        this.wanted.seesPayloads ? withValue(kept) : withoutPayload(kept.entry),
      ),
      lost: this.#lost,
    };
    this.#clients = new Set();
    this.#knocks = false;
    this.#surroundings = false;
    this.#datagrams = [];
    this.#lost = 0;
    return news;
  }

  close(): void {
    this.#onClose();
  }

  #noteClient(clientId: string): void {
    this.#clients?.add(clientId);
    if (this.#clients && this.#clients.size > clientsNamedMax) this.#clients = undefined;
  }
}

function withValue({ entry, value }: Kept): DatagramEntry {
  const said = value();
  if (said === undefined) return entry;
  return { ...entry, words: [...(entry.words ?? []), `value: ${said}`.slice(0, lineCharactersMax)] };
}

function ringOf({ datagrams }: Wanted): string | undefined {
  if (datagrams === "none") return undefined;
  return datagrams === "all" ? "all" : `client ${datagrams.clientId}`;
}

function wants({ datagrams }: Wanted, client: string | undefined): boolean {
  return datagrams === "all" || (datagrams !== "none" && datagrams.clientId === client);
}

/** The client id that the message itself gives. */
function ownName(message: Message | undefined): string | undefined {
  const name = message?.type === "CONNECT" || message?.type === "PINGREQ" ? message.clientId : undefined;
  return typeof name === "string" && name !== "" ? name : undefined;
}

function text(name: unknown): string | undefined {
  return typeof name === "string" ? name : undefined;
}

function withoutPayload({ words: _words, octets: _octets, ...rest }: DatagramEntry): DatagramEntry {
  return rest;
}
