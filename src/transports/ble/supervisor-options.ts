/** Makes the options of the supervisor and its child from the configuration. */
import type { BleOptions } from "./options.ts";
import type { SupervisorOptions } from "./supervisor.ts";

export function supervisorOptions(options: BleOptions, tellAll = false): SupervisorOptions {
  const { driver, service, allow, deny, rssiMin, broadcast, supervision } = options;
  const { enabled, companyId, serviceUuid } = broadcast;
  return {
    child: {
      driver,
      service,
      allow,
      deny,
      rssiMin,
      broadcast: { enabled, companyId, serviceUuid, bthome: enabled && broadcast.bthome.rules.length > 0 },
      connectMs: options.connectSeconds * 1_000,
      setUpMs: options.setUpSeconds * 1_000,
      pairingMs: options.bonding.silenceSeconds * 1_000,
      supervisionMs: options.supervisionSeconds * 1_000,
      connection: options.connection,
      isAlone: options.channel === "user",
      extended: options.extendedAdvertising,
      tellAll,
    },
    env: {
      // Without this variable, noble reports a connectable device only at its second advertisement.
      NOBLE_REPORT_ALL_HCI_EVENTS: "1",
      ...(options.adapter !== undefined && { NOBLE_HCI_DEVICE_ID: String(options.adapter) }),
      ...(options.channel === "user" && { HCI_CHANNEL_USER: "1" }),
    },
    silenceMs: supervision.silenceSeconds * 1_000,
    memoryBytesMax: supervision.memoryMegabytesMax * 2 ** 20,
    quietMs: supervision.quietMinutes * 60_000,
    pauseMsMax: supervision.pauseSecondsMax * 1_000,
  };
}
