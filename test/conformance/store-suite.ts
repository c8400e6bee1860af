/** What every store must do. A new one joins with one line in stores.test.ts. */
import { afterEach, describe, expect, test } from "vitest";
import {
  backlogBytes,
  backlogShare,
  type Change,
  metaBytes,
  type SessionRecord,
  type StoredState,
} from "../../src/core/record.ts";
import type { PublicationMeta } from "../../src/core/types.ts";
import type { Fetched, Store } from "../../src/storage/store.ts";

export interface StoreSubject {
  /** A store where nothing was before. */
  fresh(): Store;
  /** The same place again, after the last one was closed; undefined where nothing survives that. */
  readonly again?: () => Store;
}

export const session = (clientId: string, more: Partial<SessionRecord> = {}): Change => ({
  of: "session",
  clientId,
  id: 0,
  record: {
    clientId,
    peer: "udp/192.0.2.1:1",
    state: "asleep",
    clean: false,
    keepAliveSeconds: 60,
    sleepSeconds: 600,
    farewell: false,
    will: { topicName: "w", payload: Uint8Array.of(0, 255), qos: 1, retain: true },
    brokerWill: undefined,
    topics: [{ id: 5, name: "täglich/?", known: true }],
    nextTopicId: 6,
    subscriptions: [{ filter: "a/#", qos: 2, by: "name", predefinedId: 0 }],
    ...more,
  },
});

export const queued = (clientId: string, seq: number, text = "x"): Change => ({
  of: "queued",
  clientId,
  id: seq,
  record: { publication: publication(text), msgId: 7, released: false },
});

const publication = (text: string) => ({
  topicName: "t",
  payload: new TextEncoder().encode(text),
  qos: 2 as const,
  retain: false,
});

const text = (octets: Uint8Array) => Buffer.from(octets).toString();

const backlog = (clientId: string, id: number, content: string): Change => ({
  of: "backlog",
  clientId,
  id,
  record: { publication: publication(content), at: 1_790_000_000_000 },
});

const uplink = (clientId: string, id: number): Change => ({
  of: "uplink",
  clientId,
  id,
  record: { publication: publication("up"), origin: undefined, stage: "open", isWill: false },
});

const taken = (clientId: string, id: number): Change => ({
  of: "taken",
  clientId,
  id,
  record: { topicId: 1, hash: -1 },
});

const received = (clientId: string, id: number): Change => ({ of: "received", clientId, id, record: { seq: 0 } });

const known = (clientId: string): Change => ({ of: "known", clientId, id: 0, record: {} });

const letter = (clientId: string, id: number): Change => ({
  of: "letter",
  clientId,
  id,
  record: { direction: "down", reason: "expired", publication: publication("late"), at: 0 },
});

function fetched(store: Store, clientId: string): Promise<Parameters<Fetched>[0]> {
  return new Promise((resolve, reject) =>
    store.fetch(clientId, 0, 100, (entries, error) => (error ? reject(error) : resolve(entries))),
  );
}

const gone = (change: Change): Change => ({ ...change, record: undefined });

export async function stored(store: Store): Promise<StoredState[]> {
  const states: StoredState[] = [];
  for (let isMore = true; isMore; ) {
    const next = await store.sessions(states.at(-1)?.session.clientId, 3);
    states.push(...next);
    isMore = next.length === 3;
  }
  return states.sort((a, b) => (a.session.clientId < b.session.clientId ? -1 : 1));
}

export function commit(store: Store, ...changes: Change[]): Promise<void> {
  return new Promise((resolve, reject) => store.commit(changes, (error) => (error ? reject(error) : resolve())));
}

/** The names in the order of their characters, so that a name that is there twice is seen. */
async function foremost(store: Store): Promise<{ needed: string[]; active: string[] }> {
  const { needed = [], active = [] } = (await store.foremost()) ?? {};
  return { needed: [...needed].sort(), active: [...active].sort() };
}

export function storeSuite(name: string, make: () => StoreSubject): void {
  describe(`store ${name}`, () => {
    const open: Store[] = [];
    afterEach(async () => {
      for (const each of open.splice(0)) await each.close();
    });

    async function started() {
      const subject = make();
      const store = subject.fresh();
      expect((await store.open()).notices).toEqual([]);
      open.push(store);
      /** The store in a later run; the same one where nothing survives. */
      const again = async (): Promise<Store> => {
        if (!subject.again) return store;
        await open.at(-1)?.close();
        const next = subject.again();
        open.push(next);
        expect((await next.open()).notices).toEqual([]);
        return next;
      };
      const later = async (): Promise<StoredState[]> => stored(await again());
      return { store, later, again };
    }

    test("gives back what was committed: every kind, octet by octet, in its order", async () => {
      const { store, later } = await started();
      const uplink: Change = {
        of: "uplink",
        clientId: "a",
        id: 65_535,
        record: {
          publication: publication("up"),
          origin: { msgId: 3, topicId: 5 },
          stage: "released",
          isWill: false,
        },
      };
      const received: Change = { of: "received", clientId: "a", id: 9, record: { seq: 2 } };
      await commit(store, session("a"), queued("a", 300, "third"), queued("a", 2, "first"), uplink, received);
      await commit(store, queued("a", 16, "second"), session("ü/% b", { peer: undefined, will: undefined }));
      const [a, b] = await later();
      expect(a?.session).toEqual(session("a").record);
      expect(a?.queued.map(([seq, record]) => [seq, Buffer.from(record.publication.payload).toString()])).toEqual([
        [2, "first"],
        [16, "second"],
        [300, "third"],
      ]);
      expect(a?.uplink).toEqual([[65_535, uplink.record]]);
      expect(a?.received).toEqual([[9, { seq: 2 }]]);
      expect(b?.session.clientId).toBe("ü/% b");
      expect(b?.session.peer).toBeUndefined();
    });

    test("the latest counts, what is deleted is gone, a session that is gone is not given back", async () => {
      const { store, later } = await started();
      await commit(store, session("a"), queued("a", 1), queued("a", 2), session("b"), queued("b", 1));
      await commit(
        store,
        session("a", { state: "lost" }),
        gone(queued("a", 1)),
        gone(queued("b", 1)),
        gone(session("b")),
      );
      await commit(store, gone(queued("never", 1)), gone(session("there")));
      const states = await later();
      expect(states.map(({ session: { clientId, state }, queued: q }) => [clientId, state, q.length])).toEqual([
        ["a", "lost", 1],
      ]);
    });

    test("calls back once per commit, in order", async () => {
      const { store, later } = await started();
      const done: number[] = [];
      await Promise.all(
        Array.from({ length: 200 }, (_, i) =>
          commit(store, session(`c${i % 10}`, { sleepSeconds: i })).then(() => done.push(i)),
        ),
      );
      expect(done).toEqual([...done].sort((a, b) => a - b));
      expect((await later()).map(({ session: { sleepSeconds } }) => sleepSeconds)).toEqual(
        Array.from({ length: 10 }, (_, i) => 190 + i),
      );
    });

    test("sessions come in slices, each once and with what is its own, whatever their names", async () => {
      const { store, again } = await started();
      // Their keys are not in the order of those of what belongs to them: "a-b" lies before "a/", and "a" before "a-b".
      const names = ["a", "a-b", "a!", "a/b", "a b", "b", "ü", "\0/0", "~", "A", "a-b-c", "z'z", "%", "a%2Fb"];
      for (const [i, name] of names.entries()) {
        await commit(store, session(name, { sleepSeconds: i }), queued(name, i + 1, name), backlog(name, 3, name));
        if (i % 2 === 0) await commit(store, taken(name, i + 1), received(name, i + 1));
      }
      const next = await again();
      for (const limit of [1, 2, 3, 5, names.length, names.length + 1]) {
        const states: StoredState[] = [];
        for (;;) {
          const slice = await next.sessions(states.at(-1)?.session.clientId, limit);
          expect(slice.length).toBeLessThanOrEqual(limit);
          states.push(...slice);
          if (slice.length < limit) break;
        }
        expect(new Set(states.map(({ session: { clientId } }) => clientId))).toEqual(new Set(names));
        expect(states).toHaveLength(names.length);
        for (const state of states) {
          const i = names.indexOf(state.session.clientId);
          const one = i % 2 === 0 ? [i + 1] : [];
          expect(state.session.sleepSeconds).toBe(i);
          expect(
            state.queued.map(
              ([
                seq,
                {
                  publication: { payload },
                },
              ]) => [seq, text(payload)],
            ),
          ).toEqual([[i + 1, names[i]]]);
          expect(state.taken.map(([id]) => id)).toEqual(one);
          expect(state.received.map(([id]) => id)).toEqual(one);
          expect(state.backlog).toMatchObject({ count: 1, first: 3, last: 3 });
          expect(await next.load(state.session.clientId)).toEqual(state);
        }
      }
      expect(await next.load("nobody")).toBeUndefined();
      expect(await next.sessions(undefined, 0)).toEqual([]);
    });

    test("a backlog that changes after the opening is counted as it is when its session is read", async () => {
      const { store, again } = await started();
      for (const name of ["a", "b", "c"])
        await commit(store, session(name), backlog(name, 3, "three"), backlog(name, 4, "four"));
      const next = await again();
      await commit(next, backlog("a", 5, "x"), { of: "backlog", clientId: "b", id: 3, record: undefined });
      for (let i = 0; i < 2; i++) {
        const sums = (await next.sessions(undefined, 10)).map(({ backlog: sum }) => sum);
        const share = (await next.load("c"))?.backlog?.octets ?? 0;
        expect(sums).toEqual([
          { count: 3, octets: share + "tx".length, first: 3, last: 5 },
          { count: 1, octets: share - "tthree".length, first: 4, last: 4 },
          { count: 2, octets: share, first: 3, last: 4 },
        ]);
      }
    });

    test("what is owed to the broker is given back also without a session, and what waits for its client", async () => {
      const { store, later } = await started();
      await commit(store, backlog("a", 1, "x"), uplink("b", 7));
      expect(
        (await later()).map(({ session: { clientId, state }, backlog: sum, uplink: up }) => [
          clientId,
          state,
          sum?.count ?? 0,
          up.length,
        ]),
      ).toEqual([
        ["a", "disconnected", 1, 0],
        ["b", "disconnected", 0, 1],
      ]);
    });

    test("says which messages are due, the soonest first", async () => {
      const { store, again } = await started();
      const due = (clientId: string, seq: number, at: number): Change => {
        const change = queued(clientId, seq);
        return change.of === "queued" && change.record ? { ...change, record: { ...change.record, due: at } } : change;
      };
      await commit(store, session("a"), session("b"), due("a", 1, 3_000), due("b", 2, 1_000), due("a", 3, 2_000));
      await commit(store, queued("a", 4), due("b", 5, 9_000));
      const next = await again();
      expect(await next.due(3_001, 10)).toEqual([
        { clientId: "b", seq: 2, due: 1_000 },
        { clientId: "a", seq: 3, due: 2_000 },
        { clientId: "a", seq: 1, due: 3_000 },
      ]);
      expect((await next.due(3_000, 1)).map(({ seq }) => seq)).toEqual([2]);
      expect(await next.due(1_000, 10)).toEqual([]);
    });

    test("letters by number and known clients come in slices", async () => {
      const { store, again } = await started();
      for (let id = 1; id <= 5; id++) await commit(store, letter(`c${(id * 2) % 5}`, id), known(`k ${id}`));
      await commit(store, gone(letter("c1", 3)), gone(known("k 2")));
      const next = await again();
      const numbers = async (after: number, limit: number) =>
        (await next.letters(after, limit)).map(({ id, clientId }) => [id, clientId]);
      expect(await numbers(0, 2)).toEqual([
        [1, "c2"],
        [2, "c4"],
      ]);
      expect(await numbers(2, 2)).toEqual([
        [4, "c3"],
        [5, "c0"],
      ]);
      expect(await numbers(5, 2)).toEqual([]);
      const first = await next.known(undefined, 3);
      expect([...first, ...(await next.known(first.at(-1), 3))]).toEqual(["k 1", "k 3", "k 4", "k 5"]);
      expect((await next.letters(0, 1))[0]?.record).toEqual(letter("", 1).record);
    });

    test("a commit of an older epoch is refused, also by a later run; nothing of it is written", async () => {
      const { store, again } = await started();
      const at = (to: Store, epoch: number, ...changes: Change[]) =>
        new Promise<string>((done) => to.commit(changes, (error) => done(error?.code ?? "done"), { epoch }));
      // All in one turn: they are written together, and each is answered for itself, in order.
      const answers = [at(store, 3, session("a")), at(store, 2, session("old")), at(store, 4, session("b"))];
      answers.push(at(store, 3, session("older")), at(store, 4, session("c")));
      expect(await Promise.all(answers)).toEqual(["done", "ERR_STORE_EPOCH", "done", "ERR_STORE_EPOCH", "done"]);
      await commit(store, session("d")); // says nothing of an epoch
      const next = await again();
      expect(await at(next, 3, gone(session("a")))).toBe("ERR_STORE_EPOCH");
      expect(await at(next, 4, session("e"))).toBe("done");
      expect((await stored(next)).map(({ session: { clientId } }) => clientId)).toEqual(["a", "b", "c", "d", "e"]);
    });

    test("what a publication says of itself is kept with it, and counts", async () => {
      const { store, again } = await started();
      const meta: PublicationMeta = {
        originAt: 1_790_000_000_000,
        userProperties: [
          ["key", "value"],
          ["key", "ä second"],
          ["", ""],
        ],
        contentType: "application/json",
        responseTopic: "answers/1",
        correlationData: Uint8Array.of(0, 1, 255),
        expirySeconds: 4_294_967_295,
      };
      const about = { ...publication("x"), meta };
      const changes: Change[] = [
        { of: "queued", clientId: "a", id: 1, record: { publication: about, msgId: 0, released: false } },
        {
          of: "uplink",
          clientId: "a",
          id: 1,
          record: { publication: about, origin: undefined, stage: "open", isWill: false },
        },
        { of: "backlog", clientId: "a", id: 1, record: { publication: about, at: 5 } },
        { of: "letter", clientId: "a", id: 1, record: { direction: "up", reason: "r", publication: about, at: 5 } },
      ];
      await commit(store, session("a", { will: about }), ...changes);
      const next = await again();
      const state = await next.load("a");
      expect(state?.session.will).toEqual(about);
      expect(state?.queued[0]?.[1].publication).toEqual(about);
      expect(state?.uplink[0]?.[1].publication).toEqual(about);
      expect(state?.backlog?.octets).toBe(backlogBytes(about) - backlogShare);
      expect(await fetched(next, "a")).toEqual([[1, { publication: about, at: 5 }]]);
      expect((await next.letters(0, 1))[0]?.record.publication).toEqual(about);
      expect(backlogBytes(about)).toBe(backlogBytes(publication("x")) + metaBytes(meta));
    });

    test("needed first: exactly the clients with publications under way, and shared connections, whatever their names", async () => {
      const { store, again } = await started();
      const underWay = ["a", "a-b", "a/b", "%", "a%2Fb", "ü/% b", "~", "z'z", "\0/with both"];
      const shared = ["\0/0", "\0täglich/%"];
      // Their keys lie beside those of shared connections, or they have records of all other kinds.
      const others = ["b", "!", "!a/b", "%00", "00", "\u0001", "a/", "ü", "with others"];
      for (const name of [...underWay, ...shared, ...others]) await commit(store, session(name));
      for (const name of underWay) await commit(store, uplink(name, 65_535), uplink(name, 1));
      const name = "with others";
      await commit(store, queued(name, 1), backlog(name, 2, "x"), taken(name, 3), received(name, 4), known(name));
      await commit(store, uplink("without a session/ü", 7), letter(name, 5));
      const needed = [...underWay, ...shared, "without a session/ü"].sort();
      expect((await foremost(store)).needed).toEqual(needed);
      const next = await again();
      expect((await foremost(next)).needed).toEqual(needed);
      const states = await stored(next);
      for (const each of (await foremost(next)).needed) {
        const state = states.find(({ session: { clientId } }) => clientId === each);
        expect(state).toBeDefined();
        expect(await next.load(each)).toEqual(state);
      }
    });

    test("a client is needed first until its last publication under way is removed; one that is written again counts once", async () => {
      const { store, again } = await started();
      const needed = async (of: Store) => (await foremost(of)).needed;
      await commit(store, uplink("one of two", 1), uplink("one of two", 2), session("one of two"));
      await commit(store, uplink("both/%", 1), uplink("both/%", 2), session("both/%"));
      await commit(store, uplink("ü twice", 1));
      await commit(store, uplink("ü twice", 1), session("ü twice"));
      const released = uplink("ü twice", 1);
      if (released.of === "uplink" && released.record)
        await commit(store, { ...released, record: { ...released.record, stage: "released" } });
      await commit(store, uplink("no session", 9));
      await commit(store, uplink("again", 4), gone(uplink("again", 4)), uplink("again", 4));
      await commit(store, uplink("at once", 4), gone(uplink("at once", 4)));
      await commit(store, session("\0/0"), session("\0/1"));
      await commit(store, gone(uplink("one of two", 1)), gone(uplink("both/%", 1)));
      // What was never there takes nothing away.
      await commit(store, gone(uplink("one of two", 3)), gone(uplink("one of two", 1)), gone(uplink("never", 1)));
      const before = ["\0/0", "\0/1", "again", "both/%", "no session", "one of two", "ü twice"];
      expect(await needed(store)).toEqual(before);
      const next = await again();
      expect(await needed(next)).toEqual(before);
      await commit(next, gone(uplink("both/%", 2)), gone(uplink("ü twice", 1)), gone(session("\0/1")));
      await commit(next, gone(uplink("no session", 9)), gone(uplink("again", 4)));
      await commit(next, gone(session("one of two"))); // its publication stays
      expect(await needed(next)).toEqual(["\0/0", "one of two"]);
      const last = await again();
      expect(await needed(last)).toEqual(["\0/0", "one of two"]);
      await commit(last, gone(uplink("one of two", 2)), gone(session("\0/0")));
      expect(await needed(last)).toEqual([]);
    });

    test("clients that were active are known to the next run, and others are not", async () => {
      const { store, again } = await started();
      const names = ["a", "ü/% b", "a%2Fb", "ends", "sleeps", "\0/0"];
      for (const name of names) await commit(store, session(name, { state: "active" }));
      await commit(store, session("a", { state: "active", sleepSeconds: 1 }), queued("a", 1));
      for (const state of ["asleep", "disconnected", "lost"] as const) await commit(store, session(state, { state }));
      await commit(store, session("wakes"), uplink("no session", 1));
      const next = await again();
      expect((await foremost(next)).active).toEqual([...names].sort());
      await commit(next, session("sleeps"), gone(session("ends")), gone(session("never")));
      await commit(next, session("wakes", { state: "active" }), session("a%2Fb", { state: "lost" }));
      // Where `active` is known only from the opening, it is the next run that sees this.
      expect((await foremost(await again())).active).toEqual(["\0/0", "a", "wakes", "ü/% b"]);
    });

    test("a store where nothing was before needs no session first", async () => {
      const { store } = await started();
      expect(await store.foremost()).toEqual({ needed: [], active: [] });
    });

    test("what is committed while it closes is written", async () => {
      const { store, later } = await started();
      const last = commit(store, session("last"));
      const states = later();
      await last;
      expect((await states).map(({ session: { clientId } }) => clientId)).toEqual(["last"]);
    });
  });
}
