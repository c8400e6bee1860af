/** A device of MQTT-SN 2.0 at a gateway of 1.2: its operator learns why nothing answers. */
import { describe, expect, test } from "vitest";
import { isConnectOfVersion2 } from "../../../src/core/dialects/later-version.ts";
import { Bench, connect, elsewhere } from "../../helpers/bench.ts";

/** Flags (clean start), packet id 1, version 2, keep alive 60, largest packet 256, client id "client". */
const connect2 = "100101000102003c0100636c69656e74";

describe("a CONNECT of MQTT-SN 2.0", () => {
  test.each([
    ["without a will", connect2],
    ["with a will, whose flags come before the version", "12010300010002003c0100636c69656e7474"],
    ["the shortest", "0a010000010200000100"],
    ["with a length of three octets", "01001201010001020000000100636c696e74"],
    ["passed on by a forwarder", `05fe00aabb${connect2}`],
  ])("%s: dropped with a reason of its own, and not answered", (_name, hex) => {
    const bench = new Bench();
    const turn = bench.datagram(hex);
    expect([turn.sent, turn.drops]).toEqual([[], ["mqtt-sn-2.0"]]);
    expect(bench.core.counters.dropped).toMatchObject({ "mqtt-sn-2.0": 1, malformed: 0 });
    expect(turn.events).toMatchObject([{ detail: expect.stringContaining("MQTT-SN 2.0") }]);
  });

  test.each([
    ["another version", "100101000103003c0100636c69656e74"],
    ["the reserved bit", "100181000102003c0100636c69656e74"],
    ["too short", "09010000010200ffff"],
    ["another length than the datagram", "110101000102003c0100636c69656e74"],
    ["a SEARCHGW that is one octet too long", "04010002"],
  ])("%s: malformed", (_name, hex) => {
    expect(new Bench().datagram(hex).drops).toEqual(["malformed"]);
  });

  test("does not disturb the session that is at the same address", () => {
    const bench = new Bench().connected();
    expect(bench.datagram(connect2).drops).toEqual(["mqtt-sn-2.0"]);
    expect(bench.core.session("c1")?.view.state).toBe("active");
  });

  test("a 1.2 CONNECT that claims protocol id 2 is refused, as any other", () => {
    const turn = new Bench().client(connect({ protocolId: 2 }), elsewhere);
    expect(turn.message("CONNACK").returnCode).toBe(3);
  });
});

test("SEARCHGW of 1.2, whatever its radius, is none", () => {
  for (let radius = 0; radius < 256; radius++) expect(isConnectOfVersion2(Uint8Array.of(3, 1, radius))).toBe(false);
});
