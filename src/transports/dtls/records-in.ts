/** What a front must know of a datagram of DTLS to find the gateway for it. Nothing is decrypted. */
import { messageTypes } from "../../secure/handshake-messages.ts";
import { randomOctets } from "../../secure/key-schedule.ts";
import { contentTypes, readRecord } from "../../secure/record.ts";

export interface RecordsIn {
  /** A record of a handshake, not encrypted. */
  readonly hasHandshake: boolean;
  /** An encrypted record. */
  readonly hasSealed: boolean;
  /** The connection id of the first record that has one. */
  readonly cid: Uint8Array | undefined;
  /** The random octets of the ClientHello at the beginning of the datagram. */
  readonly helloRandom: Uint8Array | undefined;
}

const messageHeadOctets = 12;
const versionOctets = 2;

/** `cidOctets`: the length of the gateway's connection ids. The octets of a damaged end are ignored. */
export function recordsIn(bytes: Uint8Array, cidOctets: number): RecordsIn {
  let hasHandshake = false;
  let hasSealed = false;
  let cid: Uint8Array | undefined;
  let helloRandom: Uint8Array | undefined;
  for (let at = 0; at < bytes.length; ) {
    const record = readRecord(bytes, at, cidOctets);
    if (!record) break;
    if (record.epoch > 0 || record.cid) {
      hasSealed = true;
      cid ??= record.cid;
    } else if (record.type === contentTypes.handshake) {
      hasHandshake = true;
      if (at === 0) helloRandom = randomIn(record.body);
    }
    at = record.end;
  }
  return { hasHandshake, hasSealed, cid, helloRandom };
}

/** False: the first octet of a datagram shows that it is not DTLS. */
export function isRecordType(type: number | undefined): boolean {
  return type !== undefined && type >= contentTypes.changeCipherSpec && type <= contentTypes.cid;
}

/** The connection id of the first record; undefined: it has none. The most frequent case, at the least cost. */
export function firstCid(bytes: Uint8Array, cidOctets: number): Uint8Array | undefined {
  return bytes[0] === contentTypes.cid && bytes.length >= 11 + cidOctets
    ? bytes.subarray(11, 11 + cidOctets)
    : undefined;
}

function randomIn(message: Uint8Array): Uint8Array | undefined {
  const at = messageHeadOctets + versionOctets;
  const isHello = message[0] === messageTypes.clientHello && message.length >= at + randomOctets;
  return isHello ? message.subarray(at, at + randomOctets) : undefined;
}
