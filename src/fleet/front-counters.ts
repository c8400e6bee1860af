/** Counters of a front. */

/**
 * Why a front drops a datagram, for people. A device repeats a message without an answer, so a drop only costs time.
 */
export const frontDropReasons = {
  "no-owner":
    "No gateway owns the client's shard at this moment: its owner has ended, or the shard is being handed over.",
  "not-owner":
    "Another gateway passed the datagram on, and this one does not own the shard any more. A datagram is not passed on twice.",
  "no-context":
    "A datagram is encrypted, but no gateway has a DTLS context for its connection id or address. A device that gets no answer makes a new handshake.",
  "not-serving": "This gateway owns the shard, but does not accept datagrams for it yet, or any more.",
  "no-shard-here": "SEARCHGW arrived, and this gateway owns no shard yet.",
  "look-up-full": "Too many datagrams, or too many octets, wait for a look-up in the address book.",
  "look-up-failed": "The address book could not be read: the Redis server cannot be reached.",
  "look-up-late": "The address book did not answer in time.",
  "cannot-pass-on": "The datagram or its address is too long for a datagram between gateways.",
  "lease-over": "A gateway whose lease is over may not send.",
  "stood-still":
    "This gateway stood still for longer than the retry interval. Meanwhile an answer for a device waited here, and its owner has repeated it; or a datagram of a device for another gateway waited, and the device has repeated it.",
  stranger: "A datagram between gateways came from an address that no living gateway of the fleet has.",
  "other-run": "A datagram between gateways came from, or was for, an earlier run of a gateway that was started again.",
  "bad-frame": "A datagram between gateways is not valid.",
  "bad-code": "A datagram between gateways has a wrong authentication code: fleet.key is not the same everywhere.",
  repeated: "A datagram between gateways came for the second time, or too late.",
  "other-transport":
    "The datagram is for a transport that this gateway does not have: the transports of the gateways differ.",
} as const;

export type FrontDropReason = keyof typeof frontDropReasons;

/** Plain numbers since the start. */
export class FrontCounters {
  /** Datagrams from devices that were passed on to owners in other gateways. */
  passedOn = 0;
  /** Datagrams from other fronts for a shard of this gateway. */
  takenUp = 0;
  /** Answers that were passed on to the gateways by which the devices came. */
  answersPassedOn = 0;
  /** Answers of owners in other gateways that were sent to devices here. */
  answersTaken = 0;
  framesIn = 0;
  framesOut = 0;
  frameOctetsIn = 0;
  frameOctetsOut = 0;
  lookUps = 0;
  lookUpsFound = 0;
  addressesKept = 0;
  /** Messages to all devices that were left out, because another shard of this gateway sends the same. */
  broadcastsLeftOut = 0;
  readonly dropped: Record<FrontDropReason, number>;

  constructor() {
    const reasons = Object.keys(frontDropReasons) as FrontDropReason[];
    this.dropped = Object.fromEntries(reasons.map((reason) => [reason, 0])) as Record<FrontDropReason, number>;
  }

  drop(reason: FrontDropReason, count = 1): void {
    this.dropped[reason] += count;
  }
}
