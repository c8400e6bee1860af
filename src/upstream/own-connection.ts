/** A connection of the gateway's own to the broker, beside those of devices. Neither traffic waits for the other. */
import { Socket } from "node:net";
import mqtt, { type IClientPublishOptions, type MqttClient } from "mqtt";
import { BackOff } from "./back-off.ts";
import { type BrokerUrl, parseBrokerUrl } from "./broker-url.ts";
import { Credentials } from "./credentials.ts";
import { keepAliveOf, type UpstreamOptions, urlsOf } from "./options.ts";
import { optionsBelow, watchHandshake } from "./socket-below.ts";
import type { TlsSession } from "./tls-session.ts";
import { SocketMeter, type WireOctets } from "./wire-octets.ts";

/** Reports to the operator: at most once for each change. */
export type Told = (level: "info" | "warn", say: string) => void;

export interface OwnMessage {
  readonly retain: boolean;
  /** MQTT 5: the topic for the answer, and the data that it must contain. */
  readonly responseTopic?: string | undefined;
  readonly correlationData?: Uint8Array | undefined;
}

export interface Outlet {
  /** A message that does not arrive is lost: the sender compares the state again at the next connection. */
  publish(
    topicName: string,
    text: string,
    options: { readonly qos: 0 | 1; readonly retain: boolean; readonly correlationData?: Uint8Array | undefined },
  ): void;
}

/** The user of such a connection. */
export interface Speaker {
  /** The topic filters of messages for it; empty: none. */
  readonly filters: readonly string[];
  readonly qos: 0 | 1 | 2;
  /** Texts for the log: what works while connected, and what fails while not. */
  readonly words: { readonly works: string; readonly fails: string };
  connected(outlet: Outlet): void;
  disconnected(): void;
  received(topicName: string, payload: Uint8Array, message: OwnMessage): void;
}

/** A ticket that is refused is forgotten; the next attempt comes after the usual pause. */
const noHandshakeEvents = { onSecured: () => {}, onTicketRefused: () => {} };
const pause = { minSeconds: 1, maxSeconds: 60 };

export class OwnConnection {
  readonly #options: UpstreamOptions;
  readonly #clientId: string;
  readonly #speaker: Speaker;
  readonly #told: Told;
  readonly #credentials: Credentials;
  readonly #urls: readonly BrokerUrl[];
  readonly #backOff: BackOff;
  readonly #wire: WireOctets;
  #client: MqttClient | undefined;
  #timer: NodeJS.Timeout | undefined;
  #attempt = 0;
  #isUp = false;
  #isClosed = false;
  #lastTrouble = "";

  /**
   * @param parts.wire where its octets are counted
   * @throws {GatewayError} ERR_UPSTREAM_OPTIONS, as for the gateway's own connection.
   */
  constructor(
    options: UpstreamOptions,
    clientId: string,
    speaker: Speaker,
    { told, random, wire }: { readonly told: Told; readonly random: () => number; readonly wire: WireOctets },
  ) {
    this.#options = options;
    this.#wire = wire;
    this.#clientId = clientId;
    this.#speaker = speaker;
    this.#told = told;
    this.#credentials = new Credentials(options);
    this.#urls = urlsOf(options).flatMap((text) => parseBrokerUrl(text) ?? []);
    this.#backOff = new BackOff(pause, random);
  }

  start(): void {
    const url = this.#urls[this.#attempt++ % Math.max(1, this.#urls.length)];
    if (!url || this.#isClosed) return;
    this.#credentials.of(undefined, url, (identity, session) => {
      if (this.#isClosed) return;
      if ("failed" in identity) return this.#again(identity.failed);
      this.#connect(url, identity, session);
    });
  }

  /** Reads the options of log-in and TLS again; they take effect at the next connection. */
  reload(options: UpstreamOptions): void {
    this.#credentials.reload(options);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#speaker.disconnected();
    const client = this.#client;
    if (client) await new Promise<void>((done) => client.end(false, {}, () => done()));
  }

  #connect(url: BrokerUrl, identity: object, session: TlsSession | undefined): void {
    const { connectTimeoutSeconds, protocol } = this.#options;
    const ticket = session?.offer();
    let meter: SocketMeter | undefined;
    const watch = (socket: Socket) => {
      meter = new SocketMeter(socket);
      this.#wire.begin(meter);
      watchHandshake(socket, session, ticket !== undefined, noHandshakeEvents);
    };
    let client: MqttClient;
    try {
      client = mqtt.connect({
        protocol: url.scheme,
        host: url.host,
        ...(url.port !== undefined && { port: url.port }),
        transformWsUrl: () => url.webSocketUrl,
        ...optionsBelow(url, identity, ticket, watch),
        clientId: this.#clientId,
        protocolVersion: protocol === "5" ? 5 : 4,
        clean: true,
        keepalive: keepAliveOf(this.#options),
        connectTimeout: connectTimeoutSeconds * 1_000,
        reconnectPeriod: 0,
        resubscribe: false,
      });
    } catch (error) {
      return this.#again(error instanceof Error ? error.message : String(error));
    }
    this.#client = client;
    if (client.stream instanceof Socket) watch(client.stream);
    let why = "the connection ended";
    client.on("error", (error) => {
      why = error.message;
    });
    const { filters, qos, words } = this.#speaker;
    const begin = () => {
      this.#isUp = true;
      this.#lastTrouble = "";
      this.#backOff.reset();
      this.#told("info", `${words.works}, as ${this.#clientId}`);
      this.#speaker.connected({
        publish: (topicName, text, options) => this.#publish(client, topicName, text, options),
      });
    };
    client.on("connect", () => {
      if (filters.length === 0) return begin();
      client.subscribe([...filters], { qos }, (error, granted) => {
        if (error || granted?.some(({ qos: got }) => got > 2)) {
          why = `the broker does not let ${this.#clientId} subscribe to ${filters.join(" and ")}`;
          client.end(true);
        } else begin();
      });
    });
    client.on("message", (topicName, payload, { retain, properties }) =>
      this.#speaker.received(topicName, payload, {
        retain,
        responseTopic: properties?.responseTopic,
        correlationData: properties?.correlationData,
      }),
    );
    client.once("close", () => {
      if (meter) this.#wire.end(meter);
      this.#client = undefined;
      this.#again(why);
    });
  }

  #publish(client: MqttClient, topicName: string, text: string, options: Parameters<Outlet["publish"]>[2]): void {
    if (this.#client !== client) return;
    const { qos, retain, correlationData } = options;
    const has5 = this.#options.protocol === "5" && correlationData !== undefined;
    const wish: IClientPublishOptions = {
      qos,
      retain,
      ...(has5 && { properties: { correlationData: Buffer.from(correlationData) } }),
    };
    client.publish(topicName, text, wish, () => {});
  }

  #again(why: string): void {
    if (this.#isUp) this.#speaker.disconnected();
    this.#isUp = false;
    if (this.#isClosed) return;
    if (why !== this.#lastTrouble) this.#told("warn", `${this.#speaker.words.fails}: ${why}`);
    this.#lastTrouble = why;
    this.#timer = setTimeout(() => this.start(), this.#backOff.next(false));
    this.#timer.unref();
  }
}
