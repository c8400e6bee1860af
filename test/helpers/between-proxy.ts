/**
 * The network between the gateways of a fleet, which can be cut between any two. Each gateway announces a socket here; what comes there from
 * another one's real socket goes on to the real socket of the first, from the announced one of the other.
 */
import { createSocket, type Socket } from "node:dgram";

export interface Place {
  readonly name: string;
  /** Where the gateway listens. */
  readonly listen: number;
  /** What it announces. */
  readonly announce: number;
}

export class BetweenProxy {
  readonly #places: readonly Place[];
  readonly #sockets = new Map<string, Socket>();
  readonly #cut = new Set<string>();
  passed = 0;
  dropped = 0;

  constructor(places: readonly Place[]) {
    this.#places = places;
  }

  async open(): Promise<void> {
    for (const place of this.#places) {
      const socket = createSocket("udp4");
      this.#sockets.set(place.name, socket);
      socket.on("error", () => {}); // nobody listens there just now
      socket.on("message", (bytes, from) => {
        const sender = this.#places.find(({ listen }) => listen === from.port);
        if (!sender) return;
        if (this.#cut.has(`${sender.name} ${place.name}`)) {
          this.dropped++;
          return;
        }
        this.passed++;
        this.#sockets.get(sender.name)?.send(bytes, place.listen, "127.0.0.1");
      });
      await new Promise<void>((done) => socket.bind(place.announce, "127.0.0.1", done));
    }
  }

  cut(one: string, other: string): void {
    this.#cut.add(`${one} ${other}`).add(`${other} ${one}`);
  }

  heal(): void {
    this.#cut.clear();
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.close();
  }
}
