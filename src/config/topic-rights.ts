/** The topics that a rule of `access` allows, compiled for one client. */
import type { Holder, Rights, Way } from "../core/access.ts";
import { forwardedNodeOf } from "../core/peer-id.ts";
import { covers, matches } from "../wire/topic.ts";

/** The filters of the configuration, and their key, which is shown to the operator. Undefined filters: no limit. */
export interface TopicLists {
  readonly publish: readonly string[] | undefined;
  readonly subscribe: readonly string[] | undefined;
  /** The part of the configuration that has them: `access.rules.2`. */
  readonly at: string;
}

/** Undefined: nothing is limited. */
export function compileRights({ publish, subscribe, at }: TopicLists, holder: Holder): Rights | undefined {
  if (publish === undefined && subscribe === undefined) return undefined;
  const toPublish = publish && withNames(publish, holder);
  const toSubscribe = subscribe && withNames(subscribe, holder);
  return {
    mayPublish: judge(toPublish),
    maySubscribe: (filter) => !toSubscribe || toSubscribe.some((right) => covers(right, filter)),
    mayReceive: judge(toSubscribe),
    hint: (way: Way, topic) => `${at}.${way === "publish" ? "publish" : "subscribe"}: add ${JSON.stringify(topic)}`,
  };
}

/** Placeholders of a filter: each is a part of one level. */
export const placeholders = ["{clientId}", "{identity}"] as const;

/**
 * A name with `+`, `#` or a slash would make another filter of the right, so it gives no right at all. Clients choose
 * their ids themselves, and a client with the id `#` must not get all topics.
 */
function withNames(filters: readonly string[], holder: Holder): string[] {
  const { clientId } = holder;
  const known: readonly (readonly [string, string | undefined])[] = [
    ["{clientId}", clientId],
    ["{identity}", nameOf(holder)],
  ];
  const rights: string[] = [];
  for (const filter of filters) {
    let right: string | undefined = filter;
    for (const [placeholder, name] of known) {
      if (!filter.includes(placeholder)) continue;
      right =
        name === undefined || name === "" || /[+#/\0]/.test(name)
          ? undefined
          : right?.replaceAll(placeholder, () => name);
    }
    if (right !== undefined) rights.push(right);
  }
  return rights;
}

/** The name of the holder. For a node behind a forwarder: `0a01@192.0.2.7`. */
function nameOf({ peer, identity }: Holder): string | undefined {
  const node = peer && forwardedNodeOf(peer);
  return node && identity ? `${node.nodeId}@${identity.name}` : identity?.name;
}

/**
 * The last answers are remembered for each client. Their number and the length of their topic names are limited,
 * because a client may send many long names.
 */
const answersMax = 8;
const rememberedCharactersMax = 256;

/** Devices use few topics, so the last answers are often needed again. */
function judge(filters: readonly string[] | undefined): (topicName: string) => boolean {
  if (filters === undefined) return () => true;
  const tests = filters.map(compiled);
  const answers = new Map<string, boolean>();
  let last = "";
  let answer = false;
  return (topicName) => {
    if (topicName === last) return answer;
    answer = answers.get(topicName) ?? tests.some((test) => test(topicName));
    last = topicName;
    if (topicName.length > rememberedCharactersMax || answers.has(topicName)) return answer;
    if (answers.size >= answersMax) answers.clear();
    answers.set(topicName, answer);
    return answer;
  };
}

function compiled(filter: string): (topicName: string) => boolean {
  const wildcard = filter.search(/[+#]/);
  if (wildcard < 0) return (topicName) => topicName === filter;
  if (wildcard < 2 || wildcard !== filter.length - 1 || !filter.endsWith("/#"))
    return (topicName) => matches(filter, topicName);
  const above = filter.slice(0, -2);
  const below = filter.slice(0, -1);
  return (topicName) => topicName.startsWith(below) || topicName === above;
}
