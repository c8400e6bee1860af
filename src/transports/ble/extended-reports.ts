/**
 * Joins reports of extended advertising that come in pieces, before noble gets them: an event of a controller has at most 229 octets of
 * data, and noble treats each piece as a separate advertisement. [Bluetooth Core 5.4, 4.E.7.7.65.13]
 */
const event = 0x04;
const leEvent = 0x3e;
const extendedReport = 0x0d;
const headBytes = 24;
/** The most that noble can count. A chain may have 1,650 octets; longer ones are not passed on. */
const dataBytesMax = 255;
/** Advertisers whose fragments are kept at the same time. Beyond, those of the oldest one are dropped. */
const partsMax = 32;
const statuses = { complete: 0, more: 1 } as const;

interface Report {
  readonly head: Buffer;
  readonly data: Buffer;
  readonly status: number;
  /** Kind of address, address and number of the advertising set. */
  readonly from: string;
}

export class ExtendedReports {
  readonly #parts = new Map<string, Buffer>();

  /** Converts a packet of the controller to the packets for noble: the same packet, whole reports instead of it, or none yet. */
  take(packet: Buffer): readonly Buffer[] {
    if (packet[0] !== event || packet[1] !== leEvent || packet[3] !== extendedReport) return [packet];
    const reports = read(packet);
    if (!reports || reports.length === 0) return []; // cut off: noble would read beyond its end
    const areWhole = reports.every(({ status, from }) => status === statuses.complete && !this.#parts.has(from));
    return areWhole ? [packet] : reports.flatMap((report) => this.#assemble(report));
  }

  #assemble({ head, data, status, from }: Report): readonly Buffer[] {
    const before = this.#parts.get(from);
    this.#parts.delete(from);
    const whole = before ? Buffer.concat([before, data]) : data;
    if (whole.length > dataBytesMax) return [];
    if (status === statuses.complete) return [packetOf(head, whole)];
    if (status !== statuses.more) return []; // truncated: no further fragments will follow
    this.#parts.set(from, whole);
    if (this.#parts.size > partsMax) {
      const oldest = this.#parts.keys().next();
      if (!oldest.done) this.#parts.delete(oldest.value);
    }
    return [];
  }
}

/** Undefined: the lengths do not fit. */
function read(packet: Buffer): readonly Report[] | undefined {
  const reports: Report[] = [];
  let at = 5;
  for (let left = packet[4] ?? 0; left > 0; left--) {
    if (at + headBytes > packet.length) return undefined;
    const head = packet.subarray(at, at + headBytes);
    const end = at + headBytes + head.readUInt8(headBytes - 1);
    if (end > packet.length) return undefined;
    const from = `${head.subarray(2, 9).toString("hex")} ${head[11]}`;
    const status = (head.readUInt16LE(0) >> 5) % 4;
    reports.push({ head, data: packet.subarray(at + headBytes, end), status, from });
    at = end;
  }
  return reports;
}

/** One report. Its length may be more than an event can state; noble does not read that field. */
function packetOf(head: Buffer, data: Buffer): Buffer {
  const packet = Buffer.concat([Buffer.of(event, leEvent, 0, extendedReport, 1), head, data]);
  packet[2] = Math.min(0xff, packet.length - 3);
  packet.writeUInt16LE(packet.readUInt16LE(5) & ~0x60, 5);
  packet[5 + headBytes - 1] = data.length;
  return packet;
}
