/** Broadcasts by extended advertising: up to 255 octets, through the gateway to the broker. */
import { createCipheriv } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { element } from "./lab/controller.ts";
import { Injector } from "./lab/injector.ts";
import { BleLab, missingFromLab } from "./lab/lab.ts";
import { Peripheral } from "./lab/peripheral.ts";

const missing = missingFromLab();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;
const address = "c0:98:e5:00:00:01";
const key = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const company = Buffer.of(0xff, 0xff);

/** Predefined topic 7, as docs/guide/ble-profile.md says. */
function encrypted(counter: number, text: string): Buffer {
  const head = Buffer.from([0xb9, 0, 7, 0, 0, 0, counter]);
  const nonce = Buffer.concat([Buffer.from(address.replaceAll(":", ""), "hex"), head]);
  const cipher = createCipheriv("aes-128-ccm", key, nonce, { authTagLength: 4 });
  const data = cipher.update(text);
  cipher.final();
  return element(0xff, Buffer.concat([company, head, data, cipher.getAuthTag()]));
}

const plain = (counter: number, text: string) =>
  element(0xff, Buffer.concat([company, Buffer.from([0xa1, 0, 7, 0, counter]), Buffer.from(text)]));

describe.skipIf(missing !== undefined)(`extended advertising${named}`, () => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  test("broadcasts of 229 octets, plain and encrypted, of 255 in two pieces, and legacy ones beside them", async () => {
    const folder = mkdtempSync(join(tmpdir(), "extended-"));
    open.push({ close: () => rmSync(folder, { recursive: true }) });
    writeFileSync(join(folder, "key"), key.toString("hex"));
    let injector: Injector | undefined;
    const lab = await BleLab.start(
      {
        extendedAdvertising: true,
        broadcast: { keys: { [address]: { file: join(folder, "key") } } },
      },
      {},
      async (socket) => {
        injector = await Injector.start(join(folder, "hci"), socket.replace(/-le$/, "-bredrle"));
        open.push(injector);
        return join(folder, "hci");
      },
    );
    open.push(lab);
    const extended = lab.air?.extendedSocket ?? "";
    const sensor = async (socket: string, options: { address?: string } = {}): Promise<Peripheral> => {
      const peripheral = new Peripheral(socket, options);
      open.push({ close: () => peripheral.kill() });
      await peripheral.start();
      return peripheral;
    };
    const text = (count: number, value: string) => value.repeat(count);

    const first = await sensor(extended);
    await first.broadcastExtended(plain(1, text(220, "p")));
    await lab.arrives(text(220, "p"));
    const second = await sensor(extended, { address });
    await second.broadcastExtended(encrypted(1, text(214, "e")));
    await lab.arrives(text(214, "e"));
    const legacy = await sensor(lab.socket);
    for (let repeats = 0; repeats < 5; repeats++) await legacy.broadcast(plain(1, "short"));
    await lab.arrives("short");

    const whole = plain(1, text(246, "w"));
    expect(whole.length).toBe(255);
    injector?.advertiseExtended("c0:98:e5:00:00:02", whole.subarray(0, 229), "more");
    injector?.advertiseExtended("c0:98:e5:00:00:02", whole.subarray(229), "complete");
    await lab.arrives(text(246, "w"));
    expect([...lab.seen.values()]).toEqual([1, 1, 1, 1]);
  });
});
