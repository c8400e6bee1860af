/** The address of a broker, and the form of it that people may see. */

export interface BrokerUrl {
  readonly scheme: "mqtt" | "mqtts" | "ws" | "wss";
  /** The host without the brackets of an IPv6 address. */
  readonly host: string;
  /** Undefined: the port of the scheme. */
  readonly port: number | undefined;
  readonly isSecure: boolean;
  /** For WebSocket: the whole url, without user and password. */
  readonly webSocketUrl: string;
  /** The url as it may be logged. */
  readonly shown: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

export const usualPorts = { mqtt: 1_883, mqtts: 8_883, ws: 80, wss: 443 } as const;

/** Undefined: the text is not a valid url. */
export function parseBrokerUrl(text: string): BrokerUrl | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const scheme = url.protocol.slice(0, -1);
  if (scheme !== "mqtt" && scheme !== "mqtts" && scheme !== "ws" && scheme !== "wss") return undefined;
  if (url.hostname === "") return undefined;
  const username = decoded(url.username);
  const password = decoded(url.password);
  url.username = "";
  url.password = "";
  return {
    scheme,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? undefined : Number(url.port),
    isSecure: scheme === "mqtts" || scheme === "wss",
    webSocketUrl: url.href,
    shown: withoutSecrets(text),
    username: username === "" ? undefined : username,
    password: password === "" ? undefined : password,
  };
}

/** Removes user, password and query, even if the text is no valid url. */
export function withoutSecrets(text: string): string {
  // Everything up to the last @ is removed: a password with a slash is a mistake, but still a secret.
  return text.replace(/:\/\/.*@/s, "://***@").replace(/\?.*$/s, "?***");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
