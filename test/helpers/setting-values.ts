/** For each key of the configuration a value that is not its default, and together a configuration that `check` takes. */
import { fileURLToPath } from "node:url";
import { configurationSchema } from "../../src/config/documentation.ts";
import { kindOf, type Node, rowsOf } from "../../src/console/settings-rows.ts";

const fixture = (name: string) => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));

/** Where any value of the type would not do. */
const special: Readonly<Record<string, unknown>> = {
  transports: [
    { type: "udp", name: "one", host: "127.0.0.1", port: 18_830, multicast: { group: "239.1.2.3", port: 18_831 } },
    { type: "ble", name: "radio", rssiMin: -80, pairing: "just-works" },
    {
      type: "dtls",
      name: "keyed",
      host: "127.0.0.1",
      certificates: { cert: fixture("server.pem"), key: fixture("server-key.pem"), ca: fixture("ca.pem") },
    },
    { type: "serial", name: "line", ports: ["/dev/no-such-line"], baudRate: 9_600 },
  ],
  "upstream.url": "mqtts://127.0.0.1:8884",
  "upstream.urls": ["mqtts://127.0.0.1:8884", "mqtts://127.0.0.1:8885"],
  "upstream.topicPrefix": "site/",
  "upstream.reconnect.maxSeconds": 90,
  "upstream.passwordCommand": ["node", "--version"],
  "upstream.credentials": [{ clients: "meter-*", username: "meters" }],
  "upstream.tls.ca": fixture("ca.pem"),
  "upstream.tls.cert": fixture("client.pem"),
  "upstream.tls.key": fixture("client-key.pem"),
  "upstream.tls.alpn": ["mqtt"],
  "upstream.tls.psk.identity": "gateway",
  upstreams: [{ name: "other", clients: ["x-*"], url: "mqtt://127.0.0.1:18884" }],
  "uplink.groups": [{ clients: "alarm-*", whenAway: "refuse" }],
  "topics.predefined": { "7": "seven" },
  "topics.predefinedFor": { meter: { "8": "eight" } },
  payloads: [{ topics: "tracker/+", format: "cayenne", raw: "{topic}/raw" }],
  "buffer.rules": [{ topics: "alarm/#", atLimit: "oldest" }],
  "retry.rules": [{ clients: "slow-*", intervalSeconds: 20 }],
  "control.topic": "site/gateway",
  "control.answerTopics": ["apps/#"],
  "access.clients": "{identity}-*",
  "access.publish": ["devices/{clientId}/#"],
  "access.subscribe": ["commands/#"],
  "access.limits": [{ clients: "meter-*", upPerSecond: 2 }],
  "access.qosMinusOne.publish": ["open/#"],
  "access.rules": [{ allow: "meter-*", from: ["127.0.0.1"] }],
  "access.site": ["127.0.0.1"],
  "access.qosMinusOne.from": ["127.0.0.1"],
  "access.forwarders.from": ["127.0.0.1"],
  "api.ingress.from": "172.30.32.2",
  "status.topic": "gateway/status",
  "deadLetters.topic": "gateway/dead",
  "store.folder": "other-data",
  "store.kind": "redis",
  "store.redis.url": "redis://127.0.0.1:6380/1",
  "store.redis.tls.ca": fixture("ca.pem"),
  "store.redis.tls.cert": fixture("client.pem"),
  "store.redis.tls.key": fixture("client-key.pem"),
  "fleet.listen": "192.0.2.1:1884",
  "fleet.announce": "192.0.2.2:1884",
  "log.level": "error",
  "api.host": "127.0.0.2",
  "api.hosts": ["gateway.example.org"],
  "api.proxies": ["192.0.2.0/24"],
  "api.tokens": [{ name: "graphs", role: "viewer", sha256: "a1".repeat(32) }],
};

/** All keys that are no sections, as the page shows them. */
export function everySetting(): readonly { readonly key: string; readonly node: Node; readonly value: unknown }[] {
  return rowsOf([], {}, {}, configurationSchema() as Node).map(({ key, node }) => ({
    key,
    node,
    value: special[key] ?? otherThanDefault(node),
  }));
}

function otherThanDefault(node: Node & { readonly minimum?: number; readonly maximum?: number }): unknown {
  const kind = kindOf(node);
  if (kind.kind === "choice") return kind.values.find((value) => value !== node.default);
  if (kind.kind === "number") {
    const { default: usual, minimum = 0, maximum = 1e9 } = node;
    if (typeof usual !== "number") return Math.min(maximum, minimum + 10);
    return usual + 1 <= maximum ? usual + 1 : usual - 1;
  }
  if (kind.kind === "text") return "some-text";
  if (kind.kind === "secret") return { env: "HOME" };
  throw new Error(`say a value for a ${JSON.stringify(node)}`);
}
