/**
 * A broker for the first try, inside the gateway. It stores nothing, needs no password, and only programs on this host can reach it. If a
 * broker already listens on the port, that one is used.
 */
import { connect as connectTcp, createServer, type Server } from "node:net";
import { GatewayError } from "./errors.ts";

export type TryOutBroker =
  /** The gateway started its own broker. */
  | { readonly kind: "started"; close(): Promise<void> }
  /** Another program's broker was there already. */
  | { readonly kind: "found" };

/** @throws {GatewayError} ERR_TRYOUT_BROKER when something that is no broker holds the port. */
export async function startTryOutBroker(at: { host: string; port: number }): Promise<TryOutBroker> {
  const found = await probe(at);
  if (found === "broker") return { kind: "found" };
  if (found === "something") {
    const say = `${at.host}:${at.port} is taken by a program that is no MQTT broker; change the port in upstream.url`;
    throw new GatewayError("ERR_TRYOUT_BROKER", at, { say });
  }
  const { Aedes } = await import("aedes");
  const broker = await Aedes.createBroker();
  const server = createServer(broker.handle);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(
        new GatewayError("ERR_TRYOUT_BROKER", at, {
          cause,
          say: `the try-out broker cannot listen on ${at.host}:${at.port}: ${cause.message}`,
        }),
      ),
    );
    server.listen(at.port, at.host, resolve);
  });
  return {
    kind: "started",
    close: () => closeBoth(server, () => new Promise((resolve) => broker.close(() => resolve()))),
  };
}

async function closeBoth(server: Server, closeBroker: () => Promise<void>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  await closeBroker();
  await closed;
}

/** MQTT 3.1.1 CONNECT, clean, no client id. */
const connectPacket = Buffer.from("100c00044d5154540402003c0000", "hex");

/** Tells what listens at this address: a broker, something else, or nothing. */
function probe(at: { host: string; port: number }): Promise<"broker" | "something" | "nothing"> {
  return new Promise((resolve) => {
    const socket = connectTcp(at);
    let connected = false;
    const end = (what: "broker" | "something" | "nothing") => {
      socket.destroy();
      resolve(what);
    };
    socket.setTimeout(2_000, () => end(connected ? "something" : "nothing"));
    socket.on("connect", () => {
      connected = true;
      socket.write(connectPacket);
    });
    // Any CONNACK: a broker that demands a password is a broker too.
    socket.once("data", (data) => end((data[0] ?? 0) >> 4 === 2 ? "broker" : "something"));
    socket.on("error", () => end(connected ? "something" : "nothing"));
    socket.on("close", () => end(connected ? "something" : "nothing"));
  });
}
