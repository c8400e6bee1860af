/**
 * The origin of a message, as the entries of a `from` in `access` describe it: addresses, networks, transports, lines, proved names, and
 * nodes behind a forwarder. All parts of `access` use it.
 */
import { BlockList, isIP } from "node:net";
import { forwardedNodeOf, neighbourOf, transportNameOf } from "../core/peer-id.ts";
import type { PeerId, PeerIdentity } from "../core/types.ts";
import { globToRegExp } from "../upstream/credentials.ts";

export type Origin =
  | { readonly kind: "transport"; readonly name: string }
  | { readonly kind: "bluetooth"; readonly address: string }
  | { readonly kind: "network"; readonly address: string; readonly prefix: number }
  | { readonly kind: "line"; readonly path: string }
  /** An identity that the network has proved in this way; `verified`: in any way. */
  | { readonly kind: "proved"; readonly by: PeerIdentity["by"] | "verified"; readonly pattern: string }
  /** A node behind a forwarder that matches; undefined: any node. */
  | { readonly kind: "node"; readonly forwarder: Origin; readonly nodeId: string | undefined };

/** Undefined: the entry is not valid. */
export function originOf(entry: string): Origin | undefined {
  const node = /^(.+)#(\*|(?:[0-9a-f]{2})+)$/i.exec(entry);
  if (node) {
    const forwarder = originOf(node[1] ?? "");
    return (
      forwarder && { kind: "node", forwarder, nodeId: node[2] === "*" ? undefined : (node[2] ?? "").toLowerCase() }
    );
  }
  const [, kind, rest] = /^(transport|psk|certificate|bond|verified):(.+)$/s.exec(entry) ?? [];
  if (kind === "transport") return { kind, name: rest ?? "" };
  if (kind === "psk" || kind === "certificate" || kind === "bond" || kind === "verified")
    return { kind: "proved", by: kind, pattern: rest ?? "" };
  if (isBluetoothAddress(entry)) return { kind: "bluetooth", address: entry.toLowerCase() };
  if (entry.startsWith("/")) return { kind: "line", path: entry };
  const network = parseNetwork(entry);
  return network && { kind: "network", ...network };
}

export function isBluetoothAddress(text: string): boolean {
  return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text);
}

/** `192.0.2.1` or `192.0.2.0/24`; undefined when it is neither. */
export function parseNetwork(entry: string): { address: string; prefix: number } | undefined {
  const [address = "", length, ...rest] = entry.split("/");
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return undefined;
  const most = family === 6 ? 128 : 32;
  const prefix = length === undefined ? most : /^\d+$/.test(length) ? Number(length) : -1;
  return prefix >= 0 && prefix <= most ? { address, prefix } : undefined;
}

/** The entries of one `from`, compiled. */
export class Origins {
  readonly #addresses = new BlockList();
  readonly #transports = new Set<string>();
  /** Bluetooth addresses, and lines. */
  readonly #names = new Set<string>();
  readonly #proved: { readonly by: string; readonly pattern: RegExp }[] = [];
  readonly #nodes: { readonly forwarders: Origins; readonly nodeId: string | undefined }[] = [];
  readonly #hostOf: (peer: PeerId) => string;

  constructor(from: readonly string[], hostOf: (peer: PeerId) => string) {
    this.#hostOf = hostOf;
    for (const entry of from) {
      const origin = originOf(entry);
      if (origin) this.#add(origin, entry); // otherwise the schema has refused the entry
    }
  }

  /** `identity`: the neighbour's identity; for a node behind a forwarder this is the forwarder. */
  has(peer: PeerId, identity?: PeerIdentity): boolean {
    const node = forwardedNodeOf(peer);
    if (node) {
      const isOne = this.#nodes.some(
        ({ forwarders, nodeId }) => (nodeId ?? node.nodeId) === node.nodeId && forwarders.has(node.forwarder, identity),
      );
      if (isOne) return true;
    } else if (identity?.verified && this.#isProved(identity)) return true;
    const neighbour = neighbourOf(peer);
    if (this.#transports.has(transportNameOf(neighbour))) return true;
    // A proved name is not an address, although it may look like one.
    if (identity?.verified) return false;
    const host = (identity?.name ?? this.#hostOf(neighbour)).replace(/%.*$/, "");
    if (this.#names.has(host)) return true;
    const family = isIP(host);
    return family !== 0 && this.#addresses.check(host, family === 6 ? "ipv6" : "ipv4");
  }

  #isProved({ name, by }: PeerIdentity): boolean {
    return this.#proved.some((one) => (one.by === "verified" || one.by === by) && one.pattern.test(name));
  }

  #add(origin: Origin, entry: string): void {
    switch (origin.kind) {
      case "transport":
        this.#transports.add(origin.name);
        return;
      case "bluetooth":
        this.#names.add(origin.address);
        return;
      case "line":
        this.#names.add(origin.path);
        return;
      case "proved":
        this.#proved.push({ by: origin.by, pattern: globToRegExp(origin.pattern) });
        return;
      case "node": {
        const forwarders = new Origins([entry.slice(0, entry.lastIndexOf("#"))], this.#hostOf);
        this.#nodes.push({ forwarders, nodeId: origin.nodeId });
        return;
      }
      case "network":
        this.#addresses.addSubnet(origin.address, origin.prefix, isIP(origin.address) === 6 ? "ipv6" : "ipv4");
    }
  }
}
