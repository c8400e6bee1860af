/** A DTLS transport as a shard of a fleet has it, with the door in front of it, on one socket. */
import { DtlsDoor } from "../../src/transports/dtls/door.ts";
import { DtlsTransport, dtlsCarrier } from "../../src/transports/dtls/dtls.ts";
import { HandOverSeal } from "../../src/transports/dtls/hand-over.ts";
import { KnownDevices } from "../../src/transports/dtls/known-devices.ts";
import type { DtlsOptions } from "../../src/transports/dtls/options.ts";
import { systemTimers, type Timers } from "../../src/transports/timers.ts";
import type { Transport } from "../../src/transports/transport.ts";

export function dtlsBehindDoor(options: DtlsOptions): DtlsTransport {
  let shift = 0;
  const timers: Timers = { ...systemTimers, now: () => systemTimers.now() + shift };
  const devices = new KnownDevices(options);
  devices.read();
  const seal = new HandOverSeal(new Uint8Array(32));
  const udp = dtlsCarrier(options);
  const door = new DtlsDoor(options, { devices, seal, carrier: udp, timers });
  const carrier: Transport = {
    name: udp.name,
    get place() {
      return udp.place;
    },
    warnings: [],
    maxMessageBytes: (peer) => udp.maxMessageBytes(peer),
    hostOf: (peer) => udp.hostOf(peer),
    identityOf: (peer) => udp.identityOf(peer),
    start: async (events) => {
      door.start({
        send: (to, bytes) => udp.send(to, bytes),
        pass: (from, bytes) => events.datagram(from, bytes),
        told: (level, say) => events.notice(level, say),
      });
      await udp.start({ ...events, datagram: (from, bytes) => door.heard(from, bytes) });
    },
    send: (to, bytes) => udp.send(to, bytes),
    broadcast: () => {},
    stats: () => udp.stats(),
    close: async () => {
      door.close();
      await udp.close();
    },
  };
  const handedOver = (bytes: Uint8Array) => seal.opened(bytes);
  const transport = new DtlsTransport(options, timers, undefined, carrier, { devices, handedOver });
  // A shard accepts no handshake that began before the shard was opened.
  shift = 1_000;
  return transport;
}
