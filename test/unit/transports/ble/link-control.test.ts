/** Between noble and the controller, by hand: packets as the controller sends them, and what comes of them. */
import { describe, expect, test } from "vitest";
import { attErrorInWords } from "../../../../src/transports/ble/att-errors.ts";
import { connectionOptions } from "../../../../src/transports/ble/connection-options.ts";
import { readPacket } from "../../../../src/transports/ble/hci-packets.ts";
import { LinkControl, type LinkNews } from "../../../../src/transports/ble/link-control.ts";
import { configuredParameters, grantedParameters } from "../../../../src/transports/ble/link-parameters.ts";
import { pairingCrypto } from "../../../../src/transports/ble/pairing-crypto.ts";

const address = "c0:00:00:00:00:01";
const gateway = "00:aa:01:00:00:01";
const handle = 0x0042;

function bench(more: { isAlone?: boolean; connection?: Record<string, unknown>; supervisionMs?: number } = {}) {
  const out: string[] = [];
  const news: LinkNews[] = [];
  const { isAlone = true, supervisionMs = 4_000 } = more;
  const connection = connectionOptions.parse(more.connection ?? {});
  const control = new LinkControl(
    { connection, supervisionMs, isAlone, own: () => ({ address: gateway, type: "public" }), crypto: pairingCrypto },
    {
      command: (packet) => out.push(packet.toString("hex")),
      data: (to, channel, payload) => out.push(`${to}/${channel} ${payload.toString("hex")}`),
      tell: (each) => news.push(each),
    },
  );
  const take = (hex: string) => {
    const { pass, after } = control.take(Buffer.from(hex.replaceAll(" ", ""), "hex"));
    after?.();
    return pass?.toString("hex");
  };
  return {
    take,
    settle: () => control.settle(address),
    news,
    said: () => news.flatMap((each) => (each.is === "noticed" ? [each.say] : [])),
    sent: () => out.splice(0),
    /** Interval and time-out in the controller's units; what a kernel makes of it unless told. */
    connected: ({ interval = "1800", timeout = "2a00" } = {}) =>
      take(`04 3e 13 01 00 4200 00 01 0100000000c0 ${interval} 0000 ${timeout} 00`),
    updated: (status: string, interval: string, latency: string, timeout: string) =>
      take(`04 3e 0a 03 ${status} 4200 ${interval} ${latency} ${timeout}`),
  };
}

const l2cap = (channel: string, payload: string) => {
  const length = payload.replaceAll(" ", "").length / 2;
  const octet = (value: number) => value.toString(16).padStart(2, "0");
  return `02 4220 ${octet(length + 4)}00 ${octet(length)}00 ${channel}00 ${payload}`;
};
/** 30 to 50 ms, latency 0, 4 s. */
const update = "0113200e4200180028000000900100000000";

describe("the link's parameters", () => {
  test("what a kernel gave is set right, once, as soon as the link stands", () => {
    const at = bench();
    at.connected();
    expect(at.sent()).toEqual([update]);
    at.updated("00", "1800", "0000", "9001");
    at.settle();
    expect(at.sent()).toEqual([]);
    expect(at.news.at(-1)).toEqual({
      is: "parameters",
      address,
      parameters: { intervalMs: 30, latency: 0, supervisionMs: 4_000 },
    });
  });

  test("nothing is sent when they are right from the start", () => {
    const at = bench();
    at.connected({ timeout: "9001" });
    at.settle();
    expect(at.sent()).toEqual([]);
  });

  test.each([
    ["the controller", "04 0f 04 0c 01 1320"],
    ["the device", "04 3e 0a 03 1a 4200 0000 0000 0000"],
  ])("%s refuses: it is tried again when the link is in use, and said if that is refused too", (_who, refusal) => {
    const at = bench();
    at.connected();
    at.sent();
    at.take(refusal);
    expect(at.said()).toEqual([]);
    at.settle();
    expect(at.sent()).toEqual([update]);
    at.take(refusal);
    expect(at.said().join()).toMatch(/did not get interval 30 to 50 ms, latency 0, lost after 4 s of silence: /);
    expect(at.sent()).toEqual([]);
  });

  test("whoever insists on others has the last word in the end", () => {
    const at = bench();
    at.connected();
    for (let round = 0; round < 10; round++) at.updated("00", "1800", "0000", "2a00");
    expect(at.sent()).toHaveLength(4);
  });

  test("a peripheral's link, a failed one and octets that are cut off are nobody's", () => {
    const at = bench();
    const whole = "043e1301004200000101000000000018000000 2a0000".replaceAll(" ", "");
    for (let length = 0; length < whole.length; length += 2) at.take(whole.slice(0, length));
    at.take("04 3e 13 01 00 4200 01 01 0100000000c0 1800 0000 2a00 00");
    at.take("04 3e 13 01 3e 4200 00 01 0100000000c0 1800 0000 2a00 00");
    expect([at.sent(), at.news]).toEqual([[], []]);
  });

  test("with resolved addresses (LE Enhanced Connection Complete) it is the same", () => {
    const at = bench();
    at.take(`04 3e 1f 0a 00 4200 00 01 0100000000c0 ${"00".repeat(12)} 1800 0000 2a00 00`);
    expect(at.sent()).toEqual([update]);
  });

  test("silence must be longer than what a device may skip", () => {
    const connection = connectionOptions.parse({ intervalMsMin: 400, intervalMsMax: 500, latency: 9 });
    expect(configuredParameters({ connection, supervisionMs: 1_000 }).supervisionMs).toBe(10_010);
  });
});

describe("a device asks for other parameters", () => {
  const ask = (min: string, max: string, latency: string, timeout: string) =>
    l2cap("05", `12 07 0800 ${min} ${max} ${latency} ${timeout}`);

  test("within the options: granted and set; silence is not shorter than configured", () => {
    const at = bench();
    at.connected({ timeout: "9001" });
    expect(at.take(ask("a000", "c800", "0200", "2a00"))).toBeUndefined();
    expect(at.sent()).toEqual(["66/5 130702000000", "0113200e4200a000c8000200900100000000"]);
    at.updated("00", "a000", "0200", "9001");
    expect(at.sent()).toEqual([]);
  });

  test("beyond them: refused, and nothing changes", () => {
    const at = bench();
    at.connected({ timeout: "9001" });
    at.take(ask("2003", "2003", "0000", "9001"));
    expect(at.sent()).toEqual(["66/5 130702000100"]);
    expect(at.said().join()).toMatch(/asks for interval 1000 to 1000 ms.*refused/);
  });

  test("beside a kernel that answers itself and grants everything, what is beyond the options is taken back", () => {
    const at = bench({ isAlone: false });
    at.connected({ timeout: "9001" });
    const asked = ask("2003", "2003", "0000", "9001");
    expect(at.take(asked)).toBe(asked.replaceAll(" ", ""));
    expect(at.sent()).toEqual([]);
    at.updated("00", "2003", "0000", "9001");
    expect(at.sent()).toEqual([update]);
  });

  test("its controller asks: accepted or refused by command, and only where no kernel does it", () => {
    const at = bench();
    at.connected({ timeout: "9001" });
    at.take("04 3e 0b 06 4200 a000 c800 0200 2a00");
    at.take("04 3e 0b 06 4200 2003 2003 0000 9001");
    at.take("04 3e 0b 06 4300 a000 c800 0200 2a00"); // no such link
    expect(at.sent()).toEqual(["0120200e4200a000c8000200900100000000", "0121200342003b", "0121200343003b"]);
    const beside = bench({ isAlone: false });
    beside.connected({ timeout: "9001" });
    beside.take("04 3e 0b 06 4200 a000 c800 0200 2a00");
    expect(beside.sent()).toEqual([]);
  });

  test.each([
    ["all of it", { intervalMsMin: 100, intervalMsMax: 200, latency: 3, supervisionMs: 5_000 }, [100, 200, 5_000]],
    ["what overlaps", { intervalMsMin: 7.5, intervalMsMax: 4_000, latency: 0, supervisionMs: 420 }, [30, 500, 4_000]],
    ["too fast", { intervalMsMin: 7.5, intervalMsMax: 15, latency: 0, supervisionMs: 4_000 }, undefined],
    ["too many to skip", { intervalMsMin: 30, intervalMsMax: 50, latency: 11, supervisionMs: 4_000 }, undefined],
    ["silent for too long", { intervalMsMin: 30, intervalMsMax: 50, latency: 0, supervisionMs: 6_010 }, undefined],
  ])("the options decide: %s", (_what, asked, granted) => {
    const got = grantedParameters(asked, { connection: connectionOptions.parse({}), supervisionMs: 4_000 });
    expect(got && [got.intervalMsMin, got.intervalMsMax, got.supervisionMs]).toEqual(granted);
  });
});

describe("what a device says no to", () => {
  test("a Security Request is answered with Pairing Failed, and noble does not see it", () => {
    const at = bench({ isAlone: false });
    at.connected({ timeout: "9001" });
    expect(at.take(l2cap("06", "0b 01"))).toBeUndefined();
    expect(at.sent()).toEqual(["66/6 0505"]);
    expect(at.said().join()).toMatch(/asks for pairing/);
  });

  test("errors of the attribute protocol are told, and those that noble stands still at are other ones for it", () => {
    const at = bench();
    at.connected({ timeout: "9001" });
    for (const code of ["05", "08", "0f", "04"]) {
      expect(at.take(l2cap("04", `01 12 0600 ${code}`))).toBe(l2cap("04", "01 12 0600 0e").replaceAll(" ", ""));
    }
    const own = l2cap("04", "01 12 0600 80");
    expect(at.take(own)).toBe(own.replaceAll(" ", ""));
    expect(at.news.flatMap((each) => (each.is === "refused" ? [each.code] : []))).toEqual([5, 8, 15, 4, 128]);
  });

  test("a device without MTU exchange is no trouble", () => {
    const at = bench();
    at.connected({ timeout: "9001" });
    at.take(l2cap("04", "01 02 0000 06"));
    expect(at.news.some((each) => each.is === "refused")).toBe(false);
  });

  test("in words", () => {
    expect(attErrorInWords(0x0f)).toMatch(/paired or encrypted.*0x0f/);
    expect(attErrorInWords(0x80)).toMatch(/its own program \(ATT error 0x80\)/);
    expect(attErrorInWords(0x03)).toMatch(/may not be written/);
    expect(attErrorInWords(0xe0)).toMatch(/no known reason \(ATT error 0xe0\)/);
  });
});

test("links and data of others pass as they are, whatever they are", () => {
  const at = bench();
  for (const hex of ["", "02", "0242200900", "04", "043e", "043e01ff", "0442200400", l2cap("06", "0b 01")]) {
    expect(at.take(hex)).toBe(hex.replaceAll(" ", ""));
  }
  expect(readPacket(Buffer.from("0405040042001300", "hex"))).toEqual({
    reason: 0x13,
    is: "disconnected",
    handle,
  });
});
