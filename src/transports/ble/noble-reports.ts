/**
 * The controller's advertising reports, before noble combines them: noble reports a device with the data of all its reports, and only the
 * last one of several manufacturer elements. This uses internals of noble. If they are not as expected, nothing is reported here, and
 * noble's combination is used.
 */
import type { EventEmitter } from "node:events";

/** The event of legacy and of extended advertising; both carry address and data, at different places. */
const events = ["leAdvertisingReport", "leExtendedAdvertisingReport"] as const;

export class NobleReports {
  readonly #noble: unknown;
  #attached: EventEmitter | undefined;
  #last: { readonly address: string; readonly data: Uint8Array } | undefined;

  constructor(noble: unknown) {
    this.#noble = noble;
  }

  /** Must be called before each scan, because one edition creates its part for the controller only when it starts. */
  attach(): void {
    const hci = hciOf(this.#noble);
    if (!hci || hci === this.#attached) return;
    this.#attached = hci;
    for (const event of events) {
      // The listener must be the first one, because noble reports the device within its own listener.
      hci.prependListener(event, (...said: readonly unknown[]) => {
        const address = said[2];
        const data = said.find((each) => each instanceof Uint8Array);
        this.#last = typeof address === "string" && data ? { address: address.toLowerCase(), data } : undefined;
      });
    }
  }

  /** The data of the report that noble is just handling; undefined: not known. */
  dataOf(address: string): Uint8Array | undefined {
    return this.#last?.address === address ? this.#last.data : undefined;
  }
}

/** The part of noble that communicates with the controller. */
function hciOf(noble: unknown): EventEmitter | undefined {
  const hci = at(at(noble, "_bindings"), "_hci");
  return typeof at(hci, "prependListener") === "function" ? (hci as EventEmitter) : undefined;
}

function at(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && key in value ? Reflect.get(value, key) : undefined;
}
