/**
 * Chooses the edition of noble that drives the adapter. `@abandonware/noble` is the first choice; its native part must
 * be compiled when it is installed. If that is missing, `@stoprocent/noble` brings it for the usual processors. If the
 * system refuses access (no Bluetooth, no right), the other edition is not tried, because it would be refused as well.
 */
import { createRequire } from "node:module";
import { type Driver, type DriverChoice, drivers } from "./drivers.ts";
import { cannotLoad, missingPiece } from "./missing.ts";
import type { Noble } from "./noble.ts";

export type Loaded =
  | {
      readonly noble: Noble;
      readonly driver: Driver;
      /** The reason for this choice, in words. */
      readonly because: string;
    }
  /** One line, with what to type. */
  | { readonly unavailable: string };

/** `load` throws the errors of the package. */
export async function loadDriver(
  choice: DriverChoice,
  load: (driver: Driver) => Promise<Noble> = (driver) => loadPackage(driver, false),
): Promise<Loaded> {
  if (choice !== "auto") {
    try {
      return { noble: await load(choice), driver: choice, because: "as configured" };
    } catch (error) {
      return { unavailable: sayError(error, choice) };
    }
  }
  const [first, second] = drivers;
  let lacking: string;
  let remedy: string;
  try {
    return { noble: await load(first), driver: first, because: "auto: its native part is there" };
  } catch (error) {
    const why = cannotLoad(error);
    if (why === undefined) return { unavailable: sayError(error, first) };
    lacking = `${first} ${why}`;
    remedy = sayError(error, first).replace(/^.*?; type/, "type");
  }
  try {
    return { noble: await load(second), driver: second, because: `auto: ${lacking}` };
  } catch (error) {
    const why = cannotLoad(error);
    if (why === undefined) return { unavailable: sayError(error, second) };
    return { unavailable: `neither driver can be used: ${lacking}, ${second} ${why}; ${remedy}` };
  }
}

function sayError(error: unknown, driver: Driver): string {
  return missingPiece(error, driver) ?? `${driver}: ${String(error)}`;
}

interface HciSocket {
  getDeviceList(): readonly unknown[];
}

/**
 * One edition of noble does not report why it cannot open a socket, and says that the adapter has no Bluetooth LE. So a socket is opened
 * here first, and the kernel is asked for its adapters; each error is thrown. `extended`: only the controller's commands for extended
 * advertising are used.
 */
export async function loadPackage(driver: Driver, extended: boolean): Promise<Noble> {
  const sockets = createRequire(import.meta.url)(
    driver.replace("noble", "bluetooth-hci-socket"),
  ) as new () => HciSocket;
  if (new sockets().getDeviceList().length === 0) {
    throw Object.assign(new Error("ENODEV, No such device"), { code: "ENODEV" });
  }
  if (extended) return withExtendedAdvertising(driver);
  const module = (await import(driver)) as { default: Noble };
  return module.default;
}

/** Each edition has a different function for this. */
function withExtendedAdvertising(driver: Driver): Noble {
  const require = createRequire(import.meta.url);
  const options = { extended: true };
  if (driver === "@stoprocent/noble") {
    const { withBindings } = require(driver) as { withBindings: (kind: "default", options: object) => Noble };
    return withBindings("default", options);
  }
  const withOptions = require(`${driver}/with-custom-binding`) as (options: object) => Noble;
  return withOptions(options);
}
