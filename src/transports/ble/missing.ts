/** Names the part that Bluetooth lacks on this machine, and how to get it: one line for the operator. */

/**
 * Why a package or its native part cannot be loaded in this Node, as the end of a sentence; undefined: the error has
 * another cause.
 */
export function cannotLoad(error: unknown): string | undefined {
  const { code, text } = codeAndText(error);
  if (/NODE_MODULE_VERSION/.test(text)) return "was built for another Node";
  if (/Could not locate the bindings file|No native build was found/.test(text)) return "has no native part";
  if (code === "ERR_DLOPEN_FAILED") return "has a native part that does not fit this system";
  if (code !== "ERR_MODULE_NOT_FOUND" && code !== "MODULE_NOT_FOUND") return undefined;
  return /\.node\b|\bbinding\b/i.test(text) ? "has no native part" : "is not installed";
}

/** Undefined: the cause is not known. */
export function missingPiece(error: unknown, driver: string): string | undefined {
  const { code, text } = codeAndText(error);
  const lacking = cannotLoad(error);
  if (lacking === "is not installed") {
    return (
      `${driver} is not installed (npm leaves it out where it cannot be compiled); ` +
      `type: sudo apt install build-essential python3, then: npm install ${driver}`
    );
  }
  if (lacking !== undefined) return `${driver} ${lacking}; ${rebuild(driver)}`;
  if (code === "EAFNOSUPPORT" || /Address family not supported/i.test(text)) {
    return "this system has no Bluetooth (no such sockets in the kernel); in a container share the host's network";
  }
  if (code === "EPERM" || code === "EACCES" || /Operation not permitted|Permission denied/i.test(text)) return noRight;
  if (code === "ENODEV" || /No such device/i.test(text)) return noAdapter;
  if (code === "EBUSY" || /resource busy/i.test(text)) {
    return "the adapter is in use; with channel user it must be down: sudo hciconfig hci0 down";
  }
  return undefined;
}

export const noAdapter = "there is no Bluetooth adapter; plug one in, or choose another with adapter";
export const noRight =
  'no right to use the adapter; type: sudo setcap cap_net_raw+eip "$(readlink -f "$(which node)")", ' +
  "or give the service AmbientCapabilities=CAP_NET_RAW";

/** Advice for the states of an adapter that noble knows. */
export function stateInWords(state: string): string {
  switch (state) {
    case "poweredOff":
      return "the adapter is off; type: sudo rfkill unblock bluetooth && sudo hciconfig hci0 up";
    case "unauthorized":
      return noRight;
    case "unsupported":
      return "the adapter has no Bluetooth LE, or the driver was not let in to it; mqtt-sn-gateway ble check says what is missing";
    default:
      return `the adapter is ${state}`;
  }
}

/** npm 12 runs no script that package.json does not allow, but still prints "rebuilt". */
function rebuild(driver: string): string {
  const native = driver.replace(/noble$/, "bluetooth-hci-socket");
  return (
    `type: sudo apt install build-essential python3, then: npm rebuild ${native} ` +
    `(with npm 12 and later, before that: npm install-scripts approve ${native})`
  );
}

function codeAndText(error: unknown): { code: string; text: string } {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return { code, text: error instanceof Error ? error.message : String(error) };
}
