/**
 * All effects that the core can request. The core itself executes none of them.
 *
 * Towards the broker the effects are MQTT packets, and the core chooses their packet ids. Therefore in-flight state,
 * exactly-once delivery and resending after a reconnect are decisions of the core, which are simulated and stored, and
 * not habits of a client library.
 *
 * An effect with `after` is a promise: it may leave the process only when that commit is done. If the commit fails, it
 * does not leave at all. An effect with `behind` waits for the commit too, but it also leaves when the commit failed:
 * the session then continues without durability. A step of a QoS 2 exchange does not (`isExactlyOnce`), because after a
 * crash the message would be accepted twice. It waits until a later commit has written what the failed one could not
 * write.
 */
import type { GatewayEvent } from "./event.ts";
import type { Change } from "./record.ts";
import type { Speech } from "./speech.ts";
import type { CommitToken, KnownPause, LinkId, PeerId, Publication, QoS, Will } from "./types.ts";
import type { ToClient } from "./words.ts";

export type Effect =
  /** Send a message to a peer, in its dialect. For a peer with `#node` the message is encapsulated. */
  | {
      readonly kind: "send";
      readonly dialect: Speech;
      readonly to: PeerId;
      readonly message: ToClient;
      readonly after?: CommitToken;
      behind?: CommitToken;
    }
  /** The client at this peer sleeps or has disconnected. If the network has links, the link to it may end. */
  | { readonly kind: "releaseLink"; readonly peer: PeerId }
  /** Send to all nodes within `radius` hops (0 = all), on each transport that can broadcast. */
  | { readonly kind: "broadcast"; readonly dialect: Speech; readonly message: ToClient; readonly radius: number }
  | { readonly kind: "openLink"; readonly link: LinkRequest }
  /**
   * `disconnect`: MQTT DISCONNECT, the will is dropped. `abandon`: close without DISCONNECT, the broker publishes the
   * will. `endSession`: the broker must delete the session (MQTT 5: expiry 0 in DISCONNECT).
   */
  | {
      readonly kind: "closeLink";
      readonly linkId: LinkId;
      readonly how: "disconnect" | "abandon";
      readonly endSession: boolean;
    }
  /** PUBLISH. `packetId` is 0 at QoS 0. */
  | {
      readonly kind: "publish";
      readonly linkId: LinkId;
      readonly publication: Publication;
      readonly packetId: number;
      readonly dup: boolean;
      readonly after?: CommitToken;
      behind?: CommitToken;
    }
  /** PUBREL. */
  | {
      readonly kind: "release";
      readonly linkId: LinkId;
      readonly packetId: number;
      readonly after?: CommitToken;
      behind?: CommitToken;
    }
  | {
      readonly kind: "subscribe";
      readonly linkId: LinkId;
      readonly packetId: number;
      readonly topicFilter: string;
      readonly qos: QoS;
      /** MQTT 5, on a shared connection: the broker returns this id with each message for the subscription. */
      readonly subscriptionId?: number;
      /** MQTT 5: the client already has the retained messages (Retain Handling 2). */
      readonly withoutRetained?: boolean;
    }
  | { readonly kind: "unsubscribe"; readonly linkId: LinkId; readonly packetId: number; readonly topicFilter: string }
  /**
   * PINGREQ after the packets that were sent before; `pong` is the answer. The keep-alive is independent of it, and not
   * a task of the core.
   */
  | { readonly kind: "ping"; readonly linkId: LinkId }
  /**
   * Sets the pause before this link's next attempt. Without it the pause is twice the last one. `first`: as after a
   * connection that was of use. `least`: the shortest, although the connection was of no use.
   */
  | { readonly kind: "pause"; readonly linkId: LinkId; readonly pause: KnownPause }
  /** Acknowledge a `delivered` message: PUBACK at QoS 1, PUBREC at QoS 2; `pubcomp` answers `released`. */
  | {
      readonly kind: "ackBroker";
      readonly linkId: LinkId;
      readonly ack: "puback" | "pubrec" | "pubcomp";
      readonly packetId: number;
      readonly after?: CommitToken;
      behind?: CommitToken;
    }
  /**
   * Find out how this broker sends copies, over this connection, with topic names under `topic`; `copiesKnown` answers.
   */
  | { readonly kind: "askCopies"; readonly link: LinkRequest; readonly topic: string }
  /** Read the stored publications for the broker, from number `from` on; `fetched` answers. */
  | { readonly kind: "fetch"; readonly clientId: string; readonly from: number; readonly limit: number }
  /** Read the stored session of this client, which is needed before its turn; `loaded` answers. */
  | { readonly kind: "load"; readonly clientId: string }
  | { readonly kind: "persist"; readonly changes: readonly Change[]; readonly token: CommitToken }
  | { readonly kind: "report"; readonly event: GatewayEvent };

/** True for a step of a QoS 2 exchange. */
export function isExactlyOnce(effect: Effect): boolean {
  switch (effect.kind) {
    case "publish":
      return effect.publication.qos === 2;
    case "release":
      return true;
    case "ackBroker":
      return effect.ack !== "puback";
    case "send": {
      const { message } = effect;
      if (message.type === "PUBLISH") return message.qos === 2;
      return message.type === "PUBREC" || message.type === "PUBREL" || message.type === "PUBCOMP";
    }
    default:
      return false;
  }
}

export interface LinkRequest {
  readonly linkId: LinkId;
  /** Name of the upstream; "" = the default. */
  readonly upstream: string;
  /**
   * MQTT client id with its prefix. A link opens only after an earlier one with the same id (and upstream) is closed.
   */
  readonly mqttClientId: string;
  /** The client id whose credentials are used; undefined: the gateway's own connection. */
  readonly identity: string | undefined;
  readonly clean: boolean;
  /**
   * The session is from an earlier run of the gateway: even a clean session is continued if the protocol allows it
   * (MQTT 5: Clean Start off).
   */
  readonly resume?: boolean;
  readonly will: Will | undefined;
}
