/** What the hub does with bonds and after failed pairing: to which devices it connects, how, and what it reports. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { Bond } from "../../../../src/pairing/bond.ts";
import { Bonds, type KeptBond } from "../../../../src/transports/ble/bonds.ts";
import { BondsFile } from "../../../../src/transports/ble/bonds-file.ts";
import { BroadcastReceiver } from "../../../../src/transports/ble/broadcast.ts";
import type { CentralCommand, CentralEvent } from "../../../../src/transports/ble/central.ts";
import { BleHub, tickMs } from "../../../../src/transports/ble/hub.ts";
import type { HubOutput } from "../../../../src/transports/ble/hub-output.ts";
import { readPasskey } from "../../../../src/transports/ble/keys.ts";
import { bleOptions, nordicUartService } from "../../../../src/transports/ble/options.ts";
import { pairingCrypto } from "../../../../src/transports/ble/pairing-crypto.ts";
import { normalUuid } from "../../../../src/transports/ble/uuid.ts";

const address = "c0:00:00:00:00:01";
const bond: Bond = {
  identity: { address, type: "random" },
  longTermKey: new Uint8Array(16).fill(0xab),
  random: new Uint8Array(8),
  diversifier: 0,
  secureConnections: true,
  authenticated: false,
};
const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "bonds-"));
  folders.push(made);
  return made;
}

class Bench {
  readonly hub: BleHub;
  kept: readonly KeptBond[] = [];
  passkey = 123_456;
  #now = 1_000_000;
  #out: HubOutput[] = [];

  constructor(more: Record<string, unknown>, kept: readonly Bond[] = []) {
    const options = bleOptions.parse({ type: "ble", ...more });
    const bonds = new Bonds(options, {
      aes: pairingCrypto.aes,
      readPasskey: () => this.passkey,
      today: () => "today",
      changed: (all) => {
        this.kept = all;
      },
    });
    bonds.restore(kept.map((each) => ({ ...each, name: "n", since: "before" })));
    this.hub = new BleHub(options, new BroadcastReceiver(options.broadcast, new Map()), undefined, bonds);
    this.tell({ is: "ready", adapter: "a", driver: "d" });
  }

  tell(event: CentralEvent): void {
    this.hub.onCentral(event, this.#now);
    this.#out.push(...this.hub.take());
  }

  told(): string {
    const said = this.#out.flatMap((each) => (each.kind === "told" && each.level !== "debug" ? [each.say] : []));
    this.#out = [];
    return said.join("\n");
  }

  /** It advertises for so long; how it was connected to, if it was. */
  advertises(ms: number, at = address, name = "n", data?: Uint8Array): CentralCommand | undefined {
    for (const end = this.#now + ms; this.#now < end; this.#now += tickMs) {
      this.tell({
        ...{ is: "seen", address: at, addressType: "random", connectable: true, name, rssi: -60 },
        ...{ services: [normalUuid(nordicUartService)], serviceData: [], manufacturerData: data ? [data] : [] },
      });
      this.hub.tick(this.#now);
      this.#out.push(...this.hub.take());
      const link = this.#out.find((each) => each.kind === "command" && each.command.do === "link");
      this.#out = this.#out.filter((each) => each !== link);
      if (link?.kind === "command") return link.command;
    }
    return undefined;
  }

  messages(): number {
    return this.#out.filter(({ kind }) => kind === "message").length;
  }
}

test("nothing configured: links are as they were", () => {
  expect(new Bench({}).advertises(2_000)).toEqual({ do: "link", address });
});

test("a device with a bond is encrypted, whatever the options say of it", () => {
  const at = new Bench({}, [bond]);
  expect(at.advertises(2_000)).toMatchObject({ security: { bond: { longTermKey: bond.longTermKey } } });
});

test("a bond without a passkey is not enough where one is demanded", () => {
  const at = new Bench({ pairing: "passkey", bonding: { passkey: { env: "P" } } }, [bond]);
  expect(at.advertises(2_000)).toBeUndefined();
  expect(at.told()).toMatch(/its bond was made without a passkey.*unbond c0:00:00:00:00:01/);
  expect(at.hub.removeBond(address, 1_002_000)).toBe(true);
  expect(at.hub.removeBond(address, 1_002_000)).toBe(false);
  expect(at.advertises(20_000)).toMatchObject({ security: { pairing: { method: "passkey", passkey: 123_456 } } });
});

test("no passkey is configured for it: it is not connected to, and that is said", () => {
  const at = new Bench({ pairing: "passkey" });
  expect(at.advertises(2_000)).toBeUndefined();
  expect(at.told()).toMatch(/none is configured/);
});

test("a passkey that is always wrong is not tried for ever: each attempt tells some of it", () => {
  const at = new Bench({ pairing: "passkey", bonding: { passkey: { env: "P" } } });
  for (let i = 0; i < 5; i++) {
    expect(at.advertises(400_000)).toMatchObject({ do: "link" });
    at.tell({ is: "linkFailed", address, why: "the passkey is wrong", fault: "passkey" });
  }
  expect(at.told()).toMatch(/the passkey is wrong; next try in 10 s\n.*the 2nd time/);
  expect(at.advertises(400_000)).toBeUndefined();
  expect(at.advertises(3_000, "c0:00:00:00:00:02")).toBeUndefined(); // at no device
  expect(at.hub.counters.insecure.passkey).toBe(5);
  at.passkey = 7;
  expect(at.advertises(400_000)).toMatchObject({ security: { pairing: { passkey: 7 } } });
});

test("what is made is kept with what a person wants to know of it; no more than there is room for", () => {
  const at = new Bench({ pairing: "just-works", bonding: { bondsMax: 1 } });
  at.advertises(2_000);
  at.tell({ is: "bonded", address, bond });
  at.tell({ is: "linked", address, mtu: 23, confirmed: true });
  expect(at.kept).toMatchObject([{ identity: { address }, name: "n", since: "today" }]);
  expect(at.told()).toMatch(/paired without a passkey .*\n.*connected, .*encrypted/);
  expect(at.advertises(3_000, "c0:00:00:00:00:02")).toBeUndefined();
  expect(at.told()).toMatch(/bonding.bondsMax/);
  // The link of a bond that was removed ends.
  at.hub.removeBond(address, 1_002_000);
  expect(at.hub.take()).toContainEqual({ kind: "command", command: { do: "unlink", address } });
});

test("another device does not take the place of a bond, though it says that it is that device", () => {
  const at = new Bench({ pairing: "just-works" }, [bond]);
  const thief = "4a:00:00:00:00:09";
  at.advertises(2_000, thief);
  at.tell({ is: "bonded", address: thief, bond: { ...bond, longTermKey: new Uint8Array(16) } });
  at.tell({ is: "linked", address: thief, mtu: 23, confirmed: true });
  expect(at.told()).toMatch(/it identifies itself as c0:00:00:00:00:01, which has a bond/);
  expect(at.hub.take().concat([])).toEqual([]);
  expect(at.kept).toEqual([]);
  expect(at.hub.links).toBe(0);
});

test("what anybody broadcasts in the name of a device with a bond is not taken", () => {
  const publication = Uint8Array.from(Buffer.from("ffffa10007000132", "hex"));
  const of = (kept: readonly Bond[]) => {
    const at = new Bench({ allow: [] }, kept);
    at.advertises(500, address, "n", publication);
    return { messages: at.messages(), dropped: at.hub.counters.broadcastDrops["not-authenticated"] };
  };
  expect(of([])).toEqual({ messages: 1, dropped: 0 });
  expect(of([bond])).toMatchObject({ messages: 0, dropped: 1 });
});

describe("the file", () => {
  const kept: KeptBond = { ...bond, identityKey: new Uint8Array(16).fill(1), name: "n", since: "today" };

  test("comes back as it was, and nobody else may read it, also where an old one was open to all", async () => {
    const path = join(folder(), "bonds-ble.json");
    writeFileSync(`${path}.new`, "old");
    chmodSync(`${path}.new`, 0o666);
    const file = new BondsFile(path, (say) => {
      throw new Error(say);
    });
    expect(file.read()).toEqual([]);
    file.write([kept]);
    await file.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(new BondsFile(path, () => {}).read()).toEqual([kept]);
  });

  test("a damaged one is left as it is, and no key of it is said", () => {
    const path = join(folder(), "bonds-ble.json");
    writeFileSync(path, '{"version":1,"bonds":[{"longTermKey":"abababababababababababababababab"}]}');
    const read = () => new BondsFile(path, () => {}).read();
    expect(read).toThrow(/cannot be read: it is damaged; remove the file/);
    expect(read).not.toThrow(/abab/);
    expect(readFileSync(path, "utf8")).toContain("abab");
  });
});

test("a passkey is six digits, and is not said when it is something else", () => {
  const path = join(folder(), "passkey");
  writeFileSync(path, "001234\n");
  expect(readPasskey({ file: path })).toBe(1_234);
  writeFileSync(path, "12345");
  expect(() => readPasskey({ file: path })).toThrow(/passkey cannot be read: .*passkey: is not six digits/);
  expect(() => readPasskey({ file: path })).not.toThrow(/12345/);
  expect(() => readPasskey({ env: "NO_SUCH_PASSKEY" })).toThrow(/variable NO_SUCH_PASSKEY: is not set/);
});
