/** A broker over TCP that does what a test says: it accepts CONNECT, answers pings, and leaves the rest to the test. */
import { createServer, type Server, type Socket } from "node:net";
import { generate, type Packet, parser } from "mqtt-packet";

export interface Visit {
  readonly socket: Socket;
  readonly packets: Packet[];
  say(packet: Packet): void;
}

export interface ScriptedBrokerOptions {
  /** What is sent for a packet; absent: CONNACK for CONNECT and PINGRESP for PINGREQ. An empty list: nothing. */
  readonly answer?: (packet: Packet, visit: Visit) => readonly Packet[] | undefined;
  readonly port?: number;
}

export class ScriptedBroker {
  readonly #server: Server;
  /** Connections, in the order in which they came. */
  readonly visits: Visit[] = [];

  private constructor(options: ScriptedBrokerOptions) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.visits.push(serve(socket, options.answer));
    });
  }

  static async start(options: ScriptedBrokerOptions = {}): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker(options);
    await new Promise<void>((done, fail) => {
      broker.#server.once("error", fail);
      broker.#server.listen(options.port ?? 0, "127.0.0.1", done);
    });
    return broker;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address ? address.port : 0;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  /** The connection that came last. */
  get last(): Visit {
    const visit = this.visits.at(-1);
    if (!visit) throw new Error("nobody has connected");
    return visit;
  }

  async close(): Promise<void> {
    for (const { socket } of this.visits) socket.destroy();
    await new Promise<void>((done) => this.#server.close(() => done()));
  }
}

/** Speaks MQTT over any stream of octets. */
export function serve(socket: Socket, answer: ScriptedBrokerOptions["answer"] = () => undefined): Visit {
  let protocolVersion = 4;
  const input = parser();
  const packets: Packet[] = [];
  const visit: Visit = {
    socket,
    packets,
    say: (packet) => {
      if (socket.writable) socket.write(generate(packet, { protocolVersion }));
    },
  };
  input.on("packet", (packet: Packet) => {
    if (packet.cmd === "connect") protocolVersion = packet.protocolVersion ?? 4;
    packets.push(packet);
    for (const each of answer(packet, visit) ?? usual(packet, protocolVersion)) visit.say(each);
  });
  input.on("error", () => socket.destroy());
  socket.on("data", (chunk) => input.parse(chunk));
  socket.on("end", () => socket.end());
  socket.on("error", () => {});
  return visit;
}

function usual({ cmd }: Packet, protocolVersion: number): readonly Packet[] {
  if (cmd === "pingreq") return [{ cmd: "pingresp" }];
  return cmd === "connect" ? [connAck(protocolVersion)] : [];
}

export function connAck(protocolVersion: number, properties: object = {}): Packet {
  return {
    cmd: "connack",
    sessionPresent: false,
    ...(protocolVersion === 5 ? { reasonCode: 0, properties } : { returnCode: 0 }),
  } as Packet;
}
