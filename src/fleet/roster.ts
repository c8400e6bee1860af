/** The other gateways of the fleet, by the address that they send from and by name, for the socket between gateways. */
import { createHash } from "node:crypto";
import { isIPv6, SocketAddress } from "node:net";
import type { PeerId } from "../core/types.ts";
import { ReplayWindow } from "../secure/window.ts";
import { RecentMap } from "../transports/recent-map.ts";
import type { Member } from "./members.ts";
import { tagBytes } from "./passed-on.ts";

/**
 * Runs whose frame numbers are remembered, in each of two generations. So a gateway that was unreachable for a while
 * continues with its replay window.
 */
const runsMax = 1_000;

/** The numbers of frames to and from one run of another gateway. */
export interface Frames {
  /** Number of the last frame that was sent to it. */
  sent: number;
  readonly came: ReplayWindow;
}

export interface Gateway {
  readonly member: Member;
  /** Its address as the peer id of the transport between gateways. */
  readonly peer: PeerId;
  /** The tag of its run. */
  readonly tag: Uint8Array;
  readonly frames: Frames;
  /** Notices about the gateway that were logged. Each is logged once. */
  readonly said: Set<string>;
}

export class Roster {
  readonly #others: () => readonly Member[];
  readonly #transport: string;
  readonly #frames = new RecentMap<string, Frames>(runsMax);
  #seen: readonly Member[] | undefined;
  #byPeer = new Map<PeerId, Gateway>();
  #byName = new Map<string, Gateway>();

  /** `transport`: the name of the transport between gateways. */
  constructor(others: () => readonly Member[], transport: string) {
    this.#others = others;
    this.#transport = transport;
  }

  /** The living gateway with this address; undefined: there is none. */
  at(peer: PeerId): Gateway | undefined {
    this.#look();
    return this.#byPeer.get(peer);
  }

  named(name: string): Gateway | undefined {
    this.#look();
    return this.#byName.get(name);
  }

  #look(): void {
    const others = this.#others();
    if (others === this.#seen) return;
    this.#seen = others;
    const before = this.#byName;
    this.#byPeer = new Map();
    this.#byName = new Map();
    for (const member of others) {
      const known = before.get(member.name);
      const isSame = known?.member.run === member.run && known.member.place === member.place;
      const gateway = known && isSame ? { ...known, member } : this.#gateway(member);
      this.#byPeer.set(gateway.peer, gateway);
      this.#byName.set(member.name, gateway);
    }
  }

  #gateway(member: Member): Gateway {
    const frames = this.#frames.get(member.run) ?? { sent: 0, came: new ReplayWindow() };
    this.#frames.set(member.run, frames);
    return { member, peer: peerAt(this.#transport, member.place), tag: tagOf(member.run), frames, said: new Set() };
  }
}

/** The tag of a run in each frame. */
export function tagOf(run: string): Uint8Array {
  return createHash("sha256").update(run).digest().subarray(0, tagBytes);
}

/** The peer id that a UDP transport gives to this address, because an IPv6 address can be written in many ways. */
function peerAt(transport: string, place: string): PeerId {
  const colon = place.lastIndexOf(":");
  const host = place.slice(0, colon).replace(/^\[|\]$/g, "");
  const port = place.slice(colon + 1);
  if (!isIPv6(host)) return `${transport}/${host}:${port}`;
  const [address, zone] = host.split("%");
  const written = new SocketAddress({ address: address ?? host, family: "ipv6" }).address;
  return `${transport}/[${written}${zone === undefined ? "" : `%${zone}`}]:${port}`;
}
