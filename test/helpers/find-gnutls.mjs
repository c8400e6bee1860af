/** Finds a gnutls-cli for tests: the installed one, or one unpacked into `.cache/tools`. */
import { findProgram } from "./debian-packages.mjs";

const packages = [
  "gnutls-bin",
  "libgnutls30",
  "libgnutls-dane0",
  "libunbound8",
  "libopts25",
  "libevent-2.1-7",
  "libp11-kit0",
  "libidn2-0",
  "libunistring2",
  "libtasn1-6",
  "libnettle8",
  "libhogweed6",
  "libgmp10",
  "libnghttp2-14",
  "libffi8",
];

/** @returns {{ path: string, libraries: string | undefined } | { missing: string }} */
export function findGnutls() {
  return findProgram({ name: "gnutls-cli", cache: "gnutls", packages });
}
