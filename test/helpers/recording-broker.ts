/**
 * The simulation's broker on a real TCP port, MQTT 3.1.1 and 5 (with three topic aliases): it saves before it acknowledges, keeps packet ids over
 * connections, sends again with DUP, and can cut a connection at any packet. What it saved is the judge's record.
 */
import { createServer, type Server, type Socket } from "node:net";
import { generate, type IPublishPacket, type Packet, parser } from "mqtt-packet";
import type { LinkRequest } from "../../src/core/effect.ts";
import { linkIdOf } from "../../src/core/link-id.ts";
import type { Publication, QoS } from "../../src/core/types.ts";
import type { UpstreamEvents } from "../../src/upstream/link.ts";
import { type BrokerFaults, type Connection, SimBroker } from "../simulation/broker.ts";
import { Rng } from "../simulation/rng.ts";

const topicAliasMaximum = 3;

export class RecordingBroker {
  readonly #server: Server;
  readonly broker: SimBroker;
  readonly faults: BrokerFaults = { cut: 0, away: false, forgets: 0 };
  /** How often each payload was saved. */
  readonly saved = new Map<string, number>();
  /** The topic under which each payload was saved. */
  readonly topics = new Map<string, string>();
  /** Publications with a topic alias that was not announced on their connection. */
  aliasesUnknown = 0;
  /** Publications with an alias in place of their topic name. */
  aliasesUsed = 0;
  /** Every packet that came in, by client id, and when. */
  readonly packets: { readonly clientId: string; readonly packet: Packet; readonly at: number }[] = [];
  readonly wills: string[] = [];
  /** Payloads that the gateway acknowledged here. */
  readonly taken = new Set<string>();
  cuts = 0;
  /** Connections that it closed in order, for a packet that it does not take (`faults.closesFor`). */
  closes = 0;
  readonly #sockets = new Set<Socket>();

  private constructor(seed: number) {
    const plans = {
      now: () => performance.now(),
      plan: (inMs: number, what: () => void) => void setTimeout(what, inMs),
    };
    this.broker = new SimBroker(plans, new Rng(seed), this.faults, {
      accepted: (publication) => {
        const payload = Buffer.from(publication.payload).toString();
        this.saved.set(payload, (this.saved.get(payload) ?? 0) + 1);
        this.topics.set(payload, publication.topicName);
      },
      routed: () => {},
      acknowledged: (_clientId, { payload }) => this.taken.add(Buffer.from(payload).toString()),
      willFired: (clientId) => this.wills.push(clientId),
      forgot: () => {},
    });
    this.broker.latencyMs = 1;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(seed = 1): Promise<RecordingBroker> {
    const broker = new RecordingBroker(seed);
    await new Promise<void>((done) => broker.#server.listen(0, "127.0.0.1", done));
    return broker;
  }

  get url(): string {
    const address = this.#server.address();
    return `mqtt://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  }

  /** That are open just now. */
  get connections(): number {
    return [...this.#sockets].filter(({ destroyed }) => !destroyed).length;
  }

  /** The packets of this client from a little before this payload first came until a little after it came last. */
  around(clientId: string, payload: string): readonly string[] {
    const lines = this.packets.flatMap(({ clientId: from, packet, at }) => {
      if (from !== clientId) return [];
      const { cmd } = packet;
      const what =
        cmd === "publish" ? ` ${packet.topic} ${packet.payload} QoS ${packet.qos}${packet.dup ? " DUP" : ""}` : "";
      const clean = cmd === "connect" ? ` clean ${packet.clean}` : "";
      return [`${Math.round(at)} ${cmd} ${packet.messageId ?? ""}${what}${clean}`];
    });
    const has = (line: string) => line.includes(` ${payload} `);
    return lines.slice(Math.max(0, lines.findIndex(has) - 15), lines.findLastIndex(has) + 15);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let connection: Connection | undefined;
    let protocolVersion = 4;
    let orderly = false;
    const names = new Map<number, string>();
    const write = (packet: Packet) => {
      if (socket.writable) socket.write(generate(packet, { protocolVersion }));
    };
    const events: UpstreamEvents = {
      up: (_link, sessionPresent) =>
        write({
          cmd: "connack",
          sessionPresent,
          ...(protocolVersion === 5 ? { reasonCode: 0, properties: { topicAliasMaximum } } : { returnCode: 0 }),
        }),
      refused: () => {},
      down: (_link, { cause }) => {
        if (cause === "peer") {
          this.closes++;
          socket.end();
          return;
        }
        this.cuts++;
        socket.resetAndDestroy();
      },
      pong: () => write({ cmd: "pingresp" }),
      congested: () => {},
      delivered: (_link, { publication, packetId, dup }) => write(publishPacket(publication, packetId, dup)),
      released: (_link, messageId) => write({ cmd: "pubrel", messageId }),
      acked: (_link, ack, messageId, code) => {
        if (ack === "suback") write({ cmd: "suback", messageId, granted: [code] });
        else if (ack === "unsuback") write({ cmd: "unsuback", messageId, granted: protocolVersion === 5 ? [0] : [] });
        else write({ cmd: ack, messageId });
      },
    };
    const input = parser();
    input.on("packet", (packet: Packet) => {
      if (packet.cmd === "connect") {
        this.packets.push({ clientId: packet.clientId, packet, at: performance.now() });
        protocolVersion = packet.protocolVersion ?? 4;
        // After the packets of earlier connections: their DISCONNECT must not be overtaken.
        setTimeout(() => {
          connection = this.broker.connect(linkRequestOf(packet), events);
          if (!connection) socket.destroy();
          // MQTT 5: not the flag but the expiry says whether the session outlives the connection.
          else if (protocolVersion === 5) connection.state.clean = !packet.properties?.sessionExpiryInterval;
        }, this.broker.latencyMs);
        return;
      }
      if (!connection) return;
      this.packets.push({ clientId: connection.request.mqttClientId, packet, at: performance.now() });
      if (packet.cmd === "disconnect") orderly = true;
      if (packet.cmd === "publish") this.#resolve(packet, names);
      const from = connection;
      this.broker.fromGateway(from, () => this.#process(from, packet));
    });
    socket.on("data", (data) => input.parse(data));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#sockets.delete(socket);
      if (connection && !orderly && connection.alive) this.broker.onClose(connection, "abandon", false);
    });
  }

  /** What the connection has called by an alias has its name again. */
  #resolve(packet: IPublishPacket, names: Map<number, string>): void {
    const alias = packet.properties?.topicAlias;
    if (alias === undefined) return;
    if (packet.topic !== "") {
      names.set(alias, packet.topic);
      return;
    }
    this.aliasesUsed++;
    const name = alias > topicAliasMaximum ? undefined : names.get(alias);
    if (name === undefined) this.aliasesUnknown++;
    else packet.topic = name;
  }

  #process(connection: Connection, packet: Packet): void {
    switch (packet.cmd) {
      case "publish": {
        const { topic, payload, qos, retain, messageId } = packet;
        const publication: Publication = { topicName: topic, payload: Buffer.from(payload), qos, retain };
        return this.broker.onPublish(connection, publication, messageId ?? 0);
      }
      case "pubrel":
        return this.broker.onRelease(connection, packet.messageId ?? 0);
      case "puback":
      case "pubrec":
      case "pubcomp":
        return this.broker.onAck(connection, packet.cmd, packet.messageId ?? 0);
      case "subscribe":
        for (const { topic, qos } of packet.subscriptions)
          this.broker.onSubscribe(connection, packet.messageId ?? 0, topic, qos);
        return;
      case "unsubscribe":
        for (const topic of packet.unsubscriptions) this.broker.onUnsubscribe(connection, packet.messageId ?? 0, topic);
        return;
      case "pingreq":
        return this.broker.onPing(connection);
      case "disconnect":
        return this.broker.onClose(connection, "disconnect", false);
      default:
        return;
    }
  }
}

function linkRequestOf(packet: Extract<Packet, { cmd: "connect" }>): LinkRequest {
  const { clientId, clean = true, will } = packet;
  return {
    linkId: linkIdOf(clientId, 1),
    upstream: "",
    mqttClientId: clientId,
    identity: clientId,
    clean,
    will: will && {
      topicName: will.topic,
      payload: Buffer.from(will.payload as Buffer),
      qos: (will.qos ?? 0) as QoS,
      retain: will.retain ?? false,
    },
  };
}

function publishPacket(publication: Publication, packetId: number, dup: boolean): Packet {
  const { topicName: topic, payload, qos, retain } = publication;
  return {
    cmd: "publish",
    topic,
    payload: Buffer.from(payload),
    qos,
    retain,
    dup,
    ...(packetId > 0 && { messageId: packetId }),
  } as Packet;
}
