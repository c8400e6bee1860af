/** Topic names and filters of MQTT, and the two-octet short names of MQTT-SN. [MQTT-3.1.1 4.7; MQTT-SN 1.2 §6.7] */

/** The number of octets in UTF-8, computed without encoding the text. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    length += unit < 0x800 ? 1 : 2;
    if (unit >= 0xd800 && unit < 0xdc00) {
      i++; // a pair is four octets: two units and two more
    }
  }
  return length;
}

/** A name that can be published to: not empty, no U+0000, no wildcard, at most 65535 octets. */
export function isTopicName(text: string): boolean {
  return text !== "" && !/[\0+#]/.test(text) && utf8Length(text) <= 65_535;
}

/** A client id, or another name, as one level of a topic: separators and wildcards are percent-encoded. */
export function topicLevel(name: string): string {
  return name.replace(/[%/+#]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

const share = "$share/";

/** A filter that can be subscribed to: `+` alone in its level, `#` alone in the last; `$share/group/filter` too. */
export function isTopicFilter(text: string): boolean {
  if (text === "" || text.includes("\0") || utf8Length(text) > 65_535) return false;
  if (text.startsWith(share)) {
    const slash = text.indexOf("/", share.length);
    if (slash <= share.length || slash === text.length - 1) return false;
    if (/[+#]/.test(text.slice(share.length, slash))) return false;
    return isPlainFilter(text.slice(slash + 1));
  }
  return isPlainFilter(text);
}

function isPlainFilter(text: string): boolean {
  const levels = text.split("/");
  return levels.every((level, i) => !/[+#]/.test(level) || level === "+" || (level === "#" && i === levels.length - 1));
}

const untakable = /[\p{Cc}\p{Noncharacter_Code_Point}\p{Surrogate}]/u;
const levelsMax = 100;

/**
 * Whether every broker accepts this text. For control characters and non-characters brokers may close the connection,
 * and some do. [MQTT-3.1.1 1.5.3]
 */
export function isTakenByBrokers(text: string): boolean {
  // Called for each publication, nearly always with plain ASCII text: the pattern costs three times as much.
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit >= 0x7f) return !untakable.test(text);
  }
  return true;
}

/**
 * True for a name or filter for which no broker closes the connection; some also do so for very many levels. On a
 * shared connection this would affect all clients.
 */
export function isSafeToShare(text: string): boolean {
  if (!isTakenByBrokers(text)) return false;
  let levels = 1;
  for (let at = text.indexOf("/"); at >= 0; at = text.indexOf("/", at + 1)) levels++;
  return levels <= levelsMax;
}

/**
 * Whether messages for this filter may have other names than the filter: it has wildcards, or is a shared subscription.
 */
export function hasWildcard(filter: string): boolean {
  return filter.startsWith(share) || filter.includes("+") || filter.includes("#");
}

/**
 * True if a publication to `topicName` matches. Wildcards at the first level do not match `$`-topics. [MQTT-4.7.2-1]
 */
export function matches(filter: string, topicName: string): boolean {
  const plain = filter.startsWith(share) ? filter.slice(filter.indexOf("/", share.length) + 1) : filter;
  if (topicName.startsWith("$") && /^[+#]/.test(plain)) return false;
  const wanted = plain.split("/");
  const levels = topicName.split("/");
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === "#") return true;
    if (i >= levels.length || (wanted[i] !== "+" && wanted[i] !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

/**
 * True if every name that matches `filter` also matches `right`. A filter is compared with one right at a time; two
 * rights that cover it only together are not enough. For `$share/group/filter`, the filter is compared.
 */
export function covers(right: string, filter: string): boolean {
  const plain = filter.startsWith(share) ? filter.slice(filter.indexOf("/", share.length) + 1) : filter;
  if (plain.startsWith("$") && /^[+#]/.test(right)) return false;
  const held = right.split("/");
  const asked = plain.split("/");
  for (let i = 0; i < held.length; i++) {
    if (held[i] === "#") return true;
    const level = asked[i];
    if (level === undefined || level === "#" || (held[i] !== "+" && held[i] !== level)) return false;
  }
  return held.length === asked.length;
}

/** The two octets of a short topic name as a number; undefined when the name is not exactly two octets, or not usable. */
export function shortNameToId(name: string): number | undefined {
  if (name.length === 0 || name.length > 2 || !isTopicName(name)) return undefined;
  const first = name.charCodeAt(0);
  if (name.length === 2) {
    const second = name.charCodeAt(1);
    return first < 0x80 && second < 0x80 ? (first << 8) | second : undefined;
  }
  return first >= 0x80 && first < 0x800 ? ((0xc0 | (first >> 6)) << 8) | 0x80 | (first & 0x3f) : undefined;
}

/** The short topic name of these two octets; undefined: they are no topic name (invalid UTF-8, U+0000, wildcard). */
export function shortNameFromId(id: number): string | undefined {
  const first = id >> 8;
  const second = id & 0xff;
  if (first < 0x80) {
    if (second >= 0x80) return undefined;
    const name = String.fromCharCode(first, second);
    return isTopicName(name) ? name : undefined;
  }
  if (first < 0xc2 || first > 0xdf || (second & 0xc0) !== 0x80) return undefined;
  return String.fromCharCode(((first & 0x1f) << 6) | (second & 0x3f));
}
