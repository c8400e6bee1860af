/** What the judge has seen of one address, and of one client. */
import type { ClientState, PeerId } from "../../src/core/types.ts";
import type { Repeated } from "./repeated.ts";

/** What the network shows of one address. */
export class PeerTrack {
  /** Topic ids that an accepting REGACK or SUBACK told the client, or that the client accepted in its own REGACK: at any address. */
  readonly told: Map<number, string>;
  readonly registering = new Map<number, string>();
  readonly subscribing = new Map<number, string>();
  readonly registered = new Map<number, { id: number; name: string }>();
  readonly publishing = new Map<number, number>();
  /** MsgIds of unanswered REGISTERs and QoS 1 or 2 PUBLISHes to the client, and of which message each is a copy. */
  readonly inFlight = new Map<string, string>();
  readonly repeated: Repeated;
  sleeps = false;
  /** Its CONNECT is not answered yet; and since when. */
  connects = false;
  connectsSince = 0;
  /** MsgIds that were answered between its CONNECT and the CONNACK. */
  readonly answeredLate = new Set<number>();
  wantsSleep = false;
  wakes = false;
  wakesAgain = false;
  /** PINGREQs read one after the other when the gateway had stood still: their PINGRESPs leave so, too. */
  wakesAtOnce = 0;

  constructor(told: Map<number, string>, repeated: Repeated) {
    this.told = told;
    this.repeated = repeated;
  }
}

export class ClientTrack {
  address: PeerId = "/";
  announced = { keepAliveSeconds: 0, sleepSeconds: 0 };
  /** Messages that the gateway took over from the broker, at QoS 1 and 2, and when. */
  readonly promised = new Map<string, number>();
  /** What it took since its last reset, how often; and ever. */
  readonly received = new Map<string, number>();
  readonly everReceived = new Set<string>();
  /** MsgIds of QoS 2 exchanges that are not over; and of those the ones that a dead gateway took with it. */
  readonly open = new Set<number>();
  readonly detached = new Set<number>();
  /** Sent under an detached MsgId: the device may take it for a repetition. */
  readonly swallowed = new Set<string>();
  /** When the gateway got a message of it last. */
  heardAt = Number.NEGATIVE_INFINITY;
  /** Until then messages may be missing: a clean start, a reset, a crash, a counted drop. */
  excusedUntil = -1;
  /** As the gateway said last. */
  state: ClientState | undefined;
  will: string | undefined;
  /** Version of its will when the gateway last said that it publishes it. */
  willWhenDue = Number.POSITIVE_INFINITY;
  /** Those of which the gateway said that they are published. */
  readonly willsDue = new Set<number>();
  goneByGoodbye = false;
  /** The gateway said that its session ended, and nothing of a new one; and when it last said so. */
  hasEnded = false;
  endedAt = Number.NEGATIVE_INFINITY;
  /** Filters that were granted to it, in a session that continues. */
  readonly filters = new Set<string>();
  /** What was retained at that time, and since when: the client gets this message or a later one. */
  readonly retained = new Map<string, { readonly payload: string; readonly at: number }>();
  /** SUBSCRIBE messages of it that came to the gateway, and copies with RETAIN that it got, of each payload. */
  subscribes = 0;
  readonly retainedCopies = new Map<string, number>();
}

/** All clients of a world, by client id. */
export class ClientTracks {
  readonly #tracks = new Map<string, ClientTrack>();

  of(clientId: string): ClientTrack {
    let track = this.#tracks.get(clientId);
    if (!track) {
      track = new ClientTrack();
      this.#tracks.set(clientId, track);
    }
    return track;
  }

  values(): Iterable<ClientTrack> {
    return this.#tracks.values();
  }

  [Symbol.iterator](): Iterator<[string, ClientTrack]> {
    return this.#tracks[Symbol.iterator]();
  }
}
