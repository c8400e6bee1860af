/** `try-device`, for authors of firmware. A device connects to it as to a gateway, and the command reports its mistakes. */
import { createSocket, type RemoteInfo } from "node:dgram";
import { performance } from "node:perf_hooks";
import process from "node:process";
import { GatewayError } from "../../errors.ts";
import { decode } from "../../wire/v12/codec.ts";
import { oneLine } from "../one-line.ts";
import { err, out } from "../output.ts";
import { Examiner } from "./examiner.ts";
import type { Situation, Verdict } from "./situation.ts";
import { situations } from "./situations.ts";

export interface TryDeviceOptions {
  readonly host: string;
  readonly port: number;
  /** Names of situations; undefined: all. */
  readonly only?: readonly string[];
  /** Seconds after which the command ends in any case; undefined: it does not end by itself. */
  readonly timeout?: number;
  /** Writes every message in one line on standard error. */
  readonly debug?: boolean;
}

const exitCodes = { allRight: 0, wrong: 1, notAllPlayed: 2 } as const;

/** @throws {GatewayError} ERR_CONTROL when a name is unknown, ERR_TRANSPORT_OPEN when the port is taken. */
export async function tryDevice({ host, port, only, timeout, debug = false }: TryDeviceOptions): Promise<void> {
  const chosen = situations.filter(({ name }) => only === undefined || only.includes(name));
  const unknown = only?.find((name) => situations.every((each) => each.name !== name));
  if (unknown !== undefined) {
    const names = situations.map(({ name }) => name).join(", ");
    throw new GatewayError("ERR_CONTROL", {}, { say: `there is no situation "${unknown}"; there are ${names}` });
  }
  const examiner = new Examiner((situation, verdict) => out(`${verdictLine(situation, verdict)}\n`), chosen);
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  await new Promise<void>((resolve, reject) => {
    socket.once("error", (cause) => {
      const say = `cannot listen on ${host}:${port} (${cause.message}); perhaps a gateway runs there: choose another port with --port`;
      reject(new GatewayError("ERR_TRANSPORT_OPEN", { host, port }, { cause, say }));
    });
    socket.bind(port, host, resolve);
  });
  err(`waiting for a device on ${host}:${socket.address().port}; Ctrl-C ends it\n`);
  await new Promise<void>((resolve) => {
    const player = new Player(examiner, socket, debug, resolve);
    socket.on("message", (bytes, from) => player.hear(bytes, from));
    process.once("SIGINT", resolve).once("SIGTERM", resolve);
    if (timeout !== undefined) setTimeout(resolve, timeout * 1_000).unref();
  });
  socket.close();
  report(examiner);
}

/** A socket and a timer around the examiner, for one device: the first one that sends CONNECT. */
class Player {
  readonly #examiner: Examiner;
  readonly #socket: ReturnType<typeof createSocket>;
  readonly #debug: boolean;
  readonly #onDone: () => void;
  #clientId: string | undefined;
  #device: RemoteInfo | undefined;
  #timer: NodeJS.Timeout | undefined;
  #needs: string | undefined;

  constructor(examiner: Examiner, socket: ReturnType<typeof createSocket>, debug: boolean, onDone: () => void) {
    this.#examiner = examiner;
    this.#socket = socket;
    this.#debug = debug;
    this.#onDone = () => {
      clearTimeout(this.#timer);
      onDone();
    };
  }

  hear(bytes: Uint8Array, from: RemoteInfo): void {
    if (!this.#isDevice(bytes, from)) return;
    if (this.#debug) err(`> ${oneLine(bytes)}\n`);
    this.#examiner.receive(bytes, performance.now());
    this.#flush();
  }

  /** True if the datagram is from the device under test. After a restart, a device may send from another port. */
  #isDevice(bytes: Uint8Array, from: RemoteInfo): boolean {
    const decoded = decode(bytes);
    const isConnect = decoded.ok && decoded.message.type === "CONNECT";
    const clientId = isConnect ? String(decoded.message.clientId) : undefined;
    if (clientId !== undefined && (this.#clientId === undefined || this.#clientId === clientId)) {
      if (this.#clientId === undefined) err(`client "${clientId}" at ${from.address}:${from.port}\n`);
      this.#clientId = clientId;
      this.#device = from;
    }
    const { address, port } = this.#device ?? from;
    return address === from.address && port === from.port && (this.#device !== undefined || decoded.ok);
  }

  #flush(): void {
    for (const bytes of this.#examiner.take()) {
      if (this.#debug) err(`< ${oneLine(bytes)}\n`);
      if (this.#device) this.#socket.send(bytes, this.#device.port, this.#device.address, () => {});
    }
    clearTimeout(this.#timer);
    if (this.#examiner.isDone) return this.#onDone();
    const { needs } = this.#examiner;
    if (needs !== undefined && needs !== this.#needs) err(`next: the device must send ${needs}\n`);
    this.#needs = needs ?? this.#needs;
    const at = this.#examiner.nextDeadline();
    if (at === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#examiner.timeout(performance.now());
        this.#flush();
      },
      Math.max(1, at - performance.now()),
    );
  }
}

function verdictLine({ name, title }: Situation, verdict: Verdict): string {
  if (verdict.is === "ok") return `ok     ${name}: ${title}`;
  return `WRONG  ${name}: ${title}\n       the device ${verdict.say} [MQTT-SN 1.2 §${verdict.clause}]`;
}

function report(examiner: Examiner): void {
  const { results, unreadable } = examiner;
  const notPlayed = results.filter(({ verdict }) => verdict === undefined);
  const wrong = results.filter(({ verdict }) => verdict?.is === "wrong");
  for (const { situation } of notPlayed)
    out(`-      ${situation.name}: not played to its end; it begins when the device sends ${situation.needs}\n`);
  for (const what of new Set(unreadable)) out(`WRONG  not a message (${what}) [MQTT-SN 1.2 §5.2]\n`);
  const all = results.length;
  out(
    `${all - notPlayed.length - wrong.length} of ${all} right, ${wrong.length} wrong, ${notPlayed.length} not played\n`,
  );
  if (wrong.length > 0 || unreadable.length > 0) process.exitCode = exitCodes.wrong;
  else process.exitCode = notPlayed.length > 0 ? exitCodes.notAllPlayed : exitCodes.allRight;
}
