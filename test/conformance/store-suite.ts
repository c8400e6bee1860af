/** What every store must do. A new one joins with one line in stores.test.ts. */
import { afterEach, describe, expect, test } from "vitest";
import type { Change, SessionRecord, StoredState } from "../../src/core/record.ts";
import type { Store } from "../../src/storage/store.ts";

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
    v: 1,
    clientId,
    peer: "udp/192.0.2.1:1",
    state: "asleep",
    clean: false,
    keepAliveSeconds: 60,
    sleepSeconds: 600,
    farewell: false,
    will: { topicName: "w", payload: Uint8Array.of(0, 255), qos: 1, retain: true },
    brokerWill: undefined,
    topics: [{ id: 5, name: "täglich/+?", known: true }],
    nextTopicId: 6,
    subscriptions: [{ filter: "a/#", qos: 2, by: "name", predefinedId: 0 }],
    ...more,
  },
});

export const queued = (clientId: string, seq: number, text = "x"): Change => ({
  of: "queued",
  clientId,
  id: seq,
  record: { v: 1, publication: publication(text), msgId: 7, released: false },
});

const publication = (text: string) => ({
  topicName: "t",
  payload: new TextEncoder().encode(text),
  qos: 2 as const,
  retain: false,
});

const gone = (change: Change): Change => ({ ...change, record: undefined });

export async function stored(store: Store): Promise<StoredState[]> {
  const states: StoredState[] = [];
  for await (const state of store.all()) states.push(state);
  return states.sort((a, b) => (a.session.clientId < b.session.clientId ? -1 : 1));
}

export function commit(store: Store, ...changes: Change[]): Promise<void> {
  return new Promise((resolve, reject) => store.commit(changes, (error) => (error ? reject(error) : resolve())));
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
      /** What a later life finds; the same store where nothing survives. */
      const later = async (): Promise<StoredState[]> => {
        if (!subject.again) return stored(store);
        await store.close();
        const next = subject.again();
        open.push(next);
        expect((await next.open()).notices).toEqual([]);
        return stored(next);
      };
      return { store, later };
    }

    test("gives back what was committed: every kind, octet by octet, in its order", async () => {
      const { store, later } = await started();
      const uplink: Change = {
        of: "uplink",
        clientId: "a",
        id: 65_535,
        record: {
          v: 1,
          publication: publication("up"),
          origin: { msgId: 3, topicId: 5 },
          stage: "released",
          isWill: false,
        },
      };
      const received: Change = { of: "received", clientId: "a", id: 9, record: { v: 1, seq: 2 } };
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
      expect(a?.received).toEqual([[9, { v: 1, seq: 2 }]]);
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

    test("what is committed while it closes is written", async () => {
      const { store, later } = await started();
      const last = commit(store, session("last"));
      const states = later();
      await last;
      expect((await states).map(({ session: { clientId } }) => clientId)).toEqual(["last"]);
    });
  });
}
