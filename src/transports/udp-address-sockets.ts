/**
 * Used without the compiled part, when nothing tells to which address of this host a datagram was sent. So there is one
 * socket for each address, beside the one that is bound to all. The kernel gives a datagram to the socket that fits
 * best, and an answer by that socket has its address as the source. Datagrams to a group, to all, or to a new address
 * are sent by the socket for all; the kernel chooses their source address.
 *
 * The list of addresses is read every few seconds, because addresses change. A loopback network has more of them than
 * the list contains.
 */
import type { Socket } from "node:dgram";
import type { NetworkInterfaceInfo } from "node:os";
import type { SocketAsPromised } from "dgram-as-promised";
import type { PeerId } from "../core/types.ts";
import { RecentMap } from "./recent-map.ts";
import type { Timers } from "./timers.ts";

export const lookEveryMs = 5_000;
/** If there are more addresses, the further ones have no socket of their own. */
export const socketsMax = 128;
/** Peers, in each of two generations. For a peer that was forgotten, the kernel chooses the source address. */
const peersMax = 65_536;

export interface AddressSocketsInit {
  readonly isV6: boolean;
  readonly timers: Timers;
  /** The network interfaces of this host, as node:os lists them. */
  readonly interfaces: () => NodeJS.Dict<NetworkInterfaceInfo[]>;
  /** Opens a socket bound to this address; fails while the address is not usable yet. */
  readonly open: (host: string, onDatagram: (from: PeerId) => void) => Promise<SocketAsPromised>;
  /** Tells the operator that not every address has a socket. */
  readonly notice: (say: string) => void;
}

export class AddressSockets {
  readonly #init: AddressSocketsInit;
  readonly #byHost = new Map<string, SocketAsPromised>();
  readonly #hostOf = new RecentMap<PeerId, string>(peersMax);
  #stopLooking: (() => void) | undefined;
  #looking = false;
  #closed = false;
  #said = false;

  constructor(init: AddressSocketsInit) {
    this.#init = init;
  }

  /** Addresses that have a socket. */
  get hosts(): string[] {
    return [...this.#byHost.keys()];
  }

  async start(): Promise<void> {
    await this.#look();
    if (!this.#closed) this.#stopLooking = this.#init.timers.every(lookEveryMs, () => void this.#look());
  }

  /** The socket that received the peer's last datagram. Undefined: the socket for all addresses. */
  socketFor(peer: PeerId): Socket | undefined {
    const host = this.#hostOf.get(peer);
    return host === undefined ? undefined : this.#byHost.get(host)?.socket;
  }

  /** The socket does not work; the next look opens another one. */
  drop(socket: Socket): void {
    for (const [host, each] of this.#byHost) if (each.socket === socket) this.#end(host, each);
  }

  close(): void {
    this.#closed = true;
    this.#stopLooking?.();
    for (const [host, socket] of this.#byHost) this.#end(host, socket);
  }

  /** Opens sockets for new addresses, and closes those of removed ones. Never runs twice at the same time. */
  async #look(): Promise<void> {
    if (this.#looking || this.#closed) return;
    this.#looking = true;
    const wanted = this.#wanted();
    for (const [host, socket] of this.#byHost) if (!wanted.has(host)) this.#end(host, socket);
    for (const host of wanted) if (!this.#byHost.has(host)) await this.#add(host);
    this.#looking = false;
  }

  #wanted(): ReadonlySet<string> {
    try {
      const addresses = addressesOf(this.#init.interfaces(), this.#init.isV6);
      const beyond = addresses.length - socketsMax;
      if (beyond > 0) this.#say(`${beyond} of ${addresses.length} addresses of this host have no socket of their own`);
      return new Set(addresses.slice(0, socketsMax));
    } catch (error) {
      this.#say(
        `the addresses of this host cannot be listed (${error instanceof Error ? error.message : String(error)})`,
      );
      return new Set(this.hosts);
    }
  }

  /** Reports this once. */
  #say(why: string): void {
    if (this.#said) return;
    this.#said = true;
    this.#init.notice(`${why}: answers may be sent from another address than the device wrote to`);
  }

  async #add(host: string): Promise<void> {
    try {
      const socket = await this.#init.open(host, (from) => {
        if (this.#hostOf.get(from) !== host) this.#hostOf.set(from, host);
      });
      if (this.#closed) void closeQuietly(socket);
      else this.#byHost.set(host, socket);
    } catch {
      // An IPv6 address that the kernel still checks, or one that was removed meanwhile: tried again at the next look.
    }
  }

  #end(host: string, socket: SocketAsPromised): void {
    this.#byHost.delete(host);
    void closeQuietly(socket);
  }
}

/** The addresses in the form in which sockets are bound: a link-local address has its interface. */
export function addressesOf(interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>, isV6: boolean): string[] {
  const addresses = new Set<string>();
  for (const [name, infos] of Object.entries(interfaces)) {
    for (const { family, address } of infos ?? []) {
      if ((family === "IPv6") !== isV6) continue;
      addresses.add(/^fe[89ab]/i.test(address) ? `${address}%${name}` : address);
    }
  }
  return [...addresses];
}

export async function closeQuietly(socket: SocketAsPromised): Promise<void> {
  try {
    await socket.close();
  } catch {
    // The socket was closed already.
  }
}
