/**
 * Octets of all connections of an upstream, as TCP carries them: with TLS and its handshakes, WebSocket, CONNECT, PINGREQ. The network
 * operator charges for these octets, and for the headers that TCP and IP add to each segment. Nothing is done per message: sockets count,
 * and are read on demand.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/** Octets from (in) and to (out) the broker. */
export interface Octets {
  readonly in: number;
  readonly out: number;
}

/** Anything that has a socket, open or closed. */
export interface Carrier {
  readonly carried: Octets;
}

export class WireOctets {
  readonly #open = new Set<Carrier>();
  #in = 0;
  #out = 0;
  /**
   * The last reported count. Octets that wait in a socket are counted, although they are not sent if the socket is
   * destroyed.
   */
  #told: Octets = { in: 0, out: 0 };

  begin(carrier: Carrier): void {
    this.#open.add(carrier);
  }

  /** The connection is closed, and carries no more octets. Idempotent. */
  end(carrier: Carrier): void {
    if (!this.#open.delete(carrier)) return;
    const { carried } = carrier;
    this.#in += carried.in;
    this.#out += carried.out;
  }

  /** Octets since the gateway started; never less than before. */
  get total(): Octets {
    let { in: octetsIn, out } = { in: this.#in, out: this.#out };
    for (const { carried } of this.#open) {
      octetsIn += carried.in;
      out += carried.out;
    }
    this.#told = { in: Math.max(octetsIn, this.#told.in), out: Math.max(out, this.#told.out) };
    return this.#told;
  }
}

const nothing: Octets = { in: 0, out: 0 };

/** A handle of Node's. The parent of a TLS socket's handle is the socket below it. */
interface Handle {
  readonly bytesRead?: unknown;
  readonly bytesWritten?: unknown;
  readonly _parent?: Handle | null;
}

/**
 * Counts the octets of one socket. For TLS, Node counts only the octets inside it, so the socket below is read. See the
 * test "every octet".
 */
export class SocketMeter implements Carrier {
  readonly #socket: Socket;
  /** The last count of a TLS socket that is closed, because the socket below it does not exist any more. */
  #last: Octets | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    if (!(socket instanceof TLSSocket)) return;
    const destroy = socket._destroy;
    socket._destroy = (error, done) => {
      this.#last = this.carried;
      destroy.call(socket, error, done);
    };
  }

  get carried(): Octets {
    return this.#last ?? below(this.#socket) ?? carriedBy(this.#socket);
  }
}

/** The octets of a socket without TLS, open or closed. */
export function carriedBy({ bytesRead, bytesWritten }: Socket): Octets {
  return { in: bytesRead, out: bytesWritten };
}

function below(socket: Socket): Octets | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  const { _handle: handle } = socket as Socket & { readonly _handle?: Handle | null };
  if (!handle) return nothing;
  const { bytesRead, bytesWritten } = handle._parent ?? {};
  return typeof bytesRead === "number" && typeof bytesWritten === "number"
    ? { in: bytesRead, out: bytesWritten }
    : undefined;
}
