/** The real gateway on loopback, on free ports, without a log; and devices that speak to it. */
import { setTimeout as sleepMs } from "node:timers/promises";
import { UdpDevice } from "../../src/cli/udp-device.ts";
import { parseConfig } from "../../src/config/load.ts";
import type { DeviceEvent } from "../../src/device/device.ts";
import type { DeviceWill } from "../../src/device/request.ts";
import { Gateway } from "../../src/gateway.ts";
import { createLog } from "../../src/observe/log.ts";
import type { QoS } from "../../src/wire/fields.ts";

/** `logTo`: the file that the log goes to; the terminal unless told. `file`: where the configuration is said to be from. */
export async function startGateway(
  config: Record<string, unknown>,
  logTo = 2,
  file?: string,
): Promise<{ gateway: Gateway; port: number }> {
  const parsed = parseConfig({
    transports: [{ type: "udp", host: "127.0.0.1", port: 0 }],
    api: { enabled: false },
    store: { kind: "memory" },
    log: { level: (process.env["TEST_LOG"] ?? "silent") as "silent", format: "json" },
    ...config,
  });
  const gateway = new Gateway(parsed, await createLog(parsed.log, logTo), file);
  await gateway.start();
  return { gateway, port: Number(gateway.places()[0]?.split(":").at(-1)) };
}

/** A slow machine, such as an emulated one, is given so many times the time. */
const patience = Number(process.env["PATIENCE"] ?? 1);

/** Waits until it is true; a test that hangs names what it waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, patienceMs = 30_000): Promise<void> {
  const end = Date.now() + patienceMs * patience;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await sleepMs(10);
  }
}

const text = new TextEncoder();

/** A device with a persistent session that publishes numbered messages and comes back after every DISCONNECT. */
export class Publisher {
  readonly #udp: UdpDevice;
  readonly clientId: string;
  /** Payloads that were acknowledged to the device, with their QoS. */
  readonly acknowledged = new Map<string, QoS>();
  readonly received: string[] = [];
  sent = 0;
  /** How often it was connected: once, if nothing goes wrong. */
  connects = 0;
  /** Why it had to connect again: the event of the device. */
  readonly ends: string[] = [];
  #stopped = false;
  #subscribed = false;
  readonly #topic: string;
  readonly #subscribeTo: string | undefined;
  readonly #pending = new Map<number, { payload: string; qos: QoS }>();
  readonly #session: { readonly clean: boolean; readonly will: DeviceWill | undefined };
  /** Publications that were answered with a refusal. */
  refused = 0;

  constructor(options: {
    clientId: string;
    port: number;
    topic: string;
    subscribeTo?: string;
    clean?: boolean;
    will?: DeviceWill;
    retryLimit?: number;
  }) {
    this.clientId = options.clientId;
    this.#session = { clean: options.clean ?? false, will: options.will };
    this.#topic = options.topic;
    this.#subscribeTo = options.subscribeTo;
    this.#udp = new UdpDevice({
      clientId: options.clientId,
      host: "127.0.0.1",
      port: options.port,
      retryMs: 300,
      retryLimit: options.retryLimit ?? 20,
      debug: false,
    });
  }

  async start(): Promise<void> {
    await this.#udp.open((event) => this.#on(event));
    this.#connect();
  }

  get connected(): boolean {
    return this.#udp.device.state === "active";
  }

  get idle(): boolean {
    return this.#udp.device.idle && this.connected;
  }

  /** One more message, if the last is through. */
  publish(qos: QoS): void {
    if (!this.idle) return;
    const payload = `${this.clientId}#${++this.sent}`;
    this.#udp.act((device, now) => {
      const ref = device.publish(
        { topic: { by: "name", topicName: this.#topic }, payload: text.encode(payload), qos },
        now,
      );
      this.#pending.set(ref, { payload, qos });
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#udp.close();
  }

  #connect(): void {
    if (!this.#stopped) this.#udp.act((device, now) => device.connect({ ...this.#session, keepAliveSeconds: 60 }, now));
  }

  #subscribe(): void {
    const topicName = this.#subscribeTo;
    if (topicName === undefined || this.#subscribed || this.#stopped) return;
    this.#udp.act((device, now) => device.subscribe({ by: "name", topicName }, 2, now));
  }

  #on(event: DeviceEvent): void {
    if (event.event === "connected") this.connects++;
    if (event.event === "connected") this.#subscribe();
    // 'congestion', as while a gateway has no connection to its broker.
    if (event.event === "failed" && event.request.kind === "subscribe" && event.returnCode !== undefined)
      setTimeout(() => this.connected && this.#subscribe(), 50);
    if (event.event === "subscribed") this.#subscribed = true;
    if (event.event === "message") this.received.push(Buffer.from(event.payload).toString());
    if (event.event === "published") {
      const done = this.#pending.get(event.ref);
      if (done) this.acknowledged.set(done.payload, done.qos);
    }
    if (event.event === "failed" && event.request.kind === "publish" && event.returnCode !== undefined) this.refused++;
    const again = event.event === "disconnected" || (event.event === "failed" && event.request.kind === "connect");
    if (again) this.ends.push(JSON.stringify(event));
    if (again) setTimeout(() => !this.connected && this.#udp.device.idle && this.#connect(), 50);
  }
}
