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
  /** Send a message to a peer, in what it speaks; a `#node` peer gets it encapsulated. */
  | {
      readonly kind: "send";
      readonly dialect: Speech;
      readonly to: PeerId;
      readonly message: ToClient;
      readonly after?: CommitToken;
      behind?: CommitToken;
    }
  /** The client at this peer sleeps or has disconnected: a link to it, if the network has links, may end. */
  | { readonly kind: "releaseLink"; readonly peer: PeerId }
  /** Send to every node within `radius` hops (0 = all) on every transport that can. */
  | { readonly kind: "broadcast"; readonly dialect: Speech; readonly message: ToClient; readonly radius: number }
  | { readonly kind: "openLink"; readonly link: LinkRequest }
  /**
   * `disconnect`: MQTT DISCONNECT, the will is dropped. `abandon`: close without it, the broker publishes the will.
   * `endSession`: the broker is to forget the session (MQTT 5: expiry 0 in DISCONNECT).
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
      /** MQTT 5, of a shared connection: comes back with what is sent because of this subscription. */
      readonly subscriptionId?: number;
      /** MQTT 5: the client has what is retained (Retain Handling 2). */
      readonly withoutRetained?: boolean;
    }
  | { readonly kind: "unsubscribe"; readonly linkId: LinkId; readonly packetId: number; readonly topicFilter: string }
  /** PINGREQ, behind what was said before; `pong` is the answer. Beside the keep-alive, which is not the core's. */
  | { readonly kind: "ping"; readonly linkId: LinkId }
  /**
   * How long this link waits before its next attempt, instead of twice as long as the last time: as after one that worked
   * (`first`), or the shortest, although it came to nothing (`least`).
   */
  | { readonly kind: "pause"; readonly linkId: LinkId; readonly pause: KnownPause }
  /** Acknowledge what was `delivered`: PUBACK at QoS 1, PUBREC at QoS 2; `pubcomp` answers `released`. */
  | {
      readonly kind: "ackBroker";
      readonly linkId: LinkId;
      readonly ack: "puback" | "pubrec" | "pubcomp";
      readonly packetId: number;
      readonly after?: CommitToken;
      behind?: CommitToken;
    }
  /** Find out how this broker sends copies, by this connection, with names under `topic`; `copiesKnown` answers. */
  | { readonly kind: "askCopies"; readonly link: LinkRequest; readonly topic: string }
  /** Read what was accepted for the broker, from number `from` on; `fetched` answers. */
  | { readonly kind: "fetch"; readonly clientId: string; readonly from: number; readonly limit: number }
  | { readonly kind: "persist"; readonly changes: readonly Change[]; readonly token: CommitToken }
  | { readonly kind: "report"; readonly event: GatewayEvent };

/** Is this a step of an exchange that is to happen exactly once? */
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
  /** MQTT client id, prefix included. A link to an id opens only after an earlier one to the same id (and upstream) is closed. */
  readonly mqttClientId: string;
  /** Whose credentials to use: the device's client id, or undefined for the gateway's own connection. */
  readonly identity: string | undefined;
  readonly clean: boolean;
  /**
   * A session of an earlier run of the gateway: also a clean one is to be taken up where the protocol can
   * (MQTT 5: Clean Start off).
   */
  readonly resume?: boolean;
  readonly will: Will | undefined;
}
