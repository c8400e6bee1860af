/**
 * Ports for programs that are started, killed and started again. They are below those that the kernel assigns by itself, so that no socket
 * of another suite takes one while the program does not run.
 */
import { createSocket } from "node:dgram";
import { connect as connectTcp, createServer } from "node:net";

const lowest = 10_000;
/** Linux hands out 32768 and above. */
const beyond = 32_000;
const triesMax = 100;

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

/** Ports that differ, free for TCP and UDP on the loopback just now. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let tries = 0; ports.size < count; tries++) {
    if (tries >= count + triesMax) throw new Error("no free port found");
    const port = lowest + Math.floor(Math.random() * (beyond - lowest));
    if (!ports.has(port) && (await isFree(port))) ports.add(port);
  }
  return [...ports];
}

/** Whether a program accepts TCP connections at this port of the loopback. */
export function answers(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connectTcp({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const socket = createSocket("udp4");
  try {
    await new Promise<void>((done, fail) => server.once("error", fail).listen(port, "127.0.0.1", done));
    await new Promise<void>((done, fail) => socket.once("error", fail).bind(port, "127.0.0.1", done));
    return true;
  } catch {
    return false;
  } finally {
    await new Promise<unknown>((done) => server.close(done)); // the callback gets an error if it was never open
    await new Promise<void>((done) => socket.close(done));
  }
}
