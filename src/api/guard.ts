/**
 * Checks from where a request to the console comes, before the user is checked. All such checks are here.
 *
 * A page of another site in the same browser can send requests to this address. With a name that it points to this address (DNS rebinding)
 * it can even read the answers. So the Host must be an address, localhost or a name of the configuration, which such a page cannot choose.
 * A request that changes something must also come from the console's own page: its Origin shows this, and a header that a foreign page
 * cannot add without a preflight request. A program with a token needs neither: a browser adds no token by itself, so a foreign page cannot
 * use one.
 */
import type { IncomingMessage } from "node:http";
import { type BlockList, isIP } from "node:net";
import { hostsOfIngress, type IngressOptions, ingressUser } from "./ingress.ts";
import { askedFrom, holds, listOf } from "./proxies.ts";

export const ownHeader = "x-mqttsn";

export interface GuardOptions {
  /** Names by which browsers may ask, besides localhost and addresses. */
  readonly hosts: readonly string[];
  /** Proxies that are trusted to say where a request came from. They may send requests from any address. */
  readonly proxies: BlockList;
  /** The proxy that logs users in; undefined: none. It is one of `proxies`, too. */
  readonly ingress?: IngressOptions | undefined;
  /** Private addresses may ask, not only this machine. */
  isForLan(): boolean;
}

export interface Turned {
  readonly status: 400 | 403 | 421;
  readonly error: string;
}

/** The token of a program: then only the token identifies the user, and a cookie is ignored. */
export function bearerOf({ headers }: IncomingMessage): string | undefined {
  return /^bearer +(\S.*)$/i.exec(headers.authorization ?? "")?.[1]?.trim();
}

/** The reason for refusing this request; undefined: it is accepted. */
export function turnedAway(request: IncomingMessage, options: GuardOptions): Turned | undefined {
  const { address, isByProxy } = askedFrom(request, options.proxies);
  if (address === undefined) return { status: 400, error: "the proxy's X-Forwarded-For is not a list of addresses" };
  if (!isByProxy && !isNear(address, options.isForLan()))
    return {
      status: 403,
      error: "the console is only for this machine; `mqtt-sn-gateway console --lan` opens it to private addresses",
    };
  const { host, origin } = request.headers;
  const name = nameIn(host);
  // The ingress uses the name of the page around it. An attacker cannot direct a browser to this address under another
  // name.
  const isIngress = ingressUser(request, options.ingress) !== undefined;
  if (name === undefined || !(isIngress || isKnown(name, options.hosts)))
    return { status: 421, error: "this name is not one of the gateway's: use its address, or add it to api.hosts" };
  if (bearerOf(request) !== undefined) return undefined;
  const isOwnPage = (page: string) =>
    isIngress
      ? URL.canParse(page) && hostsOfIngress(request).includes(new URL(page).host)
      : isOwn(page, host, options.hosts);
  if (origin !== undefined && !isOwnPage(origin)) return { status: 403, error: "this request comes from another page" };
  const site = request.headers["sec-fetch-site"];
  const isApi = (request.url ?? "").includes("/api/");
  if (isApi && (site === "cross-site" || site === "same-site"))
    return { status: 403, error: "this request comes from another page" };
  const changes = request.method !== "GET" && request.method !== "HEAD";
  if (changes && request.headers[ownHeader] !== "1")
    return { status: 403, error: `a request that changes something needs the header ${ownHeader}: 1` };
  return undefined;
}

/**
 * Headers of every answer: nothing inline, nothing from other hosts, and only the gateway's own page (a proxy's frame)
 * may embed the page.
 */
export const safetyHeaders: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; object-src 'none'; " +
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
};

export function isThisMachine(address: string): boolean {
  return holds(loopback, address);
}

function isNear(address: string, isForLan: boolean): boolean {
  return isThisMachine(address) || (isForLan && holds(lan, address));
}

/** `gateway:9464` becomes `gateway`; undefined: there is no host, or it is not a name. */
function nameIn(host: string | undefined): string | undefined {
  if (host === undefined || !/^[\w.:[\]-]+$/.test(host)) return undefined;
  return (/^\[(.*)\](:\d+)?$/.exec(host)?.[1] ?? host.replace(/:\d+$/, "")).toLowerCase();
}

function isKnown(name: string, hosts: readonly string[]): boolean {
  return isIP(name) !== 0 || name === "localhost" || hosts.some((each) => each.toLowerCase() === name);
}

/**
 * Whether the request came from the page itself, or from a page with a name that the configuration gives (behind a
 * proxy that sends another Host).
 */
function isOwn(origin: string, host: string | undefined, hosts: readonly string[]): boolean {
  if (!URL.canParse(origin)) return false;
  const url = new URL(origin);
  return url.host === host?.toLowerCase() || hosts.some((each) => each.toLowerCase() === url.hostname);
}

const loopback = listOf(["127.0.0.0/8", "::1"]);
const lan = listOf(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"]);
