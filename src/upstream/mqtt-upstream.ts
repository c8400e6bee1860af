/** All links to the broker. The core decides what they carry; mqtt-link.ts is the implementation of a link. */
import { randomInt } from "node:crypto";
import type { LinkRequest } from "../core/effect.ts";
import type { Copies, KnownPause, LinkId, Publication, QoS } from "../core/types.ts";
import { Durations } from "../durations.ts";
import { GatewayError } from "../errors.ts";
import { BrokerList } from "./broker-list.ts";
import { type BrokerUrl, parseBrokerUrl, withoutSecrets } from "./broker-url.ts";
import type { WallTime } from "./certificate-time.ts";
import { probeCopies } from "./copies-probe.ts";
import { Credentials } from "./credentials.ts";
import type { Notice, SubscribeDetails, Upstream, UpstreamEvents } from "./link.ts";
import type { LinkCounters } from "./link-counters.ts";
import { MqttLink } from "./mqtt-link.ts";
import { isQuicklyAcknowledged, isReadTogether, type UpstreamOptions, urlsOf } from "./options.ts";
import { type BrokerWays, waysOf } from "./presets.ts";
import { probe } from "./probe.ts";
import type { Together } from "./together.ts";
import { AliasRules } from "./topic-aliases.ts";
import { TurnEnd } from "./turn-end.ts";
import { WillRules } from "./will-rules.ts";
import { WireOctets } from "./wire-octets.ts";

export class MqttUpstream implements Upstream {
  readonly #options: UpstreamOptions;
  readonly #credentials: Credentials;
  readonly #brokers: BrokerList;
  readonly #ways: BrokerWays;
  readonly #wills: WillRules;
  readonly #aliasRules: AliasRules;
  readonly #random: () => number;
  readonly #clock: WallTime;
  readonly #links = new Map<LinkId, MqttLink>();
  /** MQTT client ids whose last connection is still closing, and the link that waits for this. */
  readonly #closing = new Map<string, { count: number; waiting: MqttLink | undefined }>();
  readonly #turnEnd: TurnEnd;
  readonly #together: Together;
  #events: UpstreamEvents | undefined;
  #probe: MqttLink | undefined;
  #idle: (() => void) | undefined;
  readonly counters: LinkCounters = {
    droppedCongested: 0,
    receiveMaximumExceeded: 0,
    packetsIn: 0,
    packetsOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    wire: new WireOctets(),
    tls: { full: 0, resumed: 0 },
    acknowledgement: new Durations(),
    brokerCertificateEndsAt: undefined,
  };

  /** @throws {GatewayError} ERR_UPSTREAM_OPTIONS */
  constructor(
    options: UpstreamOptions,
    clock: WallTime = { now: Date.now, trusted: Date.now },
    random: () => number = () => randomInt(2 ** 32) / 2 ** 32,
    turnEnd = new TurnEnd(),
    together: Together = {},
  ) {
    this.#options = options;
    const told: Notice = (...words) => this.#events?.notice?.(...words);
    this.#credentials = new Credentials(options, told);
    this.#ways = waysOf(options);
    this.#wills = new WillRules(this.#ways, told);
    this.#aliasRules = new AliasRules(options.topicAliases, told);
    this.#brokers = new BrokerList({
      urls: urlsOf(options).map(parsed),
      returnSeconds: options.returnSeconds,
      links: () => this.#links.values(),
      probe: (url, done) =>
        probe(url, {
          tls: this.#credentials.tlsOptions(url),
          timeoutMs: options.connectTimeoutSeconds * 1_000,
          wire: this.counters.wire,
          done,
        }),
      random,
      told,
    });
    this.#random = random;
    this.#turnEnd = turnEnd;
    this.#together = {
      ring: options.ioUring ? together.ring : undefined,
      reads: isReadTogether(options) ? together.reads : undefined,
      quickAck: isQuicklyAcknowledged(options) ? together.quickAck : undefined,
    };
    this.#clock = clock;
  }

  async start(events: UpstreamEvents): Promise<void> {
    this.#events = events;
  }

  open(request: LinkRequest): void {
    if (!this.#events) return;
    const link = this.#newLink(request, this.#events);
    this.#links.set(request.linkId, link);
    const closing = this.#closing.get(request.mqttClientId);
    // The broker must receive the DISCONNECT of the old connection before the new CONNECT; otherwise it treats this as a takeover.
    if (closing) closing.waiting = link;
    else link.connect();
  }

  close(linkId: LinkId, how: "disconnect" | "abandon", endSession: boolean): void {
    const link = this.#links.get(linkId);
    if (!link) return;
    this.#links.delete(linkId);
    const { mqttClientId } = link.request;
    const closing = this.#closing.get(mqttClientId) ?? { count: 0, waiting: undefined };
    if (closing.waiting === link) closing.waiting = undefined;
    closing.count++;
    this.#closing.set(mqttClientId, closing);
    link.close(how, endSession, () => this.#closed(mqttClientId));
  }

  publish(linkId: LinkId, publication: Publication, packetId: number, dup: boolean): void {
    this.#links.get(linkId)?.publish(publication, packetId, dup);
  }

  release(linkId: LinkId, packetId: number): void {
    this.#links.get(linkId)?.release(packetId);
  }

  subscribe(linkId: LinkId, packetId: number, topicFilter: string, qos: QoS, details?: SubscribeDetails): void {
    this.#links.get(linkId)?.subscribe(packetId, topicFilter, qos, details);
  }

  unsubscribe(linkId: LinkId, packetId: number, topicFilter: string): void {
    this.#links.get(linkId)?.unsubscribe(packetId, topicFilter);
  }

  pause(linkId: LinkId, pause: KnownPause): void {
    this.#links.get(linkId)?.pause(pause);
  }

  ping(linkId: LinkId): void {
    this.#links.get(linkId)?.ping();
  }

  ack(linkId: LinkId, ack: "puback" | "pubrec" | "pubcomp", packetId: number): void {
    this.#links.get(linkId)?.ack(ack, packetId);
  }

  askCopies(request: LinkRequest, topic: string, done: (copies: Copies | undefined) => void): void {
    const open = (events: UpstreamEvents) => {
      this.#probe = this.#newLink(request, events);
      return this.#probe;
    };
    probeCopies(topic, open, done);
  }

  #newLink(request: LinkRequest, events: UpstreamEvents): MqttLink {
    return new MqttLink({
      request,
      options: this.#options,
      credentials: this.#credentials,
      brokers: this.#brokers,
      ways: this.#ways,
      wills: this.#wills,
      aliasRules: this.#aliasRules,
      events,
      counters: this.counters,
      turnEnd: this.#turnEnd,
      together: this.#together,
      random: this.#random,
      clock: this.#clock,
    });
  }

  /**
   * Reads credentials and certificates again with these options; nothing else changes.
   * @throws {GatewayError} ERR_UPSTREAM_OPTIONS; then nothing changes.
   */
  reload(options: UpstreamOptions): void {
    this.#credentials.reload(options);
  }

  /** Ends every link without sending anything to the broker; connections are destroyed. No event comes afterwards. */
  tear(): void {
    this.#brokers.close();
    this.#probe?.tear();
    for (const link of this.#links.values()) link.tear();
    this.#links.clear();
    for (const { waiting } of this.#closing.values()) waiting?.tear();
    this.#events = undefined;
  }

  async shutdown(deadlineMs: number): Promise<void> {
    this.#brokers.close();
    this.#probe?.close("disconnect", true, () => {});
    for (const linkId of [...this.#links.keys()]) this.close(linkId, "disconnect", false);
    if (this.#closing.size === 0) return;
    await new Promise<void>((resolve) => {
      const deadline = setTimeout(resolve, deadlineMs);
      this.#idle = () => {
        clearTimeout(deadline);
        resolve();
      };
    });
  }

  /** The clock of this machine was set, so connections that failed because of certificates are tried again. */
  onClockSet(): void {
    for (const link of this.#links.values()) link.onClockSet();
  }

  /**
   * The expiry times of the broker's and the gateway's certificates, as far as they are known; milliseconds since 1970.
   */
  get certificates(): readonly { readonly of: string; readonly endsAt: number }[] {
    const { brokerCertificateEndsAt: endsAt } = this.counters;
    return [...this.#credentials.certificates, ...(endsAt === undefined ? [] : [{ of: "broker", endsAt }])];
  }

  /** Connections that are up. */
  get linksUp(): number {
    let up = 0;
    for (const link of this.#links.values()) if (link.isUp) up++;
    return up;
  }

  #closed(mqttClientId: string): void {
    const closing = this.#closing.get(mqttClientId);
    if (!closing || --closing.count > 0) return;
    this.#closing.delete(mqttClientId);
    closing.waiting?.connect();
    if (this.#closing.size === 0) this.#idle?.();
  }
}

function parsed(url: string): BrokerUrl {
  const found = parseBrokerUrl(url);
  if (!found) throw new GatewayError("ERR_UPSTREAM_OPTIONS", {}, { say: `upstream: ${withoutSecrets(url)} is no url` });
  return found;
}
