/**
 * The parameters of the search for packets for which a broker closes the connection (suspects.ts). They were found by
 * trials in a simulation. They depend on each other and are not settings.
 */
export const searchFigures = {
  /** A packet that was outside at so many ends of a connection is a suspect. */
  endsToSuspect: 2,
  /**
   * So many deaths, with a witness between them, take a packet out. The second figure applies if the broker's
   * DISCONNECT named a reason.
   */
  epochsToTakeOut: 3,
  epochsWhereNamed: 2,
  /** The probability that all its deaths were chance must be lower than this. */
  chanceMax: 1e-6,
  /** The share of packets whose connection ends by chance is estimated as if this many had been sent before. */
  packetsBefore: 100,
  /**
   * For the last so many ends, the gateway remembers which packets were outside. If one of these packets is found
   * guilty, the ends do not count as chance any more.
   */
  endsRemembered: 32,
  /** A packet that has died alone so often explains the ends at which it was outside. */
  deathsToExplain: 2,
  /** Without any witness: so many deaths, over at least this time, take a packet out. */
  unwitnessedDeaths: 6,
  unwitnessedSpanMs: 120_000,
  /**
   * For `doubtMs` after the broker has ended another connection and answered no packet since, deaths do not count as
   * deaths without a witness. After the second time they count in any case, because a faulty broker recovers within
   * minutes, and a forbidden packet stays forbidden.
   */
  doubtMs: 70_000,
  unwitnessedInDoubtSpanMs: 600_000,
  /**
   * If so many different packets died without any answer in between, the broker is faulty. One client may have several
   * packets in a row that the broker refuses. As long as it has more to send, up to as many as the second figure are
   * tried.
   */
  differentDeaths: 3,
  differentDeathsOfOne: 8,
  /** Packets of one client that are tried out of order, if no other client has anything to send. */
  walkMax: 8,
  /** If all first packets have died, so many packets further back are searched for one that has not. */
  depthMax: 200,
  /**
   * Two packets have died unanswered, and all others that wait have died before. For this time the gateway waits for a
   * witness, before it tries one of those and the broker counts as faulty.
   */
  witnessAwaitedMs: 30_000,
  /**
   * The broker counts as faulty (sick), and all waiting packets have died. For this time nothing is sent on the
   * connection before one of them is tried again; the time doubles each time, up to the second figure. Otherwise the
   * connection would never last long enough for a client to connect, whose packets could show that the broker works.
   */
  sickHoldFirstMs: 4_000,
  sickHoldMs: 15_000,
  /** The last so many ends before the broker counted as sick are used to choose the next packet. */
  endsCounted: 3,
  /** If the broker is sick and its window full, so many packets are checked for one that fits into the window. */
  turnsMax: 64,
  deathsBeforeWalk: 2,
  /** After a death, a suspect waits at least this long for a witness; the time doubles each time. */
  waitFirstMs: 1_000,
  waitMaxMs: 60_000,
  /** If no other packet can be its witness, it waits this long after each death; the last value is used again and again. */
  waitsUnwitnessedMs: [500, 6_000, 15_000, 30_000, 70_000],
  /** The last of these waits, if a packet of the same kind was taken out before. */
  waitOfKindMs: 600_000,
  /** After a test that died, the next test waits so long after the new connection; the time doubles each time. */
  testFirstMs: 1_000,
  testMaxMs: 8_000,
  afterPassMs: 200,
  /** A connection that lasted this long and had nothing to answer was useful: the next pause is the first one again. */
  usefulMs: 5_000,
  /**
   * After a pause of this length the broker had time to recover. Whatever the result, the next pause is the first one
   * again.
   */
  restMs: 10_000,
  /** While the gateway searches for suspects, so many consecutive ends are followed by the shortest pause. */
  quickEnds: 6,
  /**
   * After this many ends in a row without an answer every packet in flight dies: there are many packets that the broker refuses, or the
   * broker is faulty. From then on each connection begins with one packet alone that is no suspect.
   */
  endsBeforeScout: 5,
  /** Ends before CONNACK until a CONNECT without the will is tried; and until the will is refused. */
  willEndsBeforeProbe: 2,
  willEndsToRefuse: 3,
  /** Limit for each connection. Beyond it the youngest packets do not become suspects. */
  suspectsMax: 1_000,
  /** The rate of ends counts about the last hour. */
  rateSpanMs: 3_600_000,
  /**
   * Packets that were outside at an end, and requests, wait for the next connection for this time before the gateway
   * answers them.
   */
  custodyWaitMs: 5_000,
  /** QoS 0 publications are watched until no connection has ended for this time. */
  watchUnansweredMs: 30_000,
  /** How long a known kind is refused before a publication of it is sent again; the time doubles each time. */
  kindFirstMs: 3_600_000,
  kindMaxMs: 86_400_000,
  /**
   * So many publications of a kind are taken out before the kind is learnt. If the broker named a reason, one is
   * enough.
   */
  takenToLearn: 2,
  kindsMax: 1_000,
} as const;

/** MQTT 5 reasons of a DISCONNECT that concern the packet before it. [MQTT-5.0 3.14.2.1] */
export const namedReasons: ReadonlySet<number> = new Set([
  0x81, 0x82, 0x87, 0x90, 0x95, 0x99, 0x9a, 0x9b, 0x9e, 0xa1, 0xa2,
]);

/** MQTT 5 reasons that concern the broker, or another connection: no packet is the cause. [MQTT-5.0 3.14.2.1] */
export const blamelessReasons: ReadonlySet<number> = new Set([0x89, 0x8b, 0x8d, 0x8e, 0x97, 0x98, 0x9c, 0x9d, 0x9f]);
