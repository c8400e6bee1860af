import { expect, test } from "vitest";
import { TlsSession } from "../../../src/upstream/tls-session.ts";

const hour = 3_600_000;

function setUp() {
  const time = { now: 0, wall: Date.UTC(2026, 11, 1) };
  const session = new TlsSession(
    () => time.now,
    () => time.wall,
  );
  const pass = (ms: number) => {
    time.now += ms;
    time.wall += ms;
  };
  return { time, session, pass };
}

test("a ticket is offered again and again, the newest one, for a day after the last whole handshake", () => {
  const { session, pass } = setUp();
  expect(session.offer()).toBeUndefined();
  session.noteWhole(undefined);
  session.keep(Buffer.from("first"));
  expect(String(session.offer())).toBe("first");
  expect(String(session.offer())).toBe("first");
  pass(23 * hour);
  session.keep(Buffer.from("second")); // given on a connection that was resumed
  expect(String(session.offer())).toBe("second");
  pass(hour);
  expect(session.offer()).toBeUndefined();
});

test("not beyond the end of the certificate that was verified in the whole handshake", () => {
  const { session, time, pass } = setUp();
  session.noteWhole(time.wall + 2 * hour);
  session.keep(Buffer.from("ticket"));
  pass(2 * hour - 1);
  expect(session.offer()).toBeDefined();
  pass(1);
  expect(session.offer()).toBeUndefined();
});

test("what was refused is forgotten", () => {
  const { session } = setUp();
  session.noteWhole(undefined);
  session.keep(Buffer.from("ticket"));
  session.forget();
  expect(session.offer()).toBeUndefined();
  session.keep(Buffer.from("another"));
  expect(String(session.offer())).toBe("another");
  session.giveUp();
  session.keep(Buffer.from("and another"));
  expect(session.offer()).toBeUndefined();
});
