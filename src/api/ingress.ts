/**
 * The ingress of Home Assistant, which has already logged its users in, and names the user in a header. The header is
 * used only from one configured address; from other addresses it is ignored. Requests that change something need the
 * same Origin and the same own header as without an ingress.
 */
import type { IncomingMessage } from "node:http";
import type { Role } from "../roles.ts";
import type { LoggedIn } from "./log-in.ts";
import { peerOf } from "./proxies.ts";

export interface IngressOptions {
  /** The address of the ingress, as its connections have it. */
  readonly from: string;
  /** The role of its users. */
  readonly role: Role;
}

export interface IngressUser extends LoggedIn {
  /** Identifies the user, because two users may have the same name. */
  readonly id: string;
}

const idPattern = /^[A-Za-z0-9_-]{1,64}$/;
const nameCharsMax = 64;

/**
 * The user whom the ingress has logged in; undefined: the ingress is off, did not send the request, or does not name a
 * user.
 */
export function ingressUser(request: IncomingMessage, ingress: IngressOptions | undefined): IngressUser | undefined {
  if (!ingress || peerOf(request) !== ingress.from) return undefined;
  const id = request.headers["x-remote-user-id"];
  // Node joins a header that occurs twice with a comma, which the pattern refuses.
  if (typeof id !== "string" || !idPattern.test(id)) return undefined;
  const { "x-remote-user-name": userName, "x-remote-user-display-name": displayName } = request.headers;
  const name = [userName, displayName, id].map(shown).find((each) => each !== "") ?? id;
  return { id, role: ingress.role, name, by: "ingress" };
}

/** The hosts under which the page is reachable: the browser's host, which a proxy passes on in one of two headers. */
export function hostsOfIngress({ headers }: IncomingMessage): readonly string[] {
  return [headers.host, headers["x-forwarded-host"]].flatMap((host) =>
    typeof host === "string" ? host.toLowerCase() : [],
  );
}

/** The header's text for a log line. The header is UTF-8, but Node reads it octet by octet. */
function shown(header: string | string[] | undefined): string {
  if (typeof header !== "string") return "";
  const text = Buffer.from(header, "latin1").toString("utf8");
  return text
    .replaceAll(/[\p{Cc}\p{Cf}]/gu, " ")
    .trim()
    .slice(0, nameCharsMax);
}
