/**
 * The parameters of the search for packets for which a broker closes the connection (suspects.ts). They were found by
 * trials in a simulation. They depend on each other and are not settings.
 */
export const searchFigures = {
  /** Ends of a connection at which a packet was outside: then it is a suspect. */
  endsToSuspect: 2,
  /** Deaths with a witness between them, before a packet is taken out; and if the broker's DISCONNECT named a reason. */
  epochsToTakeOut: 3,
  epochsWhereNamed: 2,
  /** That all its deaths were chance must be less likely than this. */
  chanceMax: 1e-6,
  /** The share of packets whose connection ends by chance is estimated as if this many had been sent before. */
  packetsBefore: 100,
  /** Of so many ends it is known what was outside: when that is found guilty, they were no chance. */
  endsRemembered: 32,
  /** One that has died alone so often explains those at which it was outside. */
  deathsToExplain: 2,
  /** Without any witness: this many deaths over this much time. */
  unwitnessedDeaths: 6,
  unwitnessedSpanMs: 120_000,
  /**
   * Deaths do not count for that while the broker ends other connections, too, and answers nobody: so long after such an end. But over
   * this time they count in any case: a broker that is sick is so for minutes, a forbidden packet for ever.
   */
  doubtMs: 70_000,
  unwitnessedInDoubtSpanMs: 600_000,
  /**
   * Different packets that died without any answer in between: then the broker is at fault. One client may have several packets in a row
   * that the broker refuses; up to this many are tried as long as it has more to send.
   */
  differentDeaths: 3,
  differentDeathsOfOne: 8,
  /** Packets of one client that are tried out of order, if no other client has anything to send. */
  walkMax: 8,
  /** Behind those that have died already it is looked so far back for one that has not. */
  depthMax: 200,
  /**
   * Two packets have died unanswered, and all others that wait have died before. A witness is awaited for this long, before one of those is
   * tried and the broker counts as faulty.
   */
  witnessAwaitedMs: 30_000,
  /**
   * Where the broker is sick and all that waits has died: so long the connection is left alone before one of them is tried again, each time
   * twice as long. Otherwise it would never stand long enough for a client to connect, whose packets could show that the broker is not sick.
   */
  sickHoldFirstMs: 4_000,
  sickHoldMs: 15_000,
  /** Before a broker counts as sick, so many ends at which a packet was outside count when it is chosen whose turn it is. */
  endsCounted: 3,
  /** Where the broker is sick and its window full: so many are looked at for one that it has a place for. */
  turnsMax: 64,
  deathsBeforeWalk: 2,
  /** After a death a suspect waits for a witness, at least this long, each time twice as long. */
  waitFirstMs: 1_000,
  waitMaxMs: 60_000,
  /** If no other packet can be its witness, it waits this long after each death; the last value is used again and again. */
  waitsUnwitnessedMs: [500, 6_000, 15_000, 30_000, 70_000],
  /** The last of them, where one of its kind was taken out before. */
  waitOfKindMs: 600_000,
  /** After a test that died the next one waits so long behind the new connection, each time twice as long. */
  testFirstMs: 1_000,
  testMaxMs: 8_000,
  afterPassMs: 200,
  /** A connection that stood so long, and had nothing to answer, was of use: the next pause is the first. */
  usefulMs: 5_000,
  /** A pause of this length gave the broker rest, for any result; the next pause is the first one again. */
  restMs: 10_000,
  /** Ends in a row that are followed by the shortest pause, while suspects are searched. */
  quickEnds: 6,
  /**
   * After this many ends in a row without an answer every packet in flight dies: there are many packets that the broker refuses, or the
   * broker is faulty. From then on each connection begins with one packet alone that is no suspect.
   */
  endsBeforeScout: 5,
  /** Ends before CONNACK, before a CONNECT without the will is tried; and before the will is refused. */
  willEndsBeforeProbe: 2,
  willEndsToRefuse: 3,
  /** Per connection; beyond, the youngest are none. */
  suspectsMax: 1_000,
  /** The rate of ends is that of about the last hour. */
  rateSpanMs: 3_600_000,
  /** What was outside at an end, and requests, wait so long for the next connection before the gateway answers. */
  custodyWaitMs: 5_000,
  /** QoS 0 is watched until no connection has ended for so long. */
  watchUnansweredMs: 30_000,
  /** How long a known kind is refused before it is sent, each time twice as long. */
  kindFirstMs: 3_600_000,
  kindMaxMs: 86_400_000,
  /** Taken out of one kind before it is learnt; where the broker named a reason, one is enough. */
  takenToLearn: 2,
  kindsMax: 1_000,
} as const;

/** MQTT 5 reasons of a DISCONNECT that speak of the packet before it. [MQTT-5.0 3.14.2.1] */
export const namedReasons: ReadonlySet<number> = new Set([
  0x81, 0x82, 0x87, 0x90, 0x95, 0x99, 0x9a, 0x9b, 0x9e, 0xa1, 0xa2,
]);

/** MQTT 5 reasons that concern the broker, or another connection: no packet is at fault. [MQTT-5.0 3.14.2.1] */
export const blamelessReasons: ReadonlySet<number> = new Set([0x89, 0x8b, 0x8d, 0x8e, 0x97, 0x98, 0x9c, 0x9d, 0x9f]);
