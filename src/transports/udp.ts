/**
 * MQTT-SN over UDP, IPv4 or IPv6. dgram-as-promised sets up the socket. Without the compiled part, datagrams also use
 * its socket (by its events, because its own `recv` listens only while it is awaited). With the compiled part, that
 * socket is closed again, and datagrams use a second descriptor of it, see udp-batch.ts. A socket that fails is
 * replaced, with growing pauses, until `close`.
 *
 * If the socket is bound to all addresses, a peer gets its answers from the address that it sent to: see
 * udp-reply-addresses.ts, and without the compiled part udp-address-sockets.ts.
 */
import type { Socket } from "node:dgram";
import { lookup } from "node:dns";
import { isIP, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import { DgramAsPromised, type SocketAsPromised } from "dgram-as-promised";
import type { PeerId, PeerIdentity } from "../core/types.ts";
import { GatewayError } from "../errors.ts";
import { kernelDrops } from "./proc-net-udp.ts";
import { RecentMap } from "./recent-map.ts";
import { systemTimers } from "./timers.ts";
import type { Transport, TransportEvents, TransportStats } from "./transport.ts";
import { AddressSockets, type AddressSocketsInit, closeQuietly } from "./udp-address-sockets.ts";
import { UdpBatch } from "./udp-batch.ts";
import { loadNativeBatch, type NativeBatch } from "./udp-native.ts";
import type { UdpOptions } from "./udp-options.ts";

const firstPauseMs = 1_000;
const longestPauseMs = 30_000;
/** Peers whose address is cached, in each of two generations. */
const rememberedMax = 10_000;

interface Address {
  readonly host: string;
  readonly port: number;
}

/** The parts of the machine that a UDP transport uses; tests pass others. */
export interface Machine extends Pick<AddressSocketsInit, "timers" | "interfaces"> {
  /** The compiled part; undefined if it could not be loaded. */
  readonly native: NativeBatch | undefined;
}

export function thisMachine(): Machine {
  return { native: loadNativeBatch(), timers: systemTimers, interfaces: networkInterfaces };
}

export class UdpTransport implements Transport {
  readonly name: string;
  readonly #options: UdpOptions;
  readonly #machine: Machine;
  readonly #isV6: boolean;
  /** Plain sentences for the operator; valid after `start`. */
  readonly warnings: string[] = [];
  /** Also undefined if only `#batch` is used. */
  #socket: SocketAsPromised | undefined;
  #groupSocket: SocketAsPromised | undefined;
  #batch: UdpBatch | undefined;
  /** Used if the socket is bound to all addresses and there is no `#batch`. */
  #perAddress: AddressSockets | undefined;
  #events: TransportEvents | undefined;
  #closed = false;
  #mayLeave: () => boolean = () => true;
  #pauseMs = firstPauseMs;
  #reopening: NodeJS.Timeout | undefined;
  #bound: Address | undefined;
  readonly #stats = { datagramsIn: 0, datagramsOut: 0, bytesIn: 0, bytesOut: 0, sendErrors: 0 };
  /** Addresses of peers with recent datagrams, so that no text is parsed for each datagram. */
  readonly #addresses = new RecentMap<PeerId, Address>(rememberedMax);
  #drops: { at: number; value: number | undefined } = { at: 0, value: undefined };
  /** One callback for all sends. Without it, errors such as EMSGSIZE are not reported. */
  readonly #onSent = (error: Error | null): void => {
    if (error) this.#stats.sendErrors++;
  };

  constructor(options: UdpOptions, machine: Machine = thisMachine()) {
    this.#machine = machine;
    this.name = options.name;
    this.#options = options;
    this.#isV6 = isIPv6(options.host);
  }

  get place(): string {
    const { host, port } = this.#bound ?? this.#options;
    return this.#isV6 ? `[${host}]:${port}` : `${host}:${port}`;
  }

  maxMessageBytes(_peer: PeerId): number {
    return this.#options.maxMessageBytes;
  }

  hostOf(peer: PeerId): string {
    return this.#addressOf(peer)?.host ?? peer;
  }

  identityOf(peer: PeerId): PeerIdentity {
    return { name: this.hostOf(peer), by: "address", verified: false };
  }

  async start(events: TransportEvents): Promise<void> {
    this.#events = events;
    await this.#open();
  }

  sendsWhile(mayLeave: () => boolean): void {
    this.#mayLeave = mayLeave;
  }

  send(to: PeerId, bytes: Uint8Array): void {
    if (!this.#mayLeave()) return;
    if (this.#batch) return this.#count(this.#batch.send(to, bytes), bytes);
    const address = this.#addressOf(to);
    if (!this.#socket || !address) {
      this.#stats.sendErrors++;
      return;
    }
    const own = this.#perAddress?.socketFor(to);
    if (own) this.#sendFrom(own, this.#socket.socket, address, bytes);
    else this.#sendTo(this.#socket.socket, address, bytes);
  }

  broadcast(bytes: Uint8Array, radius: number): void {
    const { multicast } = this.#options;
    if (!multicast) return;
    const { group, port, hopLimit } = multicast;
    const hops = isMulticast(group) ? (radius === 0 ? hopLimit : Math.min(radius, hopLimit)) : undefined;
    if (this.#batch) return this.#count(this.#batch.broadcast(this.#peerOf(group, port), bytes, hops), bytes);
    const socket = this.#socket?.socket;
    if (!socket) return;
    try {
      if (hops !== undefined) socket.setMulticastTTL(hops);
      this.#sendTo(socket, { host: group, port }, bytes);
    } catch {
      this.#stats.sendErrors++;
    }
  }

  /**
   * Makes the kernel pass these shares (0 to 1) of DTLS ClientHellos without a cookie and with one. False: this is not
   * possible.
   */
  thinHellos(first: number, second: number): boolean {
    return this.#batch?.thinHellos(first, second) ?? false;
  }

  stats(): TransportStats {
    const drops = this.#kernelDrops();
    return { ...this.#stats, ...(drops !== undefined && { kernelDrops: drops }) };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#reopening);
    await this.#closeSockets();
  }

  #count(isTaken: boolean, bytes: Uint8Array): void {
    if (!isTaken) this.#stats.sendErrors++;
    else this.#countSent(bytes);
  }

  #countSent(bytes: Uint8Array): void {
    this.#stats.datagramsOut++;
    this.#stats.bytesOut += bytes.byteLength;
  }

  #sendTo(socket: Socket, address: Address, bytes: Uint8Array): void {
    try {
      socket.send(bytes, address.port, address.host, this.#onSent);
      this.#countSent(bytes);
    } catch {
      this.#stats.sendErrors++; // port 0 of a forged datagram, or a socket that is just closing
    }
  }

  /**
   * Sends from this socket. If that fails, because the host may have lost the address, sends from the socket for all
   * addresses.
   */
  #sendFrom(own: Socket, forAll: Socket, address: Address, bytes: Uint8Array): void {
    const onSent = (error: Error | null) => {
      if (error) this.#sendTo(forAll, address, bytes);
      else this.#countSent(bytes);
    };
    try {
      own.send(bytes, address.port, address.host, onSent);
    } catch {
      this.#sendTo(forAll, address, bytes);
    }
  }

  #newSocket(reuseAddr: boolean, heard?: (from: PeerId) => void): SocketAsPromised {
    const { host, receiveBufferBytes } = this.#options;
    const socket = DgramAsPromised.createSocket({
      type: this.#isV6 ? "udp6" : "udp4",
      reuseAddr,
      ipv6Only: this.#isV6,
      recvBufferSize: receiveBufferBytes,
      lookup: isIP(host) === 0 ? lookup : noLookup,
    });
    this.#listen(socket, heard);
    return socket;
  }

  async #open(): Promise<void> {
    const { host, port, multicast } = this.#options;
    let socket = this.#newSocket(false);
    const batch = this.#openBatch();
    this.#batch = batch;
    try {
      await socket.bind(batch ? { fd: batch.duplicate(), exclusive: true } : { address: host, port, exclusive: true });
      const { address, port: boundPort } = socket.socket.address();
      this.#bound = { host: address, port: boundPort };
      if (!batch && isForAll(address)) socket = await this.#openForAll(socket, this.#bound);
      if (multicast) await this.#openMulticast(socket);
      this.#checkReceiveBuffer(socket.socket);
    } catch (error) {
      this.#batch = undefined;
      batch?.close();
      await closeQuietly(socket);
      throw openError(error, this.#options);
    }
    if (batch) await closeQuietly(socket);
    else this.#socket = socket;
    if (!batch && this.#bound && isForAll(this.#bound.host)) await this.#openPerAddress(this.#bound.port);
    if (!batch && this.#options.gatherMilliseconds > 0) {
      this.warnings.push(
        `${this.name}: gatherMilliseconds needs the compiled part, which is missing; the setting is ignored`,
      );
    }
  }

  #openBatch(): UdpBatch | undefined {
    const { native } = this.#machine;
    if (!native) return undefined;
    return UdpBatch.open(native, this.#options, {
      peerOf: (address, of) => this.#peerOf(address, of),
      addressOf: (peer) => this.#addressOf(peer),
      datagram: (from, bytes) => this.#onDatagram(from, bytes),
      batch: (work) => {
        if (this.#events?.batch) this.#events.batch(work);
        else work();
      },
      notSent: (count) => {
        this.#stats.sendErrors += count;
        this.#stats.datagramsOut -= count; // the datagram was counted when it was queued
      },
      failed: (error) => this.#recover(error),
      mayLeave: () => this.#mayLeave(),
    });
  }

  /**
   * Opens the socket again, so that sockets for single addresses can exist beside it. The first socket is opened
   * without this, because otherwise a port of another program would not be noticed.
   */
  async #openForAll(before: SocketAsPromised, { host, port }: Address): Promise<SocketAsPromised> {
    await closeQuietly(before);
    const socket = this.#newSocket(true);
    try {
      await socket.bind({ address: host, port, exclusive: true });
    } catch (error) {
      await closeQuietly(socket);
      throw error;
    }
    return socket;
  }

  async #openPerAddress(port: number): Promise<void> {
    this.#perAddress = new AddressSockets({
      ...this.#machine,
      isV6: this.#isV6,
      open: async (host, onDatagram) => {
        const socket = this.#newSocket(true, onDatagram);
        try {
          await socket.bind({ address: host, port, exclusive: true });
        } catch (error) {
          await closeQuietly(socket);
          throw error;
        }
        return socket;
      },
      notice: (say) => this.#events?.notice("info", `${this.name}: ${say}`),
    });
    await this.#perAddress.start();
  }

  /** Joins the group on the unicast socket if the ports agree, else on a second socket that feeds the same events. */
  async #openMulticast(unicast: SocketAsPromised): Promise<void> {
    const { multicast } = this.#options;
    if (!multicast || !isMulticast(multicast.group)) return;
    unicast.setMulticastLoopback(multicast.loopback);
    unicast.setMulticastTTL(multicast.hopLimit);
    const first = multicast.interfaces[0];
    if (first !== undefined) unicast.setMulticastInterface(this.#isV6 ? `::%${first}` : first);
    let listening = unicast;
    if (multicast.port !== this.#bound?.port) {
      listening = DgramAsPromised.createSocket({
        type: this.#isV6 ? "udp6" : "udp4",
        reuseAddr: true,
        ipv6Only: this.#isV6,
      });
      this.#listen(listening);
      this.#groupSocket = listening;
      await listening.bind({ port: multicast.port, exclusive: true });
    }
    if (multicast.interfaces.length === 0) listening.addMembership(multicast.group);
    for (const name of multicast.interfaces) {
      listening.addMembership(multicast.group, this.#isV6 ? `::%${name}` : name);
    }
  }

  #listen(wrapped: SocketAsPromised, heard: (from: PeerId) => void = () => {}): void {
    wrapped.socket.on("message", (bytes, remote) => {
      const from = this.#peerOf(remote.address, remote.port);
      heard(from);
      this.#onDatagram(from, bytes);
    });
    wrapped.socket.on("error", (error) => {
      if (wrapped === this.#socket) this.#recover(error);
      else this.#perAddress?.drop(wrapped.socket);
    });
  }

  #onDatagram(from: PeerId, bytes: Uint8Array): void {
    this.#stats.datagramsIn++;
    this.#stats.bytesIn += bytes.byteLength;
    if (!this.#closed) this.#events?.datagram(from, bytes);
  }

  #recover(error: Error): void {
    if (this.#closed || this.#reopening) return;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(pauseMs * 2, longestPauseMs);
    this.#events?.failed(
      new GatewayError(
        "ERR_TRANSPORT_FAILED",
        { transport: this.name, retryInMs: pauseMs },
        {
          cause: error,
          say: `${this.name}: ${error.message}; the socket is opened again in ${pauseMs / 1_000} s`,
        },
      ),
    );
    void this.#closeSockets();
    this.#reopening = setTimeout(() => {
      this.#reopening = undefined;
      if (this.#closed) return;
      this.#open().then(
        () => {
          this.#pauseMs = firstPauseMs;
        },
        (again: Error) => this.#recover(again),
      );
    }, pauseMs);
  }

  async #closeSockets(): Promise<void> {
    const open = [this.#socket, this.#groupSocket];
    this.#batch?.close();
    this.#batch = undefined;
    this.#perAddress?.close();
    this.#perAddress = undefined;
    this.#socket = undefined;
    this.#groupSocket = undefined;
    for (const socket of open) if (socket) await closeQuietly(socket);
  }

  #checkReceiveBuffer(socket: Socket): void {
    const asked = this.#options.receiveBufferBytes;
    const got = socket.getRecvBufferSize() / 2; // Linux reports twice what it lets a program use
    if (got >= asked) return;
    this.warnings.push(
      `${this.name}: the kernel gave a receive buffer of ${got} instead of ${asked} octets; bursts may be lost. ` +
        `To allow it: sysctl -w net.core.rmem_max=${asked}`,
    );
  }

  #kernelDrops(): number | undefined {
    const now = Date.now();
    if (this.#bound && now - this.#drops.at >= 1_000) {
      const { host, port } = this.#bound;
      const hosts = [host, ...(this.#perAddress?.hosts ?? [])];
      this.#drops = { at: now, value: kernelDrops({ v6: this.#isV6, hosts, port }) };
    }
    return this.#drops.value;
  }

  #peerOf(host: string, port: number): PeerId {
    return this.#isV6 ? `${this.name}/[${host}]:${port}` : `${this.name}/${host}:${port}`;
  }

  #addressOf(peer: PeerId): Address | undefined {
    const known = this.#addresses.get(peer);
    if (known) return known;
    const address = this.#parse(peer);
    if (address) this.#addresses.set(peer, address);
    return address;
  }

  #parse(peer: PeerId): Address | undefined {
    const start = this.name.length + 1;
    const colon = peer.lastIndexOf(":");
    const port = Number(peer.slice(colon + 1));
    if (colon <= start || !(port > 0 && port < 65_536)) return undefined;
    return { host: this.#isV6 ? peer.slice(start + 1, colon - 1) : peer.slice(start, colon), port };
  }
}

/** Peers are addresses, never names. So nothing is resolved, and no datagram waits for it. */
function noLookup(
  address: string,
  _options: unknown,
  callback: (error: null, address: string, family: number) => void,
): void {
  callback(null, address, address.includes(":") ? 6 : 4);
}

function isMulticast(address: string): boolean {
  if (isIPv6(address)) return address.toLowerCase().startsWith("ff");
  const first = Number(address.split(".")[0]);
  return first >= 224 && first <= 239;
}

/** Compared in the form in which node:dgram reports the address of a socket. */
function isForAll(address: string): boolean {
  return address === "0.0.0.0" || address === "::";
}

function openError(cause: unknown, options: UdpOptions): GatewayError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const advice: Record<string, string> = {
    EADDRINUSE: "another program has this port; choose another one under transports",
    EACCES: "ports below 1024 need the right to bind them; choose a higher one under transports",
    EADDRNOTAVAIL: "this host has no such address; see transports.host",
    ENODEV: "no network interface can join the multicast group; see transports.multicast",
  };
  const why = advice[code] ?? (cause instanceof Error ? cause.message : String(cause));
  return new GatewayError(
    "ERR_TRANSPORT_OPEN",
    { transport: options.name, host: options.host, port: options.port, code },
    { cause, say: `${options.name}: cannot listen on UDP ${options.host}:${options.port}: ${why}` },
  );
}
