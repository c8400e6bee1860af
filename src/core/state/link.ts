/** One MQTT connection with its reconnects, and the clients that use it. */
import type { Deadline } from "../deadlines.ts";
import { type LinkId, noLimits, type Will } from "../types.ts";
import type { BrokerSession, Connection } from "./broker-session.ts";
import type { Session } from "./session.ts";
import type { SharedConnection } from "./shared-connection.ts";
import type { Upstream } from "./upstream.ts";

export interface Link extends Connection {
  /** The client that has this connection; undefined = it is the gateway's own, or shared. */
  readonly session: Session | undefined;
  /** Set if several clients share the connection. */
  readonly shared: SharedConnection<Session> | undefined;
  readonly upstream: Upstream<Session>;
  /** The MQTT session that it serves. */
  readonly broker: BrokerSession<Session>;
  /** The connection is made without its will, to find out whether the broker closes because of the will. */
  readonly isProbe: boolean;
  /** The time at which the search for a suspect continues. */
  retest: Deadline<Link, "retest"> | undefined;
  /** The time at which requests that wait for the next connection are answered without it. */
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
