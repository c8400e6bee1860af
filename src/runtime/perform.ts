/** Carries out effects. This is the only file that knows which edge carries out which effect of the core. */
import { assert, assertNever } from "../core/assert.ts";
import type { Effect } from "../core/effect.ts";
import type { GatewayEvent } from "../core/event.ts";
import type { Input } from "../core/input.ts";
import { forwardedNodeOf, transportNameOf } from "../core/peer-id.ts";
import type { StoredState } from "../core/record.ts";
import type { PeerId } from "../core/types.ts";
import type { Store } from "../storage/store.ts";
import type { Transport } from "../transports/transport.ts";
import type { Upstream } from "../upstream/link.ts";
import { withKnownPeer } from "./restore.ts";
import type { Tap } from "./tap.ts";

export interface Edges {
  readonly transports: ReadonlyMap<string, Transport>;
  readonly upstream: Upstream;
  readonly store: DrivenStore;
  readonly report: (event: GatewayEvent) => void;
  /** Called with each datagram that is sent. */
  readonly tap?: Pick<Tap, "said" | "saidToAll">;
}

/** The part of a store that the driver uses. It calls back, so that the simulation needs no turn of the event loop. */
export interface DrivenStore extends Pick<Store, "commit" | "fetch"> {
  /** Calls back once, with the stored session of this client, or without one if there is none. */
  load(clientId: string, done: (state: StoredState | undefined, error: Error | undefined) => void): void;
}

/** Carries out one effect; `answer` is called with resulting inputs. */
export function perform(effect: Effect, edges: Edges, answer: (input: Input) => void): void {
  switch (effect.kind) {
    case "send":
      return send(effect, edges);
    case "releaseLink":
      return transportOf(effect.peer, edges.transports).releaseLink?.(effect.peer);
    case "publish":
      return edges.upstream.publish(effect.linkId, effect.publication, effect.packetId, effect.dup);
    case "ackBroker":
      return edges.upstream.ack(effect.linkId, effect.ack, effect.packetId);
    case "release":
      return edges.upstream.release(effect.linkId, effect.packetId);
    case "subscribe":
      return edges.upstream.subscribe(effect.linkId, effect.packetId, effect.topicFilter, effect.qos, effect);
    case "unsubscribe":
      return edges.upstream.unsubscribe(effect.linkId, effect.packetId, effect.topicFilter);
    case "ping":
      return edges.upstream.ping(effect.linkId);
    case "pause":
      return edges.upstream.pause(effect.linkId, effect.pause);
    case "openLink":
      return edges.upstream.open(effect.link);
    case "closeLink":
      return edges.upstream.close(effect.linkId, effect.how, effect.endSession);
    case "askCopies": {
      const { upstream } = effect.link;
      return edges.upstream.askCopies(effect.link, effect.topic, (copies) =>
        answer({ kind: "copiesKnown", upstream, copies }),
      );
    }
    case "broadcast": {
      const bytes = effect.dialect.encode(effect.message);
      if (!bytes) return;
      for (const [name, transport] of edges.transports) {
        edges.tap?.saidToAll(name, bytes);
        transport.broadcast(bytes, effect.radius);
      }
      return;
    }
    case "fetch":
      return edges.store.fetch(effect.clientId, effect.from, effect.limit, (entries, error) =>
        answer({
          kind: "fetched",
          clientId: effect.clientId,
          entries,
          ...(error && { failed: error.message }),
        }),
      );
    case "load":
      return edges.store.load(effect.clientId, (stored, error) => {
        const state = stored && withKnownPeer(stored, (name) => edges.transports.has(name));
        const { clientId } = effect;
        answer({ kind: "loaded", clientId, ...(state && { state }), ...(error && { failed: error.message }) });
      });
    case "persist":
      return edges.store.commit(effect.changes, (error) =>
        answer(
          error
            ? { kind: "persistFailed", token: effect.token, reason: error.message }
            : { kind: "persisted", token: effect.token },
        ),
      );
    case "report":
      return edges.report(effect.event);
    default:
      return assertNever(effect);
  }
}

function send({ to, dialect, message }: Extract<Effect, { kind: "send" }>, edges: Edges): void {
  const transport = transportOf(to, edges.transports);
  const node = forwardedNodeOf(to);
  const bytes = dialect.encode(message, node && Buffer.from(node.nodeId, "hex"));
  if (!bytes) return;
  edges.tap?.said(to, bytes);
  transport.send(node ? node.forwarder : to, bytes);
}

export function transportOf(peer: PeerId, transports: ReadonlyMap<string, Transport>): Transport {
  // Nearly always there is only one transport. Its name is compared in place, so that no part of the peer id is copied.
  if (transports.size === 1) for (const [name, only] of transports) if (isAt(peer, name)) return only;
  const transport = transports.get(transportNameOf(peer));
  assert(transport, `no transport for peer ${peer}`);
  return transport;
}

function isAt(peer: PeerId, name: string): boolean {
  return peer.charCodeAt(name.length) === slash && peer.startsWith(name);
}

const slash = "/".charCodeAt(0);
