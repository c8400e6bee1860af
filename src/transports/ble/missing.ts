/** What Bluetooth lacks here, and how to get it: one line for the operator. */

/** undefined: the error does not tell. */
export function missingPiece(error: unknown, driver: string): string | undefined {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const text = error instanceof Error ? error.message : String(error);
  if (/NODE_MODULE_VERSION/.test(text)) {
    return `${driver} was built for another Node; type: npm rebuild ${driver} --foreground-scripts`;
  }
  if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") {
    if (/bluetooth[-_]hci[-_]socket|binding/i.test(text)) return notBuilt(driver);
    return (
      `${driver} is not installed (npm leaves it out where it cannot be compiled); ` +
      `type: sudo apt install build-essential python3, then: npm install ${driver}`
    );
  }
  if (/Could not locate the bindings file|No native build was found/.test(text)) return notBuilt(driver);
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

/** For the states that noble knows of an adapter. */
export function stateInWords(state: string): string {
  switch (state) {
    case "poweredOff":
      return "the adapter is off; type: sudo rfkill unblock bluetooth && sudo hciconfig hci0 up";
    case "unauthorized":
      return noRight;
    case "unsupported":
      return "the adapter has no Bluetooth LE";
    default:
      return `the adapter is ${state}`;
  }
}

function notBuilt(driver: string): string {
  return (
    `${driver} was installed without its native part; type: sudo apt install build-essential python3, ` +
    `then: npm rebuild --foreground-scripts`
  );
}
