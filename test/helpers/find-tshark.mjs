/** Finds a tshark for tests: the installed one, or one unpacked into `.cache/tools`. */
import { findProgram } from "./debian-packages.mjs";

const packages = [
  "tshark",
  "libwireshark16",
  "libwiretap13",
  "libwsutil14",
  "libpcap0.8",
  "libglib2.0-0",
  "libpcre2-8-0",
  "libbrotli1",
  "libc-ares2",
  "libgcrypt20",
  "libgpg-error0",
  "libgnutls30",
  "libk5crypto3",
  "libkrb5-3",
  "liblua5.2-0",
  "liblz4-1",
  "libnghttp2-14",
  "libsmi2ldbl",
  "libsnappy1v5",
  "libxml2",
  "libicu72",
  "libzstd1",
  "libdbus-1-3",
  "libsystemd0",
  "libcap2",
  "libmaxminddb0",
  "libspeexdsp1",
  "libssh-gcrypt-4",
  "libsbc1",
  "libspandsp2",
  "libbcg729-0",
  "libopus0",
];

/** @returns {{ path: string, libraries: string | undefined } | { missing: string }} */
export function findTshark() {
  return findProgram({ name: "tshark", cache: "tshark", packages, asks: ["-v"] });
}
