/** Part of the composition root: the way to the brokers, and the built-in broker for a first try. */
import type { GatewayConfig } from "./config/schema.ts";
import type { Input } from "./core/input.ts";
import type { Log } from "./observe/log.ts";
import { startTryOutBroker, type TryOutBroker } from "./tryout-broker.ts";
import type { UpstreamEvents } from "./upstream/link.ts";
import {
  isQuicklyAcknowledged,
  isReadTogether,
  shownBrokers,
  type UpstreamOptions,
  urlsOf,
} from "./upstream/options.ts";
import { QuickAck } from "./upstream/quick-ack.ts";
import { TcpReads } from "./upstream/tcp-reads.ts";
import { TcpRing } from "./upstream/tcp-ring.ts";
import type { TurnEnd } from "./upstream/turn-end.ts";

/**
 * Opens the ring for TCP connections. Undefined if no upstream uses it, or if it is not available; the log then has the
 * cause.
 */
export function openRing(upstreams: readonly UpstreamOptions[], turnEnd: TurnEnd, log: Log): TcpRing | undefined {
  const isWanted = upstreams.some((each) => each.ioUring && urlsOf(each).some((url) => url.startsWith("mqtt:")));
  if (!isWanted) return undefined;
  const instead = "each connection to the broker is written separately";
  const ring = TcpRing.open(turnEnd, (why) => log.warn(`${why}: ${instead}`));
  if (ring instanceof TcpRing) return ring;
  log.debug(`${ring.missing}: ${instead}`);
  return undefined;
}

/** What all connections over TCP are read with. Undefined if no upstream uses it, or if it is not available. */
export function openReads(
  upstreams: readonly UpstreamOptions[],
  batch: (work: () => void) => void,
  log: Log,
): TcpReads | undefined {
  if (!upstreams.some(isReadTogether)) return undefined;
  const reads = TcpReads.open(batch);
  if (reads instanceof TcpReads) return reads;
  log.debug(`${reads.missing}: each connection to the broker is read separately`);
  return undefined;
}

/** Undefined if no upstream uses it, or if it is not available. */
export function openQuickAck(upstreams: readonly UpstreamOptions[], log: Log): QuickAck | undefined {
  if (!upstreams.some(isQuicklyAcknowledged)) return undefined;
  const found = QuickAck.open();
  if (!found)
    log.debug("native/tcp-read.c is not compiled: the kernel may wait 40 ms before it acknowledges to the broker");
  return found;
}

/** Passes the events of an upstream to the core as inputs. */
export function upstreamInputs(
  handle: (input: Input) => void,
  notice: NonNullable<UpstreamEvents["notice"]>,
): UpstreamEvents {
  return {
    up: (linkId, sessionPresent, limits, elsewhere = false) =>
      handle({ kind: "linkUp", linkId, sessionPresent, limits, elsewhere }),
    notice,
    refused: (linkId, refusal, reason, reasonCode) =>
      handle({ kind: "linkRefused", linkId, refusal, reason, ...(reasonCode !== undefined && { reasonCode }) }),
    down: (linkId, end) => handle({ kind: "linkDown", linkId, ...end }),
    pong: (linkId) => handle({ kind: "pong", linkId }),
    congested: (linkId, congested) => handle({ kind: "linkCongested", linkId, congested }),
    delivered: (linkId, delivery) => handle({ kind: "delivered", linkId, ...delivery }),
    released: (linkId, packetId) => handle({ kind: "released", linkId, packetId }),
    acked: (linkId, ack, packetId, code) => handle({ kind: "brokerAck", linkId, ack, packetId, code }),
  };
}

/**
 * Starts the built-in broker, or uses the broker that already answers at its address. Undefined if it is not configured.
 * @throws {GatewayError} ERR_TRYOUT_BROKER when something that is no broker has the port.
 */
export async function openTryOutBroker(config: GatewayConfig, log: Log): Promise<TryOutBroker | undefined> {
  if (!config.tryOutBroker) return undefined;
  const { hostname, port } = new URL(config.upstream.url);
  const host = hostname === "localhost" ? "127.0.0.1" : hostname.replace(/^\[|\]$/g, "");
  const broker = await startTryOutBroker({ host, port: Number(port) || 1_883 });
  const url = shownBrokers(config.upstream);
  if (broker.kind === "found") log.info(`a broker answers at ${url} already: the gateway uses it`);
  else {
    log.warn(
      `the built-in broker serves ${url}. It is only for trying out: it stores and protects nothing. ` +
        'For a real broker set "tryOutBroker": false and "upstream": { "url": "mqtts://your-broker:8883" }',
    );
  }
  return broker;
}
