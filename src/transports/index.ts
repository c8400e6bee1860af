/** The list of transports. A new one needs one new file and one line here. */
import { z } from "zod";
import { BleTransport } from "./ble/ble.ts";
import { bleOptions } from "./ble/options.ts";
import { DtlsTransport } from "./dtls/dtls.ts";
import { dtlsOptions } from "./dtls/options.ts";
import { SerialTransport } from "./serial.ts";
import { serialOptions } from "./serial-options.ts";
import type { Transport } from "./transport.ts";
import { UdpTransport } from "./udp.ts";
import { udpOptions } from "./udp-options.ts";

export const transportOptions = z.discriminatedUnion("type", [udpOptions, bleOptions, serialOptions, dtlsOptions]);
export type TransportOptions = z.infer<typeof transportOptions>;

export function createTransport(options: TransportOptions): Transport {
  switch (options.type) {
    case "udp":
      return new UdpTransport(options);
    case "ble":
      return new BleTransport(options);
    case "serial":
      return new SerialTransport(options);
    case "dtls":
      return new DtlsTransport(options);
  }
}
