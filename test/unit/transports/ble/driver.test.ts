/** Which driver is taken, with packages that only pretend; and what is installed here. */
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { loadDriver } from "../../../../src/transports/ble/driver.ts";
import { type Driver, drivers } from "../../../../src/transports/ble/drivers.ts";
import type { Noble } from "../../../../src/transports/ble/noble.ts";

const [first, second] = drivers;
const coded = (code: string, text: string) => Object.assign(new Error(text), { code });
const notInstalled = coded("ERR_MODULE_NOT_FOUND", "Cannot find package");
const notCompiled = coded("MODULE_NOT_FOUND", "Cannot find module '/x/lib/binding/bluetooth_hci_socket.node'");
const otherNode = coded(
  "ERR_DLOPEN_FAILED",
  "compiled against a different Node.js version using NODE_MODULE_VERSION 115",
);
const noBluetooth = coded("EAFNOSUPPORT", "EAFNOSUPPORT, Address family not supported by protocol");

/** Loads where no error is given. */
function packages(errors: Partial<Record<Driver, Error>>) {
  const tried: Driver[] = [];
  const load = async (driver: Driver) => {
    tried.push(driver);
    const error = errors[driver];
    if (error) throw error;
    return {} as Noble;
  };
  return { load, tried };
}

test("the first one is taken if it loads, and the second is not even looked at", async () => {
  const { load, tried } = packages({});
  expect(await loadDriver("auto", load)).toMatchObject({ driver: first, because: "auto: its native part is there" });
  expect(tried).toEqual([first]);
});

test.each([
  [notInstalled, "is not installed"],
  [notCompiled, "has no native part"],
  [otherNode, "was built for another Node"],
])("without it the second: %s", async (error, why) => {
  const { load } = packages({ [first]: error });
  expect(await loadDriver("auto", load)).toMatchObject({ driver: second, because: `auto: ${first} ${why}` });
});

test("what the system refuses, it would refuse the second as well", async () => {
  const { load, tried } = packages({ [first]: noBluetooth });
  expect(await loadDriver("auto", load)).toEqual({
    unavailable: expect.stringMatching(/^this system has no Bluetooth/),
  });
  expect(tried).toEqual([first]);
});

test("neither: one line, with what to type", async () => {
  const { load } = packages({ [first]: notCompiled, [second]: notInstalled });
  const loaded = await loadDriver("auto", load);
  const { unavailable } = loaded as { unavailable: string };
  expect(unavailable).toMatch(
    /^neither driver can be used: @abandonware\/noble has no native part, @stoprocent\/noble is not installed; type: .*npm rebuild @abandonware\/bluetooth-hci-socket/,
  );
  expect(unavailable).not.toContain("\n");
});

test("forced: never the other one", async () => {
  const { load, tried } = packages({ [first]: notCompiled });
  expect(await loadDriver(first, load)).toEqual({
    unavailable: expect.stringMatching(/^@abandonware\/noble has no native part; type:/),
  });
  expect(await loadDriver(second, load)).toMatchObject({ driver: second, because: "as configured" });
  expect(tried).toEqual([first, second]);
});

// Where CI runs, both native parts must load; a system without Bluetooth refuses the socket only after that.
test.skipIf(!process.env["CI"]).each(drivers)("%s: its native part loads here", (driver) => {
  const load = () => {
    const sockets = createRequire(import.meta.url)(driver.replace("noble", "bluetooth-hci-socket")) as new () => {
      getDeviceList(): unknown;
    };
    try {
      new sockets().getDeviceList();
    } catch (error) {
      if (!/Address family not supported/.test(String(error))) throw error;
    }
  };
  expect(load).not.toThrow();
});
