/**
 * What a store is given to write, the same for the same seed: commit n, of one to four changes. Plain JavaScript, since
 * the process that is recorded runs it too.
 */

const clients = 6;
const idsPerClient = 150;

/** @param {number} seed @param {number} n @returns {import("../../../src/core/record.ts").Change[]} */
export function changesOf(seed, n) {
  const roll = dice(seed * 1_000_003 + n);
  const changes = new Map();
  for (let i = 1 + roll(4); i > 0; i--) {
    const change = one(roll, n);
    changes.set(`${change.of}/${change.clientId}/${change.id}`, change);
  }
  return [...changes.values()];
}

function one(roll, n) {
  const clientId = `c ${roll(clients)}`;
  const of = ["queued", "backlog", "session", "letter", "queued", "backlog"][roll(6)];
  if (of === "session") {
    const rest = { state: "asleep", clean: false, keepAliveSeconds: 0, farewell: false, nextTopicId: 1 };
    return { of, clientId, id: 0, record: { clientId, sleepSeconds: n, topics: [], subscriptions: [], ...rest } };
  }
  const id = 1 + roll(idsPerClient);
  if (roll(3) === 0) return { of, clientId, id, record: undefined };
  const payload = Buffer.alloc(8 + roll(4_000), `${n} `);
  payload.writeDoubleBE(n);
  const publication = { topicName: "t", payload, qos: 1, retain: false };
  const byKind = {
    queued: { msgId: 0, released: false },
    letter: { direction: "up", reason: "r", at: 0 },
    backlog: { at: 0 },
  };
  return { of, clientId, id, record: { publication, ...byKind[of] } };
}

/** The commit that wrote a record. @param {any} record */
export function commitOf(record) {
  if ("sleepSeconds" in record) return record.sleepSeconds;
  return Buffer.from(record.publication.payload).readDoubleBE(0);
}

/** mulberry32; answers whole numbers below `limit`. @param {number} seed */
export function dice(seed) {
  let state = seed >>> 0;
  return (/** @type {number} */ limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}
