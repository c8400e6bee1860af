/** A connection of its own to the broker, for what Home Assistant is told: devices' traffic does not wait for it, nor it for theirs. */
import mqtt, { type MqttClient } from "mqtt";
import { BackOff } from "../upstream/back-off.ts";
import { type BrokerUrl, parseBrokerUrl } from "../upstream/broker-url.ts";
import { Credentials } from "../upstream/credentials.ts";
import { type UpstreamOptions, urlsOf } from "../upstream/options.ts";
import type { Home } from "./home.ts";

/** Said to people: at most once for each change. */
export type Told = (level: "info" | "warn", say: string) => void;

const pause = { minSeconds: 1, maxSeconds: 60 };

export class HomeConnection {
  readonly #options: UpstreamOptions;
  readonly #clientId: string;
  readonly #home: Home;
  readonly #told: Told;
  readonly #credentials: Credentials;
  readonly #urls: readonly BrokerUrl[];
  readonly #backOff: BackOff;
  #client: MqttClient | undefined;
  #timer: NodeJS.Timeout | undefined;
  #attempt = 0;
  #isUp = false;
  #isClosed = false;
  #lastTrouble = "";

  /** @throws {GatewayError} ERR_UPSTREAM_OPTIONS, as for the gateway's own connection. */
  constructor(options: UpstreamOptions, clientId: string, home: Home, told: Told, random: () => number) {
    this.#options = options;
    this.#clientId = clientId;
    this.#home = home;
    this.#told = told;
    this.#credentials = new Credentials(options);
    this.#urls = urlsOf(options).flatMap((text) => parseBrokerUrl(text) ?? []);
    this.#backOff = new BackOff(pause, random);
  }

  start(): void {
    const url = this.#urls[this.#attempt++ % Math.max(1, this.#urls.length)];
    if (!url || this.#isClosed) return;
    this.#credentials.of(undefined, url, (identity) => {
      if (this.#isClosed) return;
      if ("failed" in identity) return this.#again(identity.failed);
      this.#connect(url, identity);
    });
  }

  /** The options of log-in and TLS are read again; they count from the next connection on. */
  reload(options: UpstreamOptions): void {
    this.#credentials.reload(options);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#home.disconnected();
    const client = this.#client;
    if (client) await new Promise<void>((done) => client.end(false, {}, () => done()));
  }

  #connect(url: BrokerUrl, identity: object): void {
    const { keepAliveSeconds, connectTimeoutSeconds, protocol } = this.#options;
    let client: MqttClient;
    try {
      client = mqtt.connect({
        protocol: url.scheme,
        host: url.host,
        ...(url.port !== undefined && { port: url.port }),
        transformWsUrl: () => url.webSocketUrl,
        ...identity,
        clientId: this.#clientId,
        protocolVersion: protocol === "5" ? 5 : 4,
        clean: true,
        keepalive: keepAliveSeconds,
        connectTimeout: connectTimeoutSeconds * 1_000,
        reconnectPeriod: 0,
        resubscribe: false,
      });
    } catch (error) {
      return this.#again(error instanceof Error ? error.message : String(error));
    }
    this.#client = client;
    let why = "the connection ended";
    client.on("error", (error) => {
      why = error.message;
    });
    client.on("connect", () => {
      client.subscribe([...this.#home.filters], { qos: 1 }, (error, granted) => {
        if (error || granted?.some(({ qos }) => qos > 2)) {
          why = `the broker does not let ${this.#clientId} subscribe to ${this.#home.filters.join(" and ")}`;
          client.end(true);
          return;
        }
        this.#isUp = true;
        this.#lastTrouble = "";
        this.#backOff.reset();
        this.#told("info", `Home Assistant is told of devices, as ${this.#clientId}`);
        this.#home.connected({ publish: (topicName, text) => this.#publish(client, topicName, text) });
      });
    });
    client.on("message", (topicName, payload, { retain }) =>
      this.#home.received(topicName, payload.toString("utf8"), retain),
    );
    client.once("close", () => {
      this.#client = undefined;
      this.#again(why);
    });
  }

  #publish(client: MqttClient, topicName: string, text: string): void {
    if (this.#client !== client) return;
    client.publish(topicName, text, { qos: 1, retain: true }, () => {
      // What did not arrive is compared again at the next connection.
    });
  }

  #again(why: string): void {
    if (this.#isUp) this.#home.disconnected();
    this.#isUp = false;
    if (this.#isClosed) return;
    if (why !== this.#lastTrouble) this.#told("warn", `Home Assistant cannot be told of devices: ${why}`);
    this.#lastTrouble = why;
    this.#timer = setTimeout(() => this.start(), this.#backOff.next());
    this.#timer.unref();
  }
}
