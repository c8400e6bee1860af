/**
 * The lists of a session, and its other properties that have parts of their own, as octets and back: see
 * session-form.ts.
 */
import type { OctetReader, OctetWriter } from "../octet-form.ts";
import type { QoS, SubscribedBy, Will } from "../types.ts";
import type { Session, Subscription } from "./session.ts";
import type { Registry } from "./topic-registry.ts";

const ways: readonly SubscribedBy[] = ["name", "predefined", "short"];
const subscription = { qos: 0x03, way: 2, hasId: 0x10, isRefused: 0x20 };
const topicFlags = { known: 0x01, told: 0x02, confirmed: 0x04, refused: 0x08, hasTime: 0x10 };

/** A number that nearly always has this value is left out. */
export const never = Number.NEGATIVE_INFINITY;

export function flag(isSo: boolean, bit: number): number {
  return isSo ? bit : 0;
}

export function writeWill(into: OctetWriter, { topicName, payload, qos, retain }: Will): void {
  into.octet(qos | (retain ? 4 : 0));
  into.text(topicName);
  into.bytes(payload);
}

export function readWill(from: OctetReader): Will {
  const flags = from.octet();
  const topicName = from.text();
  return { topicName, payload: from.bytes(), qos: (flags & 3) as QoS, retain: (flags & 4) !== 0 };
}

export function writeSubscriptions(into: OctetWriter, { subscriptions }: Session): void {
  into.count(subscriptions.size);
  for (const { filter, qos, by, predefinedId, isRefused } of subscriptions.values()) {
    const flags = flag(predefinedId !== 0, subscription.hasId) | flag(isRefused === true, subscription.isRefused);
    into.octet(qos | (ways.indexOf(by) << subscription.way) | flags);
    into.text(filter);
    if (predefinedId !== 0) into.count(predefinedId);
  }
}

/** The filters of subscriptions that the broker has, at this QoS. */
export function* readFilters(from: OctetReader, qos: QoS): IterableIterator<string> {
  for (let left = from.count(); left > 0; left--) {
    const flags = from.octet();
    const filter = from.text();
    if (flags & subscription.hasId) from.count();
    if ((flags & subscription.isRefused) === 0 && (flags & subscription.qos) === qos) yield filter;
  }
}

/** Is this one of them? No text is made. */
export function hasFilter(from: OctetReader, filter: string, qos: QoS): boolean {
  for (let left = from.count(); left > 0; left--) {
    const flags = from.octet();
    const isIt = from.isText(filter);
    if (isIt) return (flags & subscription.isRefused) === 0 && (flags & subscription.qos) === qos;
    if (flags & subscription.hasId) from.count();
  }
  return false;
}

export function readSubscriptions(from: OctetReader): readonly Subscription[] {
  const found: Subscription[] = [];
  for (let left = from.count(); left > 0; left--) {
    const flags = from.octet();
    const filter = from.text();
    const predefinedId = flags & subscription.hasId ? from.count() : 0;
    const qos = (flags & subscription.qos) as QoS;
    const by = ways[(flags >> subscription.way) & 3] ?? "name";
    const isRefused = (flags & subscription.isRefused) !== 0;
    found.push({ filter, qos, by, predefinedId, ...(isRefused && { isRefused }) });
  }
  return found;
}

export function writeTopics(into: OctetWriter, { registry }: Session): void {
  into.count(registry.next);
  into.count(registry.size);
  for (const { id, name, known, told, confirmed, refused, toldAt } of registry.topics()) {
    into.octet(
      flag(known, topicFlags.known) |
        flag(told, topicFlags.told) |
        flag(confirmed, topicFlags.confirmed) |
        flag(refused, topicFlags.refused) |
        flag(toldAt !== never, topicFlags.hasTime),
    );
    into.count(id);
    into.text(name);
    if (toldAt !== never) into.float(toldAt);
  }
}

export function readTopics(from: OctetReader, registry: Registry): void {
  for (let left = from.count(); left > 0; left--) {
    const flags = from.octet();
    const id = from.count();
    const topic = registry.restore({ id, name: from.text(), known: false, told: (flags & topicFlags.told) !== 0 });
    topic.known = (flags & topicFlags.known) !== 0;
    topic.confirmed = (flags & topicFlags.confirmed) !== 0;
    topic.refused = (flags & topicFlags.refused) !== 0;
    if (flags & topicFlags.hasTime) topic.toldAt = from.float();
  }
}

export function writeShown(into: OctetWriter, { shown }: Session): void {
  into.octet(shown.isNew ? 1 : 0);
  into.count(shown.size);
  for (const { name, hash, isRetained } of shown.records()) {
    into.text(name);
    into.float(hash);
    into.octet(isRetained ? 1 : 0);
  }
}

export function readShown(from: OctetReader, { shown }: Session): void {
  shown.isNew = from.octet() === 1;
  for (let left = from.count(); left > 0; left--) {
    const record = { name: from.text(), hash: from.float() };
    shown.restore(from.octet() === 1 ? { ...record, isRetained: true } : record);
  }
}
