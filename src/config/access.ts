/** The access rules of the configuration, as the core asks them. */
import { BlockList, isIP } from "node:net";
import type { AccessPolicy, Admission } from "../core/access.ts";
import { neighbourOf, transportNameOf } from "../core/peer-id.ts";
import type { PeerId, PeerIdentity } from "../core/types.ts";
import { globToRegExp } from "../upstream/credentials.ts";
import type { AccessOptions } from "./access-options.ts";
import { compileRights } from "./topic-rights.ts";

const admitted: Admission = { admitted: true };

/** A client that the operator admitted by a click: its id word for word, so that one called `*` admits nobody else. */
export interface AdmittedByHand {
  readonly clientId: string;
  /** As in `from` of a rule; undefined: anywhere. */
  readonly from?: string | undefined;
}

/** `byHand`: asked before the rules. */
export function createAccessPolicy(
  options: AccessOptions,
  hostOf: (peer: PeerId) => string,
  byHand: readonly AdmittedByHand[] = [],
): AccessPolicy {
  const admittedByHand = new Map(
    byHand.map(({ clientId, from }) => [clientId, from === undefined ? undefined : new Network([from], hostOf)]),
  );
  const rules = options.rules.map((rule) => {
    const globs = ["allow" in rule ? rule.allow : rule.deny].flat();
    const patterns = globs.map(globToRegExp);
    const network = rule.from && new Network(rule.from, hostOf);
    return {
      admission: { admitted: true, byName: !globs.some((glob) => /^[*?]*$/.test(glob)) } as const,
      allows: "allow" in rule,
      lists: "allow" in rule ? { publish: rule.publish, subscribe: rule.subscribe } : {},
      names: (clientId: string) => patterns.some((pattern) => pattern.test(clientId)),
      reaches: (peer: PeerId, identity: PeerIdentity | undefined) => network?.has(peer, identity) ?? true,
    };
  });
  const isLimited = [options, ...rules.map(({ lists }) => lists)].some(({ publish }) => publish !== undefined);
  const withoutConnection = options.qosMinusOne.publish ?? (isLimited ? [] : undefined);
  const site = new Network(options.site, hostOf);
  const qosMinusOne = new Network(options.qosMinusOne.from, hostOf);
  const forwarders = new Network(options.forwarders.from, hostOf);
  const gate = (name: string, enabled: boolean, network: Network, peer: PeerId): Admission => {
    if (enabled && network.has(peer)) return admitted;
    const hint = enabled ? `access.${name}.from: add ${JSON.stringify(hostOf(peer))}` : `access.${name}.enabled: true`;
    return { admitted: false, hint };
  };
  return {
    client(clientId, peer, identity) {
      if (identity.clients !== undefined && !mayHave(identity.clients, identity.name, clientId))
        return {
          admitted: false,
          hint: `"clients" of the transport ${transportNameOf(neighbourOf(peer))}: "*", or a pattern for it`,
        };
      if (admittedByHand.has(clientId) && (admittedByHand.get(clientId)?.has(peer, identity) ?? true))
        return { admitted: true, byName: true };
      const rule = rules.find(({ names, reaches }) => names(clientId) && reaches(peer, identity));
      if (rule?.allows ?? options.default === "allow") return rule?.admission ?? admitted;
      const line = JSON.stringify({ allow: clientId, from: [identity.name] });
      return { admitted: false, hint: `access.rules: put first ${line}` };
    },
    rightsOf(holder) {
      const { clientId, peer, identity } = holder;
      if (clientId === undefined)
        return compileRights({ publish: withoutConnection, subscribe: [], at: "access.qosMinusOne" }, holder);
      // Of a client that is nowhere only the id is known; what it left behind is treated as the first rule for it says.
      const at = rules.findIndex(
        ({ allows, names, reaches }) => allows && names(clientId) && (peer === undefined || reaches(peer, identity)),
      );
      const { publish = options.publish, subscribe = options.subscribe } = rules[at]?.lists ?? {};
      return compileRights({ publish, subscribe, at: at < 0 ? "access" : `access.rules.${at}` }, holder);
    },
    isInside: (peer) => site.has(peer),
    qosMinusOne: (peer) => gate("qosMinusOne", options.qosMinusOne.enabled, qosMinusOne, peer),
    forwarder: (peer) => gate("forwarders", options.forwarders.enabled, forwarders, peer),
  };
}

/** `{identity}` in the pattern is the identity word for word, also where that holds * or ?. */
function mayHave(pattern: string, identity: string, clientId: string): boolean {
  const word = identity.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const parts = pattern.split("{identity}").map((part) => globToRegExp(part).source.slice(1, -1));
  return new RegExp(`^${parts.join(word)}$`, "su").test(clientId);
}

export function isBluetoothAddress(text: string): boolean {
  return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text);
}

/** Addresses, networks and transports. */
class Network {
  readonly #addresses = new BlockList();
  readonly #transports = new Set<string>();
  readonly #bluetooth = new Set<string>();
  readonly #hostOf: (peer: PeerId) => string;

  constructor(from: readonly string[], hostOf: (peer: PeerId) => string) {
    this.#hostOf = hostOf;
    for (const entry of from) this.#add(entry);
  }

  has(peer: PeerId, identity?: PeerIdentity): boolean {
    const neighbour = neighbourOf(peer);
    if (this.#transports.has(transportNameOf(neighbour))) return true;
    const host = (identity?.name ?? this.#hostOf(neighbour)).replace(/%.*$/, "");
    if (this.#bluetooth.has(host)) return true;
    const family = isIP(host);
    return family !== 0 && this.#addresses.check(host, family === 6 ? "ipv6" : "ipv4");
  }

  #add(entry: string): void {
    const transport = /^transport:(.+)$/.exec(entry)?.[1];
    if (transport !== undefined) {
      this.#transports.add(transport);
      return;
    }
    if (isBluetoothAddress(entry)) {
      this.#bluetooth.add(entry.toLowerCase());
      return;
    }
    const { address, prefix } = parseNetwork(entry) ?? {};
    if (address === undefined || prefix === undefined) return; // the schema has refused it
    this.#addresses.addSubnet(address, prefix, isIP(address) === 6 ? "ipv6" : "ipv4");
  }
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
