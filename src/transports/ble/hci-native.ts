/**
 * The compiled part for Bluetooth's sockets, native/hci-socket.c, as TypeScript sees it. It is optional: if it could
 * not be compiled, or this is not Linux, the values that it would read are unknown.
 */
import { createRequire } from "node:module";

/** The functions of the compiled part (native/hci-socket.c). Negative numbers are errors of the system. */
export interface HciNative {
  isHci(fd: number): number;
  drops(fd: number): number;
  receiveBuffer(fd: number, octets: number): number;
  adapters(words: Uint32Array): number;
}

export interface Adapter {
  readonly name: string;
  readonly isUp: boolean;
  readonly address: string;
}

const wordsPerAdapter = 4;
const adaptersMax = 16;
const upFlag = 1;

/** The compiled part; undefined: it does not exist, or not for this system. */
export function loadHciNative(): HciNative | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return createRequire(import.meta.url)("../../../native/build/hci-socket.node") as HciNative;
  } catch {
    return undefined; // not compiled: no compiler, or the package was installed without running scripts
  }
}

/** The adapters that the kernel lists, even if this process may not use them; undefined: they cannot be read. */
export function readAdapters(native: Pick<HciNative, "adapters"> | undefined): readonly Adapter[] | undefined {
  if (!native) return undefined;
  const words = new Uint32Array(adaptersMax * wordsPerAdapter);
  const count = Math.max(0, native.adapters(words));
  return Array.from({ length: count }, (_, i) => {
    const [id = 0, flags = 0, low = 0, high = 0] = words.subarray(i * wordsPerAdapter);
    const octets = [high >>> 8, high, low >>> 24, low >>> 16, low >>> 8, low].map((octet) => octet & 0xff);
    return {
      name: `hci${id}`,
      isUp: (flags & upFlag) !== 0,
      address: octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":"),
    };
  });
}
