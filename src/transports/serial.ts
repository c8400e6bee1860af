/**
 * MQTT-SN over serial lines: messages one after the other, as over Bluetooth LE (docs/guide/ble-profile.md, "Framing").
 * A line is one peer; a radio module may encapsulate the messages of many nodes behind it. [MQTT-SN 1.2 §5.5]
 *
 * If a line cannot be opened, is unplugged, or its package is missing, this is reported once, and the line is tried
 * again without end.
 */
import { createRequire } from "node:module";
import type { Instant, PeerId, PeerIdentity } from "../core/types.ts";
import { GatewayError } from "../errors.ts";
import { Reassembler } from "./framing.ts";
import type { SerialOptions } from "./serial-options.ts";
import { StallWatch, stallCheckMs } from "./stall-watch.ts";
import { systemTimers, type Timers } from "./timers.ts";
import type { LinkReport, Transport, TransportEvents, TransportStats } from "./transport.ts";

const firstPauseMs = 1_000;
const longestPauseMs = 30_000;
/** The most octets that a forwarder puts before a message. [§5.5] */
const encapsulationBytesMax = 255;

/** An open line. */
export interface OpenLine {
  write(bytes: Uint8Array): void;
  /** Octets that were written and not yet sent. */
  readonly waitingBytes: number;
  close(): Promise<void>;
}

export interface LineEvents {
  data(chunk: Uint8Array): void;
  /** The line has ended. Called once; nothing follows. */
  gone(why: string): void;
}

/** Opens a line; rejects with the system's error, or the loader's where the package is missing. */
export type LineOpener = (path: string, options: SerialOptions, events: LineEvents) => Promise<OpenLine>;

/** One configured port: open, or waiting for the next attempt. */
interface Line {
  readonly path: string;
  port: OpenLine | undefined;
  opening: Promise<void> | undefined;
  stopWaiting: (() => void) | undefined;
  pauseMs: number;
  reassembler: Reassembler;
  /** Ends the watch for the rest of a message, if there is one. */
  stopWatching: (() => void) | undefined;
  lastHeard: number | undefined;
  failures: number;
  /** The last condition that was reported to the operator; "" = the line works. */
  said: string | undefined;
}

export class SerialTransport implements Transport {
  readonly name: string;
  readonly warnings: readonly string[] = [];
  readonly #options: SerialOptions;
  readonly #timers: Timers;
  readonly #open: LineOpener;
  readonly #lines: ReadonlyMap<string, Line>;
  readonly #stats = { datagramsIn: 0, datagramsOut: 0, bytesIn: 0, bytesOut: 0, sendErrors: 0 };
  readonly #counters = { opened: 0, lost: 0, noiseBytes: 0 };
  readonly #stalls: StallWatch;
  #events: TransportEvents | undefined;
  #closed = false;

  constructor(options: SerialOptions, timers: Timers = systemTimers, open: LineOpener = openSerialPort) {
    this.name = options.name;
    this.#options = options;
    this.#timers = timers;
    this.#stalls = new StallWatch(timers.now());
    this.#open = open;
    this.#lines = new Map(
      options.ports.map((path) => [
        path,
        {
          path,
          port: undefined,
          opening: undefined,
          stopWaiting: undefined,
          pauseMs: firstPauseMs,
          reassembler: this.#reassembler(),
          stopWatching: undefined,
          lastHeard: undefined,
          failures: 0,
          said: undefined,
        },
      ]),
    );
  }

  get place(): string {
    return `${this.#options.ports.join(", ")} at ${this.#options.baudRate} baud`;
  }

  maxMessageBytes(_peer: PeerId): number {
    return this.#options.maxMessageBytes;
  }

  hostOf(peer: PeerId): string {
    return this.#lineOf(peer)?.path ?? peer;
  }

  identityOf(peer: PeerId): PeerIdentity {
    return { name: this.hostOf(peer), by: "address", verified: false };
  }

  /** Never fails: a line may be plugged in later. */
  async start(events: TransportEvents): Promise<void> {
    this.#events = events;
    for (const line of this.#lines.values()) this.#tryOpening(line);
  }

  send(to: PeerId, bytes: Uint8Array): void {
    const port = this.#lineOf(to)?.port;
    if (port) this.#write(port, bytes);
    else this.#stats.sendErrors++;
  }

  /** Sends to the whole line. The module behind it interprets the radius. */
  broadcast(bytes: Uint8Array, _radius: number): void {
    for (const { port } of this.#lines.values()) if (port) this.#write(port, bytes);
  }

  stats(): TransportStats {
    return { ...this.#stats };
  }

  links(): LinkReport {
    const lines = [...this.#lines.values()];
    const closed = lines.filter(({ port }) => !port);
    const now = this.#timers.now();
    return {
      up: closed.length === 0,
      condition: closed.length === 0 ? this.place : closed.map(({ said, path }) => said || `${path} opens`).join("; "),
      counters: {
        ...this.#counters,
        noiseBytes: lines.reduce((sum, line) => sum + line.reassembler.discardedBytes, this.#counters.noiseBytes),
      },
      devices: lines.map(({ path, port, lastHeard, failures, said }) => ({
        peer: this.#peerOf(path),
        name: path,
        linked: port !== undefined,
        rssi: undefined,
        secondsSinceSeen: lastHeard === undefined ? 0 : Math.max(0, (now - lastHeard) / 1_000),
        failures,
        lastFailure: said ?? "",
      })),
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const line of this.#lines.values()) {
      line.stopWaiting?.();
      this.#stopWatching(line);
      await line.opening; // the attempt closes a port that it has opened
      const { port } = line;
      line.port = undefined;
      await port?.close();
    }
  }

  #tryOpening(line: Line): void {
    line.opening = this.#openLine(line).finally(() => {
      line.opening = undefined;
    });
  }

  async #openLine(line: Line): Promise<void> {
    let gone: string | undefined;
    let port: OpenLine;
    try {
      port = await this.#open(line.path, this.#options, {
        data: (chunk) => this.#onData(line, chunk),
        gone: (why) => {
          gone = why;
          if (line.port) this.#onGone(line, why);
        },
      });
    } catch (error) {
      if (!this.#closed) this.#tryAgain(line, adviceFor(error, line.path));
      return;
    }
    if (this.#closed) return port.close();
    if (gone !== undefined) return this.#tryAgain(line, gone);
    this.#counters.opened++;
    line.port = port;
    line.failures = 0;
    line.pauseMs = firstPauseMs;
    if (line.said) this.#events?.notice("info", `${this.name}: ${line.path} works again`);
    line.said = "";
  }

  #onData(line: Line, chunk: Uint8Array): void {
    if (this.#closed) return;
    const now = this.#timers.now();
    line.lastHeard = now;
    this.#noteStall(now);
    for (const message of line.reassembler.take(chunk, now)) {
      this.#stats.datagramsIn++;
      this.#stats.bytesIn += message.byteLength;
      this.#events?.datagram(this.#peerOf(line.path), message);
    }
    const isPart = line.reassembler.pendingBytes > 0;
    if (isPart) line.stopWatching ??= this.#timers.every(stallCheckMs, () => this.#noteStall(this.#timers.now()));
    else this.#stopWatching(line);
  }

  /**
   * A silence in the middle of a message ends this message, unless this process stood still: then the kernel has kept
   * the rest. (It keeps 4,095 octets, and the driver some 64 KB more.)
   */
  #noteStall(now: Instant): void {
    if (this.#stalls.note(now) === 0) return;
    for (const { reassembler, stopWatching } of this.#lines.values()) if (stopWatching) reassembler.excuse(now);
  }

  #stopWatching(line: Line): void {
    line.stopWatching?.();
    line.stopWatching = undefined;
  }

  #onGone(line: Line, why: string): void {
    line.port = undefined;
    this.#stopWatching(line);
    this.#counters.lost++;
    this.#counters.noiseBytes += line.reassembler.discardedBytes + line.reassembler.pendingBytes;
    line.reassembler = this.#reassembler();
    if (this.#closed) return;
    this.#events?.peerGone(this.#peerOf(line.path), why);
    this.#tryAgain(line, why);
  }

  /** Logged if the cause is new, so a line that is unplugged for a month is logged once. */
  #tryAgain(line: Line, why: string): void {
    line.failures++;
    const say = `${line.path}: ${why}`;
    if (say !== line.said) {
      line.said = say;
      const details = { transport: this.name, port: line.path };
      this.#events?.failed(
        new GatewayError("ERR_TRANSPORT_FAILED", details, { say: `${this.name}: ${say}. The gateway tries again` }),
      );
    }
    line.stopWaiting = this.#timers.after(line.pauseMs, () => this.#tryOpening(line));
    line.pauseMs = Math.min(line.pauseMs * 2, longestPauseMs);
  }

  #write(port: OpenLine, bytes: Uint8Array): void {
    if (port.waitingBytes + bytes.byteLength > this.#options.sendBufferBytesMax) {
      this.#stats.sendErrors++;
      return;
    }
    port.write(bytes);
    this.#stats.datagramsOut++;
    this.#stats.bytesOut += bytes.byteLength;
  }

  #reassembler(): Reassembler {
    const { maxMessageBytes, resyncSeconds } = this.#options;
    return new Reassembler({
      maxMessageBytes: encapsulationBytesMax + maxMessageBytes,
      resyncMs: resyncSeconds * 1_000,
    });
  }

  #peerOf(path: string): PeerId {
    return `${this.name}/${path}`;
  }

  #lineOf(peer: PeerId): Line | undefined {
    return this.#closed ? undefined : this.#lines.get(peer.slice(this.name.length + 1));
  }
}

/** The part of the package that the gateway uses. The package's own types exist only where it is installed. */
interface SerialPort {
  open(done: (error: Error | null) => void): void;
  close(done: (error?: Error | null) => void): void;
  write(bytes: Uint8Array): boolean;
  on(event: "data", listener: (chunk: Uint8Array) => void): unknown;
  on(event: "close" | "error", listener: (error?: Error | null) => void): unknown;
  readonly writableLength: number;
  readonly isOpen: boolean;
}
interface SerialPortPackage {
  readonly SerialPort: new (options: Record<string, unknown>) => SerialPort;
}

// `require` and not `import()`: after a failed `import()` Node does not look again, but the package may be installed
// meanwhile.
const load = createRequire(import.meta.url);

const openSerialPort: LineOpener = async (path, options, events) => {
  const { SerialPort } = load("serialport") as SerialPortPackage;
  const { baudRate, parity, flowControl: rtscts } = options;
  const port = new SerialPort({ path, baudRate, parity, rtscts, autoOpen: false });
  let over = false;
  const end = (why: string) => {
    if (over) return;
    over = true;
    events.gone(why);
    if (port.isOpen) port.close(() => {});
  };
  port.on("data", (chunk) => events.data(chunk));
  port.on("error", (error) => end(error?.message ?? "it failed"));
  port.on("close", () => end("it was unplugged"));
  await new Promise<void>((done, fail) => port.open((error) => (error ? fail(error) : done())));
  return {
    get waitingBytes() {
      return port.writableLength;
    },
    write: (bytes) => void port.write(bytes),
    close: async () => {
      over = true;
      if (port.isOpen) await new Promise<void>((done) => port.close(() => done()));
    },
  };
};

/** Why a line cannot be opened, and what to type. The package's errors are sentences that quote the system's error. */
export function adviceFor(error: unknown, path: string): string {
  const text = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "MODULE_NOT_FOUND" && /serialport/.test(text)) {
    return "the package serialport is not installed; type: npm install serialport";
  }
  if (/No native build was found|NODE_MODULE_VERSION/.test(text)) {
    return "the package serialport has no native part for this system; type: npm rebuild serialport --foreground-scripts";
  }
  if (/No such file or directory|ENOENT/.test(text))
    return "there is no such device; is it plugged in? ls /dev/serial/by-id";
  if (/Permission denied|EACCES/.test(text)) {
    return `no right to open it; type: sudo usermod -a -G dialout "$(id -un)", or give the service SupplementaryGroups=dialout`;
  }
  if (/Cannot lock port|resource busy|EBUSY/i.test(text)) return `another program has it; type: sudo fuser -v ${path}`;
  return text;
}
