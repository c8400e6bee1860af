/** The access rules of the configuration, in the form that the core uses. */
import type { AccessPolicy, Admission, DeviceLimits } from "../core/access.ts";
import { forwardedNodeOf, transportNameOf } from "../core/peer-id.ts";
import type { PeerId, PeerIdentity } from "../core/types.ts";
import { globToRegExp } from "../upstream/credentials.ts";
import type { AccessOptions } from "./access-options.ts";
import { Origins } from "./origins.ts";
import { compileRights } from "./topic-rights.ts";

const admitted: Admission = { admitted: true };

/** A client that the operator admitted: its id is compared word for word, so that an id `*` admits no other client. */
export interface AdmittedByHand {
  readonly clientId: string;
  /** An origin as in `from` of a rule; undefined: any. */
  readonly from?: string | undefined;
}

/** Client ids that are reserved: those of devices with a key. */
export type HasKey = (clientId: string) => boolean;

/**
 * `byHand`: clients that are admitted before the rules are looked at. `hasKey`: a client with such an id must prove it
 * with its key.
 */
export function createAccessPolicy(
  options: AccessOptions,
  hostOf: (peer: PeerId) => string,
  byHand: readonly AdmittedByHand[] = [],
  hasKey: HasKey = () => false,
): AccessPolicy {
  const admittedByHand = new Map(
    byHand.map(({ clientId, from }) => [clientId, from === undefined ? undefined : new Origins([from], hostOf)]),
  );
  const rules = options.rules.map((rule) => {
    const globs = ["allow" in rule ? rule.allow : rule.deny].flat();
    const patterns = globs.map(globToRegExp);
    const network = rule.from && new Origins(rule.from, hostOf);
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
  const site = new Origins(options.site, hostOf);
  const qosMinusOne = new Origins(options.qosMinusOne.from, hostOf);
  const forwarders = new Origins(options.forwarders.from, hostOf);
  const limits = options.limits.map(({ clients, ...each }) => ({
    patterns: [clients].flat().map(globToRegExp),
    limits: limitsFrom(each),
  }));
  const binds = [options.clients].flat();
  const gate = (
    name: string,
    enabled: boolean,
    network: Origins,
    peer: PeerId,
    identity: PeerIdentity | undefined,
  ): Admission => {
    if (enabled && network.has(peer, identity)) return admitted;
    const entry = identity?.verified ? `${identity.by}:${identity.name}` : hostOf(peer);
    const hint = enabled ? `access.${name}.from: add ${JSON.stringify(entry)}` : `access.${name}.enabled: true`;
    return { admitted: false, hint };
  };
  return {
    client(clientId, peer, identity) {
      const isNode = forwardedNodeOf(peer) !== undefined;
      // This also applies to nodes behind a forwarder. Otherwise a forwarder could use any client id in the name of a
      // node.
      const binding = identity.clients === undefined ? binds : [identity.clients];
      if (identity.verified && !binding.some((bind) => isBound(bind, clientId, identity))) {
        const where =
          identity.clients === undefined ? "access.clients" : `"clients" of the transport ${transportNameOf(peer)}`;
        return { admitted: false, hint: `${where}: of "${identity.name}" it lets in ${inWords(binding, identity)}` };
      }
      // Such an id is refused without DTLS and with another device's bond. Otherwise a key would be useless as long as there is another
      // transport.
      if (hasKey(clientId) && (isNode || !identity.verified || identity.by === "bond"))
        return { admitted: false, hint: `none: the device "${clientId}" has a key, and has to connect with it` };
      if (admittedByHand.has(clientId) && (admittedByHand.get(clientId)?.has(peer, identity) ?? true))
        return { admitted: true, byName: true };
      const rule = rules.find(({ names, reaches }) => names(clientId) && reaches(peer, identity));
      if (rule?.allows ?? options.default === "allow") return rule?.admission ?? admitted;
      const from = identity.verified && !isNode ? `${identity.by}:${identity.name}` : identity.name;
      const line = JSON.stringify({ allow: clientId, from: [from] });
      return { admitted: false, hint: `access.rules: put first ${line}` };
    },
    rightsOf(holder) {
      const { clientId, peer, identity } = holder;
      if (clientId === undefined)
        return compileRights({ publish: withoutConnection, subscribe: [], at: "access.qosMinusOne" }, holder);
      // For a client that is not connected only the id is known. What it left behind is judged by the first rule that
      // admits its id.
      const at = rules.findIndex(
        ({ allows, names, reaches }) => allows && names(clientId) && (peer === undefined || reaches(peer, identity)),
      );
      const { publish = options.publish, subscribe = options.subscribe } = rules[at]?.lists ?? {};
      return compileRights({ publish, subscribe, at: at < 0 ? "access" : `access.rules.${at}` }, holder);
    },
    limitsOf: (clientId) => limits.find(({ patterns }) => patterns.some((pattern) => pattern.test(clientId)))?.limits,
    qosMinusOnePerSecond: options.qosMinusOne.perSecond,
    isInside: (peer, identity) => identity?.verified === true || site.has(peer, identity),
    // A device that has proved its name is not limited by its network; only its topics limit it.
    qosMinusOne: (peer, identity) =>
      identity?.verified && options.qosMinusOne.enabled
        ? admitted
        : gate("qosMinusOne", options.qosMinusOne.enabled, qosMinusOne, peer, identity),
    forwarder: (peer, identity) => gate("forwarders", options.forwarders.enabled, forwarders, peer, identity),
  };
}

/** Client ids that a device with this proved name may use. */
function isBound(bind: string, clientId: string, { name }: PeerIdentity): boolean {
  // Stars in the proved name have no meaning; the text around `{identity}` is a glob.
  const parts = bind.split("{identity}").map((part) => globToRegExp(part).source.slice(1, -1));
  const literal = name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  return new RegExp(`^${parts.join(literal)}$`, "su").test(clientId);
}

function inWords(binds: readonly string[], { name }: PeerIdentity): string {
  return binds.map((bind) => JSON.stringify(bind.replaceAll("{identity}", () => name))).join(" and ");
}

function limitsFrom(options: Omit<AccessOptions["limits"][number], "clients">): DeviceLimits {
  const { upPerSecond, downPerSecond, octetsPerDay = noLimit, refusalsMax, quarantineSeconds } = options;
  const { upBurst = tenSeconds(upPerSecond), downBurst = tenSeconds(downPerSecond) } = options;
  return {
    upPerSecond: upPerSecond ?? noLimit,
    upBurst: upPerSecond === undefined ? noLimit : upBurst,
    downPerSecond: downPerSecond ?? noLimit,
    downBurst: downPerSecond === undefined ? noLimit : downBurst,
    octetsPerDay,
    refusalsMax,
    quarantineSeconds,
  };
}

const noLimit = Number.POSITIVE_INFINITY;

function tenSeconds(perSecond = noLimit): number {
  return Math.max(10, Math.ceil(perSecond * 10));
}
