/**
 * Encrypted links, from the radio to the broker: paired with and without a passkey, by both kinds of pairing, and recognized again by the
 * bond; and all faults, which must be reported and delay no other device. Also runs in the virtual machine.
 */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { ask } from "../../src/cli/ask.ts";
import { drivers } from "../../src/transports/ble/drivers.ts";
import { until } from "../helpers/test-gateway.ts";
import type { BleDevice, BleDeviceOptions } from "./lab/ble-device.ts";
import { BleLab, driver, missingFromLab } from "./lab/lab.ts";
import { type Flash, privateAddress, type ResponderOptions } from "./lab/responder.ts";

const missing = missingFromLab();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;
/** CAP_NET_RAW, as a bit. */
const netRaw = 2 ** 13;
const address = "c0:00:00:00:0b:01";

describe.skipIf(missing !== undefined)(`encrypted links${named}`, () => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  async function lab(ble: Record<string, unknown>, more: Record<string, unknown> = {}): Promise<BleLab> {
    const started = await BleLab.start(ble, more);
    open.push(started);
    return started;
  }

  function folder(): string {
    const made = mkdtempSync(join(tmpdir(), "bonds-"));
    open.push({ close: () => rmSync(made, { recursive: true }) });
    return made;
  }

  /** A file with the six digits. */
  function passkey(digits: string): { file: string } {
    const file = join(folder(), "passkey");
    writeFileSync(file, `${digits}\n`);
    return { file };
  }

  const secure = (more: Partial<BleDeviceOptions> = {}): Partial<BleDeviceOptions> => ({
    address,
    pairs: {},
    flash: {},
    demandsEncryption: true,
    ...more,
  });

  async function talks(at: BleLab, device: BleDevice, round = ""): Promise<void> {
    const { clientId } = device.device;
    await device.connect();
    await device.subscribe(`down/${clientId}`, 1);
    await device.publish(`up/${clientId}`, `${clientId} up${round}`, 1);
    await at.arrives(`${clientId} up${round}`);
    await at.publish(`down/${clientId}`, `${clientId} down${round}`, 1);
    await until(`${clientId} down${round}`, () => device.received.includes(`${clientId} down${round}`));
  }

  const says = (at: BleLab, pattern: RegExp) =>
    until(String(pattern), () => at.logged().some((line) => pattern.test(line)));
  const count = (at: BleLab, what: string) => at.gateway.links()[0]?.counters[what];

  /** The device is switched off and on again: a new link. */
  async function again(device: BleDevice): Promise<void> {
    device.off();
    await device.on();
  }

  test("just works: paired once, known by its bond from then on, and CAP_NET_RAW is enough for it", async () => {
    open.push(BleLab.oneRight());
    const rules = [{ allow: "*", from: ["bond:*"] }];
    const at = await lab({ pairing: "just-works" }, { access: { default: "deny", rules } });
    const device = at.device("new", secure());
    const old = at.device(
      "old",
      secure({ address: "c0:00:00:00:0b:02", pairs: { secureConnections: false }, flash: {} }),
    );
    for (const each of [device, old]) {
      await each.on();
      await talks(at, each);
    }
    await says(at, /new\): paired without a passkey .*LE Secure Connections/);
    await says(at, /old\): paired without a passkey .*legacy pairing/);
    await says(at, /new\): connected, .*encrypted, paired without a passkey/);
    for (const each of [device, old]) {
      await again(each);
      await talks(at, each, " again");
      expect(each.peripheral?.isEncrypted).toBe(true);
      expect(each.peripheral?.security).toEqual([]); // by the bond: nothing was said about pairing
    }
    expect(count(at, "bonded")).toBe(2);
    if (process.env["BLE_LAB_AIR"] !== undefined) expect(at.childRights()).toBe(netRaw);
  });

  test("with the other driver: its packets pass through the gateway's hands, too", async () => {
    const other = drivers.find((each) => each !== driver);
    const at = await lab({ pairing: "just-works", driver: other, supervisionSeconds: 4 });
    const device = at.device("new", secure());
    await device.on();
    await talks(at, device);
    await says(at, new RegExp(`ready, adapter .* by ${other} `));
    await says(at, /new\): connected, .*encrypted, paired without a passkey/);
    await until("4 s of supervision", () => device.peripheral?.parameters.at(-1)?.timeout === 400);
  });

  test("with a passkey; a wrong one is said, and others do not wait", async () => {
    const bonding = {
      passkey: passkey("012345"),
      devices: [
        { name: "wrong*", pairing: "passkey", passkey: passkey("999999") },
        { name: "open", pairing: "none" },
      ],
    };
    const at = await lab({ pairing: "passkey", bonding });
    const secret = { passkey: 12_345 };
    const device = at.device("new", secure({ pairs: secret }));
    const old = at.device(
      "old",
      secure({ address: "c0:00:00:00:0b:02", pairs: { ...secret, secureConnections: false }, flash: {} }),
    );
    const wrong = at.device("wrong", secure({ address: "c0:00:00:00:0b:03", pairs: secret, flash: {} }));
    const plain = at.device("open");
    for (const each of [wrong, device, old, plain]) await each.on();
    await Promise.all([device, old, plain].map((each) => talks(at, each)));
    await says(at, /new\): paired with its passkey, by LE Secure Connections/);
    await says(at, /old\): paired with its passkey, by legacy pairing/);
    await says(at, /wrong\): the passkey is wrong; next try in 10 s/);
    expect(count(at, "pairing:passkey")).toBeGreaterThan(0);
    expect(wrong.links).toBe(0);
    expect(at.logged().join("\n")).not.toMatch(/012345|12345|999999/);
    await again(device);
    await talks(at, device, " again");
    expect(device.peripheral?.security).toEqual([]);
  });

  test("it asks for security at once, says nothing before, and its radio cuts everything in small pieces", async () => {
    const at = await lab({ pairing: "just-works" });
    const device = at.device("insists", secure({ insistsOnSecurity: true, pieceBytes: 27 }));
    await device.on();
    await talks(at, device);
    expect(device.peripheral?.security.some((pdu) => pdu.startsWith("05"))).toBe(false);
    expect(device.links).toBe(1);
  });

  test("a device that changes its address is known by its identity", async () => {
    const irk = Uint8Array.from(Buffer.from("ec0234a357c8ad05341010a60a397d9b", "hex"));
    const rules = [{ allow: "mover", from: [`bond:${address}`] }];
    const at = await lab({ pairing: "just-works" }, { access: { default: "deny", rules } });
    const device = at.device("mover", secure({ pairs: { identity: { irk, address } } }));
    await device.on(privateAddress(irk));
    await talks(at, device);
    device.off();
    await device.on(privateAddress(irk));
    await talks(at, device, " again");
    expect(device.peripheral?.security).toEqual([]);
    await says(at, new RegExp(`mover\\): connected, .*known as ${address}`));
    expect(count(at, "bonded")).toBe(1);
  });

  test("bonds outlive the gateway, in a file for it alone; they are listed without keys, and removed", async () => {
    const store = { kind: "disk", folder: folder() };
    const file = join(store.folder, "bonds-ble.json");
    const flash: Flash = {};
    const first = await BleLab.start({ pairing: "just-works" }, { store });
    const device = first.device("kept", secure({ flash }));
    await device.on();
    await talks(first, device);
    const key = Buffer.from(flash.longTermKey ?? []).toString("hex");
    await first.close();
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, "utf8")).toContain(key);
    const at = await lab({ pairing: "just-works" }, { store });
    const back = at.device("kept", secure({ flash }));
    await back.on();
    await talks(at, back, " again");
    expect(back.peripheral?.security).toEqual([]);
    expect(JSON.stringify(at.gateway.links())).not.toContain(key);
    expect(at.logged().join("\n")).not.toContain(key);
  });

  test("a lost bond and a wrong key: said, counted, no session; removed by the operator, it is paired anew", async () => {
    const store = { kind: "disk", folder: folder() };
    const at = await lab({ pairing: "just-works" }, { store });
    const [forgetful, changed]: Flash[] = [{}, {}];
    const lost = at.device("lost", secure({ flash: forgetful ?? {} }));
    const wrong = at.device("wrong", secure({ address: "c0:00:00:00:0b:02", flash: changed ?? {} }));
    for (const device of [lost, wrong]) {
      await device.on();
      await talks(at, device);
      device.off();
    }
    delete forgetful?.longTermKey;
    changed?.longTermKey?.fill(7);
    await lost.on();
    await wrong.on();
    const other = at.device("beside", secure({ address: "c0:00:00:00:0b:03", flash: {} }));
    await other.on();
    await says(at, /lost\): it has lost its bond .* ble unbond c0:00:00:00:0b:01/);
    await says(at, /wrong\): the key of its bond does not match .* ble unbond c0:00:00:00:0b:02/);
    await talks(at, other);
    expect(count(at, "pairing:bond-lost")).toBeGreaterThan(0);
    expect(count(at, "pairing:bond-wrong")).toBeGreaterThan(0);
    expect([lost.links, wrong.links]).toEqual([1, 1]);
    const socket = join(store.folder, "control.sock");
    expect(await ask(socket, "ble.bonds", {})).toMatchObject([
      { address, name: "lost", passkey: false, secureConnections: true },
      { name: "wrong" },
      { name: "beside" },
    ]);
    expect(await ask(socket, "ble.unbond", { address: address.toUpperCase() })).toEqual({ removed: address });
    await talks(at, lost, " anew");
    await expect(ask(socket, "ble.unbond", { address: "c0:00:00:00:0b:09" })).rejects.toThrow(/no bond of/);
  });

  test("devices that hang, refuse, or pair badly: each is said and counted, gets no session, and holds up nobody", async () => {
    const bad: Record<string, [pairs: ResponderOptions, words: RegExp, counter: string]> = {
      silent: [{ hangsAt: 0x01 }, /pairing hangs: it said nothing for 1 s/, "no-answer"],
      halfway: [{ hangsAt: 0x04 }, /pairing hangs/, "no-answer"],
      refuses: [{ refuses: 0x05 }, /refuses to pair: it does not pair \(reason 0x05\)/, "refused"],
      forgets: [{ keepsBonds: false }, /does not keep bonds/, "not-kept"],
      short: [{ keyOctets: 7 }, /a key of 7 octets/, "insecure"],
      mismatch: [
        { change: (pdu) => (pdu[0] === 0x0d ? pdu.map((octet, i) => octet ^ (i === 3 ? 1 : 0)) : pdu) },
        /its values do not match/,
        "broken",
      ],
      nonsense: [{ change: (pdu) => pdu.subarray(0, 3) }, /is invalid/, "broken"],
    };
    const at = await lab({ pairing: "just-works", bonding: { silenceSeconds: 1 } });
    const devices = Object.entries(bad).map(([name, [pairs]], i) =>
      at.device(name, secure({ address: `c0:00:00:00:0c:0${i}`, pairs, flash: {}, insistsOnSecurity: true })),
    );
    for (const device of devices) await device.on();
    const other = at.device("beside", secure({ address: "c0:00:00:00:0b:03" }));
    await other.on();
    await talks(at, other);
    for (const [name, [, words, counter]] of Object.entries(bad)) {
      await says(at, new RegExp(`${name}\\): .*${words.source}`));
      expect(count(at, `pairing:${counter}`)).toBeGreaterThan(0);
    }
    expect(devices.map(({ links }) => links)).toEqual(devices.map(() => 0));
  });

  test("somebody else under the address of a device with a bond: no session, whatever it is called", async () => {
    const bonding = { devices: [{ name: "open", pairing: "none" }] };
    const at = await lab({ pairing: "just-works", bonding });
    const device = at.device("real", secure());
    await device.on();
    await talks(at, device);
    device.off();
    const thief = at.device("thief", { address, name: "open" });
    await thief.on();
    await says(at, /\(open\): .*bond/);
    expect(thief.links).toBe(0);
  });
});
