/** One MQTT connection with its reconnects, and for whom it is. */
import type { Deadline } from "../deadlines.ts";
import { type LinkId, noLimits, type Will } from "../types.ts";
import type { BrokerSession, Connection } from "./broker-session.ts";
import type { Session } from "./session.ts";
import type { SharedConnection } from "./shared-connection.ts";
import type { Upstream } from "./upstream.ts";

export interface Link extends Connection {
  /** Whose it is; undefined = the gateway's own, or shared. */
  readonly session: Session | undefined;
  /** Clients share it. */
  readonly shared: SharedConnection<Session> | undefined;
  readonly upstream: Upstream<Session>;
  /** The MQTT session that it serves. */
  readonly broker: BrokerSession<Session>;
  /** Without the will that it is for, to see whether the broker closes for that. */
  readonly isProbe: boolean;
  /** When the search for a suspect continues. */
  retest: Deadline<Link, "retest"> | undefined;
  /** When those who wait for the next connection are answered without it. */
  custody: Deadline<Link, "custody"> | undefined;
}

export function newLink(init: {
  id: LinkId;
  session: Session | undefined;
  shared?: SharedConnection<Session>;
  upstream: Upstream<Session>;
  broker: BrokerSession<Session>;
  clean: boolean;
  resumes?: boolean;
  isProbe?: boolean;
  will: Will | undefined;
}): Link {
  return {
    resumes: false,
    isProbe: false,
    shared: undefined,
    ...init,
    policy: init.upstream.options,
    up: false,
    wasUp: false,
    congested: false,
    downSince: undefined,
    limits: noLimits,
    answersFrom: 0,
    isMissed: false,
    retest: undefined,
    custody: undefined,
  };
}
