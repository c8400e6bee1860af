/** Adds and removes the prefix that the gateway's topics may have at the broker. Devices do not see it. */

const share = /^\$share\/[^/]+\//;

export function toBroker(prefix: string, topicName: string): string {
  return prefix + topicName;
}

/** The prefix goes behind `$share/group/`. */
export function filterToBroker(prefix: string, filter: string): string {
  if (prefix === "") return filter;
  const group = share.exec(filter)?.[0] ?? "";
  return group + prefix + filter.slice(group.length);
}

/** Undefined when the name is not under the prefix. */
export function fromBroker(prefix: string, topicName: string): string | undefined {
  if (prefix === "") return topicName;
  return topicName.startsWith(prefix) ? topicName.slice(prefix.length) : undefined;
}
