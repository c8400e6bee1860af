/** Packets and connections of an emulated controller, as a peripheral needs them. [Bluetooth Core 5.4, 4.E] */
import { Socket } from "node:net";

/** As the controller counts: intervals in 1.25 ms, time-outs in 10 ms. */
export interface RawParameters {
  readonly interval: number;
  readonly latency: number;
  readonly timeout: number;
}

export const opcodes = {
  setEventMask: 0x0c01,
  reset: 0x0c03,
  readAddress: 0x1009,
  disconnect: 0x0406,
  setLeEventMask: 0x2001,
  setRandomAddress: 0x2005,
  setAdvertising: 0x2006,
  setAdvertisingData: 0x2008,
  setScanResponse: 0x2009,
  enableAdvertising: 0x200a,
  setExtendedAddress: 0x2035,
  setExtendedAdvertising: 0x2036,
  setExtendedData: 0x2037,
  enableExtended: 0x2039,
  updateConnection: 0x2013,
  acceptParameters: 0x2020,
  keyForGateway: 0x201a,
  noKeyForGateway: 0x201b,
} as const;

export const littleEndian = (hex: string) => Buffer.from(hex.replaceAll(/[:-]/g, ""), "hex").reverse();
/** One element of advertising data. */
export const element = (type: number, data: Uint8Array) => Buffer.concat([Buffer.from([data.length + 1, type]), data]);

/** btvirt accepts five at a time; the rest has to ask again. */
export async function connected(path: string): Promise<Socket> {
  for (let tries = 0; ; tries++) {
    const socket = new Socket();
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("error", reject);
        socket.connect(path, () => {
          socket.removeListener("error", reject);
          resolve();
        });
      });
      return socket;
    } catch (error) {
      if (tries > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

export function padded(data: Buffer): Buffer {
  const parameter = Buffer.alloc(32);
  parameter[0] = data.length;
  data.copy(parameter, 1);
  return parameter;
}

export function parametersAt(data: Buffer, at: number): RawParameters {
  return { interval: data.readUInt16LE(at), latency: data.readUInt16LE(at + 2), timeout: data.readUInt16LE(at + 4) };
}

export function hexOctet(octet: number): string {
  return octet.toString(16).padStart(2, "0");
}
