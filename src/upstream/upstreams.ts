/** Joins several upstreams to one: each link uses the upstream that its request names. */
import type { LinkRequest } from "../core/effect.ts";
import type { Copies, KnownPause, LinkId, Publication, QoS } from "../core/types.ts";
import type { SubscribeDetails, Upstream, UpstreamEvents } from "./link.ts";

export class Upstreams implements Upstream {
  readonly #byName: ReadonlyMap<string, Upstream>;
  readonly #ofLink = new Map<LinkId, Upstream>();

  /** The name "" is the default upstream. */
  constructor(byName: ReadonlyMap<string, Upstream>) {
    this.#byName = byName;
  }

  async start(events: UpstreamEvents): Promise<void> {
    for (const upstream of this.#byName.values()) await upstream.start(events);
  }

  open(request: LinkRequest): void {
    const upstream = this.#byName.get(request.upstream);
    if (!upstream) throw new Error(`there is no upstream "${request.upstream}"`);
    this.#ofLink.set(request.linkId, upstream);
    upstream.open(request);
  }

  close(linkId: LinkId, how: "disconnect" | "abandon", endSession: boolean): void {
    this.#ofLink.get(linkId)?.close(linkId, how, endSession);
    this.#ofLink.delete(linkId);
  }

  publish(linkId: LinkId, publication: Publication, packetId: number, dup: boolean): void {
    this.#ofLink.get(linkId)?.publish(linkId, publication, packetId, dup);
  }

  release(linkId: LinkId, packetId: number): void {
    this.#ofLink.get(linkId)?.release(linkId, packetId);
  }

  subscribe(linkId: LinkId, packetId: number, topicFilter: string, qos: QoS, details?: SubscribeDetails): void {
    this.#ofLink.get(linkId)?.subscribe(linkId, packetId, topicFilter, qos, details);
  }

  unsubscribe(linkId: LinkId, packetId: number, topicFilter: string): void {
    this.#ofLink.get(linkId)?.unsubscribe(linkId, packetId, topicFilter);
  }

  pause(linkId: LinkId, pause: KnownPause): void {
    this.#ofLink.get(linkId)?.pause(linkId, pause);
  }

  ping(linkId: LinkId): void {
    this.#ofLink.get(linkId)?.ping(linkId);
  }

  ack(linkId: LinkId, ack: "puback" | "pubrec" | "pubcomp", packetId: number): void {
    this.#ofLink.get(linkId)?.ack(linkId, ack, packetId);
  }

  askCopies(request: LinkRequest, topic: string, done: (copies: Copies | undefined) => void): void {
    this.#byName.get(request.upstream)?.askCopies(request, topic, done);
  }

  async shutdown(deadlineMs: number): Promise<void> {
    await Promise.all([...this.#byName.values()].map((upstream) => upstream.shutdown(deadlineMs)));
  }
}
