/** What is missing is said with what to type. */
import { expect, test } from "vitest";
import { missingPiece, stateInWords } from "../../../../src/transports/ble/missing.ts";
import { disconnectReason } from "../../../../src/transports/ble/reasons.ts";
import { normalUuid } from "../../../../src/transports/ble/uuid.ts";

const coded = (code: string, text: string) => Object.assign(new Error(text), { code });
const driver = "@abandonware/noble";

test.each([
  [
    coded("ERR_MODULE_NOT_FOUND", "Cannot find package '@abandonware/noble'"),
    /is not installed.*npm install @abandonware\/noble/,
  ],
  [
    coded("MODULE_NOT_FOUND", "Cannot find module './build/Release/bluetooth_hci_socket.node'"),
    /native part.*npm rebuild/,
  ],
  [
    new Error("compiled against a different Node.js version using NODE_MODULE_VERSION 115"),
    /another Node.*npm rebuild @abandonware\/bluetooth-hci-socket .*npm 12.*npm install-scripts approve/,
  ],
  [coded("EAFNOSUPPORT", "Address family not supported by protocol"), /no Bluetooth/],
  [new Error("Initialization of USB device failed: EPERM, Operation not permitted"), /setcap cap_net_raw/],
  [new Error("ENODEV, No such device"), /no Bluetooth adapter/],
  [new Error("EBUSY, Device or resource busy"), /hciconfig hci0 down/],
])("%s", (error, words) => {
  expect(missingPiece(error, driver)).toMatch(words);
});

test("what it does not know it does not explain", () => {
  expect(missingPiece(new Error("something else"), driver)).toBeUndefined();
});

test("states and reasons in words", () => {
  expect(stateInWords("poweredOff")).toMatch(/rfkill unblock bluetooth/);
  expect(stateInWords("unauthorized")).toMatch(/setcap/);
  expect(disconnectReason(0x08)).toMatch(/out of range/);
  expect(disconnectReason(0x77)).toBe("reason 0x77");
});

test("UUIDs in one spelling", () => {
  expect(normalUuid("6E400001-B5A3-F393-E0A9-E50E24DCCA9E")).toBe("6e400001b5a3f393e0a9e50e24dcca9e");
  expect(normalUuid("0000fff0-0000-1000-8000-00805f9b34fb")).toBe("fff0");
  expect(normalUuid("1f")).toBe("001f");
});
