/** Creates a session for a client id that has none. */
import type { Context } from "../context.ts";
import type { Speech } from "../speech.ts";
import { Account } from "../state/account.ts";
import { BrokerSession } from "../state/broker-session.ts";
import { Outbox } from "../state/outbox.ts";
import { Session } from "../state/session.ts";
import { Registry } from "../state/topic-registry.ts";
import type { PeerId } from "../types.ts";

export function newSession(
  context: Context,
  clientId: string,
  init: { readonly clean: boolean; readonly peer: PeerId | undefined; readonly dialect: Speech },
): Session {
  const { clean, peer, dialect } = init;
  const registry = new Registry({
    isKept: context.journal.enabled,
    start: context.sessions.topicIdStart(clientId),
    limit: context.options.topics.idsPerClientMax,
    isPredefined: (id) =>
      context.predefined.forAll.has(id) || context.predefined.byClientId.get(clientId)?.has(id) === true,
  });
  const someId = () => Math.floor(context.environment.random() * 65_535);
  const upstream = context.upstreams.of(clientId, peer);
  const shared = upstream.sharedOf(clientId);
  return new Session({
    clientId,
    clean,
    dialect,
    registry,
    upstream,
    shared,
    broker:
      shared?.broker ?? new BrokerSession(someId(), { key: clientId, experience: context.experience.get(clientId) }),
    predefined: context.predefined,
    account: new Account(context.counters.backlog),
    outbox: new Outbox(someId(), context.counters.buffered),
  });
}
