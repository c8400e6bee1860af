/**
 * Finds a mosquitto for tests: the installed one, or one unpacked into `.cache/tools` (never installed, never a
 * service). Plain JavaScript, since scripts use it as well.
 */
import { findProgram } from "./debian-packages.mjs";

const packages = [
  "mosquitto",
  "libmosquitto1",
  "libcjson1",
  "libdlt2",
  "libwebsockets17",
  "libev4",
  "libuv1",
  "libcap2",
  "libsystemd0",
  "libwrap0",
  "libnsl2",
  "libtirpc3",
];

/** @returns {{ path: string, libraries: string | undefined } | { missing: string }} */
export function findMosquitto() {
  return findProgram({
    name: "mosquitto",
    cache: "mosquitto",
    packages,
    place: "usr/sbin",
    asks: ["-h"],
    works: isHelp,
  });
}

/**
 * mosquitto_sub; mosquitto_pub is beside it.
 * @returns {{ path: string, libraries: string | undefined } | { missing: string }}
 */
export function findMosquittoClients() {
  return findProgram({
    name: "mosquitto_sub",
    cache: "mosquitto-clients",
    packages: ["mosquitto-clients", "libmosquitto1", "libcjson1"],
    asks: ["--help"],
    works: ({ stdout }) => stdout?.includes("mosquitto_sub version") === true,
  });
}

/** `-h` prints the help and ends with 3: everything that it links to is there. */
const isHelp = (run) => run.stdout?.includes("mosquitto version") === true;
