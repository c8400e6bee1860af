/** The operator's view and actions, from the core and the store. The commands in commands.ts call them. */
import type { GatewayCore, SessionView } from "../core/gateway-core.ts";
import type { Input } from "../core/input.ts";
import type { PayloadPolicy } from "../core/payloads.ts";
import type { BacklogRecord } from "../core/record.ts";
import type { Publication } from "../core/types.ts";
import type { Store, StoredLetter } from "../storage/store.ts";
import type { BondReport, LinkReport } from "../transports/transport.ts";
import { matches } from "../wire/topic.ts";
import { FirstOf } from "./first-of.ts";
import { emptyInstallation, type Installation } from "./installation.ts";
import { inSlices } from "./slices.ts";
import { stateInWords } from "./state-words.ts";
import type { CaptureOptions } from "./tap.ts";
import { createViews } from "./views.ts";

/** Devices of the transports: links, replay counters and bonds. */
export interface Devices {
  links(): readonly (LinkReport & { readonly transport: string })[];
  /** False: the address has no known counter. */
  forgetCounter(address: string): boolean;
  bonds(): readonly (BondReport & { readonly transport: string })[];
  /** False: there was no bond of this identity. */
  removeBond(address: string): boolean;
  readonly transports: readonly string[];
  /** Undefined: the limit of captures is reached. */
  capture(options: CaptureOptions): AsyncIterable<Uint8Array> | undefined;
}

export interface Orders {
  handle(input: Input): void;
  /** The results of the scripts for these dead letters; absent: there are no scripts. */
  answersFor?(letters: readonly StoredLetter[]): Promise<PayloadPolicy | undefined>;
}

/** At most so many clients are listed one by one. */
const clientsNamed = 50;

/** At most so many packets of one client are listed one by one. */
const packetsNamed = 1_000;
const readAtOnce = 500;
const lettersAtOnce = 1_000;

export type Operator = ReturnType<typeof createOperator>;

/** `backup` converts a snapshot of the store to the octets of a file. */
export function createOperator(
  core: GatewayCore,
  store: Store,
  driver: Orders,
  now: () => number,
  backup: (snapshot: NonNullable<ReturnType<Store["snapshot"]>>) => AsyncIterable<Uint8Array>,
  devices: Devices,
  installation: Installation = emptyInstallation,
) {
  return {
    installation,
    ...createViews(core, now, installation),
    sessions: async () => {
      const all: ReturnType<typeof facts>[] = [];
      await inSlices(core.sessions(), (session) => all.push(facts(session, now())));
      return all;
    },
    /** Sessions of the last run are still restored, so a client may have a session that is not known yet. */
    isRestoring: () => core.isRestoring,
    session: (clientId: string) => {
      const found = core.session(clientId);
      return found && { ...facts(found.view, now()), ...withoutSecrets(found.record) };
    },
    dropSession: (clientId: string) => {
      if (!core.session(clientId)) return false;
      driver.handle({ kind: "dropSession", clientId });
      return true;
    },
    queue: async () => {
      const owing = owingMost(core);
      const clients = [];
      for (const { clientId, owedToBroker, owedBytes } of owing.slice(0, clientsNamed)) {
        clients.push({ clientId, messages: owedToBroker, bytes: owedBytes, oldestAt: await oldest(store, clientId) });
      }
      const { bufferedMessages, bufferedBytes, dropped } = core.counters;
      // The sums cover the same sessions as the table: messages on disk, and those being written.
      const messages = owing.reduce((sum, { owedToBroker }) => sum + owedToBroker, 0);
      const bytes = owing.reduce((sum, { owedBytes }) => sum + owedBytes, 0);
      return {
        forBroker: { messages, bytes, clients },
        forClients: { messages: bufferedMessages, bytes: bufferedBytes, clients: await awaited(core, now()) },
        deadLetters: core.letters,
        /** Drops since the gateway started, without reasons whose count is 0. */
        dropped: Object.fromEntries(Object.entries(dropped).filter(([, count]) => count > 0)),
        storeFails: core.storeFails,
      };
    },
    /** Messages of this client in flight, and those that wait on disk; undefined: the client has no session. */
    queueOf: async (clientId: string) => {
      const underWay = core.underWay(clientId);
      if (!underWay) return undefined;
      const onDisk = await waitingOnDisk(store, clientId, core.firstUnsent(clientId), packetsNamed);
      return { clientId, underWay, onDisk: onDisk.map(([, { publication, at }]) => storedPacket(publication, at)) };
    },
    /**
     * Deletes the messages that wait for a client, except those that it may have received. Returns their number;
     * undefined: the client has no session.
     */
    clearWaiting: (clientId: string) => {
      if (!core.session(clientId)) return undefined;
      const before = core.counters.dropped.purged;
      driver.handle({ kind: "purgeDownlink", clientId });
      return core.counters.dropped.purged - before;
    },
    /** False: the client has no session. */
    send: (clientId: string, publication: Publication) => {
      if (!core.session(clientId)) return false;
      driver.handle({ kind: "sendDown", clientId, publication });
      return true;
    },
    /** Deletes messages of clients that the broker does not have yet. Returns their number. */
    clearQueue: async ({ client, topic }: { client?: string | undefined; topic?: string | undefined }) => {
      const before = core.counters.dropped.purged;
      const owing = client === undefined ? core.liveClientIds() : [client];
      for (const clientId of owing) {
        const stored = await waitingOnDisk(store, clientId, core.firstUnsent(clientId), Number.POSITIVE_INFINITY);
        const entries = stored.filter(
          ([, { publication }]) => topic === undefined || matches(topic, publication.topicName),
        );
        driver.handle({ kind: "purgeUplink", clientId, topicFilter: topic, entries });
      }
      return core.counters.dropped.purged - before;
    },
    ...deadLetters(core, store, driver),
    links: () =>
      devices.links().map(({ transport, up, condition, devices }) => ({
        transport,
        up,
        condition,
        devices: devices.map(({ secondsSinceSeen, ...device }) => ({
          ...device,
          secondsSinceSeen: Math.round(secondsSinceSeen),
        })),
      })),
    forgetCounter: (address: string) => devices.forgetCounter(address),
    bonds: () =>
      devices.bonds().map(({ transport, identity, name, since, authenticated, secureConnections }) => ({
        transport,
        address: identity.address,
        name,
        since,
        passkey: authenticated,
        secureConnections,
      })),
    removeBond: (address: string) => devices.removeBond(address),
    hasTransport: (name: string) => devices.transports.includes(name),
    /** Undefined: the limit of captures is reached. */
    capture: (options: CaptureOptions) => devices.capture(options),
    /** Undefined: the store cannot be backed up. */
    backup: () => {
      const snapshot = store.snapshot();
      return snapshot && backup(snapshot);
    },
  };
}

/** Reads all dead letters. `deadLetters.max` limits how many there can be. */
async function allLetters(store: Store): Promise<readonly StoredLetter[]> {
  const all: StoredLetter[] = [];
  for (let isMore = true; isMore; ) {
    const next = await store.letters(all.at(-1)?.id ?? 0, lettersAtOnce);
    all.push(...next);
    isMore = next.length === lettersAtOnce;
  }
  return all;
}

function deadLetters(core: GatewayCore, store: Store, driver: Orders) {
  const chosen = async (ids: readonly number[] | undefined): Promise<readonly StoredLetter[]> => {
    const letters = await allLetters(store);
    const wanted = ids && new Set(ids);
    return wanted ? letters.filter(({ id }) => wanted.has(id)) : letters;
  };
  return {
    letters: async (withPayloads: boolean) =>
      (await allLetters(store)).map(({ id, clientId, record }) => {
        const { direction, reason, publication, at, mayBeThere } = record;
        const { topicName, payload, qos, retain } = publication;
        return {
          id,
          clientId,
          direction,
          reason,
          topic: topicName,
          qos,
          retain,
          bytes: payload.length,
          at,
          ...(withPayloads && { payload: Buffer.from(payload).toString("base64") }),
          ...(mayBeThere && { mayBeThere }),
        };
      }),
    /** Publishes the dead letters of these numbers, or all. Answers how many were sent. */
    republish: async (ids: readonly number[] | undefined) => {
      const letters = (await chosen(ids)).filter(({ id }) => core.hasLetter(id));
      const payloads = await driver.answersFor?.(letters);
      driver.handle({
        kind: "republish",
        letters: letters.map(({ id, record }) => [id, record] as const),
        ...(payloads && { payloads }),
      });
      // The count of remaining letters would be wrong: a letter that is sent may push another message out of a full
      // buffer.
      return letters.filter(({ id }) => !core.hasLetter(id)).length;
    },
    purge: async (ids: readonly number[] | undefined) => {
      const before = core.letters;
      driver.handle({ kind: "purge", ids: (await chosen(ids)).map(({ id }) => id) });
      return before - core.letters;
    },
  };
}

/** The clients with publications that the broker does not have yet; those with the most first. */
function owingMost(core: GatewayCore) {
  return core.owing().sort((a, b) => b.owedToBroker - a.owedToBroker);
}

/** The clients for which messages wait or were dropped, those with the most messages first. */
async function awaited(core: GatewayCore, now: number) {
  const clients = new FirstOf<SessionView>(
    clientsNamed,
    (a, b) => b.waitingMessages - a.waitingMessages || b.droppedMessages - a.droppedMessages,
  );
  await inSlices(core.sessions(), (session) => {
    if (session.waitingMessages + session.droppedMessages > 0) clients.add(session);
  });
  return clients.items.map(({ clientId, state, waitingMessages, waitingBytes, waitingSince, droppedMessages }) => ({
    clientId,
    state,
    messages: waitingMessages,
    bytes: waitingBytes,
    waitingSeconds: secondsSince(waitingSince, now),
    dropped: droppedMessages,
  }));
}

/** Each property is named: to copy the rest of an object takes ten times as long, and there may be a million. */
function facts(session: SessionView, now: number) {
  const { state, keepAliveSeconds, sleepSeconds, stateSince, stateWhy: why } = session;
  const secondsSilent = secondsSince(session.lastHeard, now);
  const stateSeconds = secondsSince(stateSince, now);
  const { says, isLate } = stateInWords({ state, why, stateSeconds, secondsSilent, keepAliveSeconds, sleepSeconds });
  return {
    clientId: session.clientId,
    peer: session.peer,
    state,
    clean: session.clean,
    keepAliveSeconds,
    sleepSeconds,
    waitingMessages: session.waitingMessages,
    waitingBytes: session.waitingBytes,
    droppedMessages: session.droppedMessages,
    owedToBroker: session.owedToBroker,
    owedBytes: session.owedBytes,
    topics: session.topics,
    subscriptions: session.subscriptions,
    linkUp: session.linkUp,
    quarantinedUntil: session.quarantinedUntil,
    says,
    isLate,
    secondsSilent,
    waitingSeconds: secondsSince(session.waitingSince, now),
  };
}

function secondsSince<At extends number | undefined>(at: At, now: number): number | At {
  return at === undefined ? at : Math.max(0, Math.round((now - at) / 1_000));
}

/** The contents of wills and messages are confidential, so only their sizes are shown. */
function withoutSecrets(record: NonNullable<ReturnType<GatewayCore["session"]>>["record"]) {
  const { topics, subscriptions, will } = record;
  return {
    topics,
    subscriptions,
    will: will && { topic: will.topicName, qos: will.qos, retain: will.retain, bytes: will.payload.byteLength },
  };
}

function storedPacket({ topicName, qos, retain, payload }: Publication, at: number) {
  return { topic: topicName, qos, retain, bytes: payload.byteLength, at };
}

/** The records of a client's backlog from this number on, in their order. */
async function waitingOnDisk(store: Store, clientId: string, first: number, limit: number) {
  const found: (readonly [id: number, record: BacklogRecord])[] = [];
  while (found.length < limit) {
    const from = (found.at(-1)?.[0] ?? first - 1) + 1;
    const slice = await new Promise<typeof found>((resolve) => {
      store.fetch(clientId, from, Math.min(readAtOnce, limit - found.length), (entries) => resolve([...entries]));
    });
    if (slice.length === 0) break;
    found.push(...slice);
  }
  return found;
}

/**
 * Wall-clock time since which the oldest publication on disk waits, among the clients with the most; 0: none waits, or
 * the time is not known.
 */
export async function oldestBacklogAt(core: GatewayCore, store: Store): Promise<number> {
  const owing = owingMost(core);
  let earliest = 0;
  for (const { clientId } of owing.slice(0, clientsNamed)) {
    const at = await oldest(store, clientId);
    if (at > 0 && (earliest === 0 || at < earliest)) earliest = at;
  }
  return earliest;
}

function oldest(store: Store, clientId: string): Promise<number> {
  return new Promise((resolve) => {
    store.fetch(clientId, 0, 1, (entries) => resolve(entries[0]?.[1].at ?? 0));
  });
}
