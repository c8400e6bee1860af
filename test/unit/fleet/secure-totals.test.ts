/** The counters of DTLS in a fleet: sums over the doors and the shards of a process, also of shards that have moved away. */
import { expect, test } from "vitest";
import { type NamedReport, SecureTotals } from "../../../src/gateway-fleet-dtls.ts";
import { newCounters, type SecureCounters } from "../../../src/secure/messages.ts";

function report(
  transport: string,
  counts: Partial<SecureCounters>,
  { contexts = 0, handshakes = 0 }: { contexts?: number; handshakes?: number } = {},
): NamedReport {
  return { transport, contexts, handshakes, counters: { ...newCounters(), ...counts } };
}

/** All counters differ, so that none is added to another one. */
function different(factor: number): SecureCounters {
  const counters = newCounters();
  const names = Object.keys(counters).filter((name) => name !== "certificatesRefused");
  const { certificatesRefused } = counters;
  const refusals = Object.fromEntries(Object.keys(certificatesRefused).map((name, i) => [name, factor * (100 + i)]));
  return {
    ...counters,
    ...Object.fromEntries(names.map((name, i) => [name, factor * (1 + i)])),
    certificatesRefused: { ...certificatesRefused, ...refusals },
  };
}

test("there is one report for each transport, and every counter is a sum of its own", () => {
  const now = [
    { ...report("dtls", {}, { contexts: 0, handshakes: 4 }), counters: different(1) },
    report("other", { badKeys: 5 }, { contexts: 1 }),
    { ...report("dtls", {}, { contexts: 10, handshakes: 1 }), counters: different(10) },
    { ...report("dtls", {}, { contexts: 20, handshakes: 2 }), counters: different(100) },
  ];
  const [dtls, other, ...more] = new SecureTotals(() => now).reports();
  expect(dtls).toEqual({ transport: "dtls", contexts: 30, handshakes: 7, counters: different(111) });
  expect(other).toEqual(report("other", { badKeys: 5 }, { contexts: 1 }));
  expect(more).toEqual([]);
});

test("the counts of a shard that has moved away stay, and its contexts do not", () => {
  const door = report("dtls", { cookies: 7 });
  const first = { ...report("dtls", {}, { contexts: 3, handshakes: 1 }), counters: different(1) };
  const second = report("dtls", { handshakesDone: 1_000 }, { contexts: 4 });
  let shards = [first, second];
  const totals = new SecureTotals(() => [door, ...shards]);
  const before = totals.reports();
  totals.retire([first]);
  shards = [second];
  expect(totals.reports()).toEqual(before.map((each) => ({ ...each, contexts: 4, handshakes: 0 })));
  // It comes back with new counters, and leaves again with the other one.
  totals.retire([second, report("dtls", { handshakesDone: 1 })]);
  shards = [];
  const [{ contexts, counters } = door, ...more] = totals.reports();
  expect([contexts, more]).toEqual([0, []]);
  const { handshakesDone, cookies, certificatesRefused } = different(1);
  expect(counters).toMatchObject({ handshakesDone: handshakesDone + 1_001, cookies: cookies + 7, certificatesRefused });
});

test("the reports that it was given are not changed, and asking twice gives the same", () => {
  const reports = [report("dtls", different(1)), report("dtls", different(2))];
  const copy = structuredClone(reports);
  const totals = new SecureTotals(() => reports);
  totals.retire([report("dtls", different(4))]);
  expect(totals.reports()).toEqual(totals.reports());
  expect(totals.reports()[0]?.counters).toEqual(different(7));
  expect(reports).toEqual(copy);
});

test("without DTLS there is no report", () => {
  expect(new SecureTotals(() => []).reports()).toEqual([]);
});
