// What a person chose on the add-on's page, as a configuration of the gateway. Nothing here reads or writes a file.

/** The Supervisor asks the page for people that are logged in; no other container has this address. */
export const supervisorAddress = "172.30.32.2";
const consolePort = 9_464;
const udpPort = 1_883;
const dtlsPort = 10_888;

/**
 * @param options `/data/options.json`
 * @param service what the Supervisor says of the broker of this house; undefined: there is none
 * @returns the configuration, and the secrets that it names by files: `/data/secrets/NAME`
 */
export function configurationOf(options, service) {
  const { broker, username, password, discovery = true, dtls = false, serial = [], anybody = false } = options;
  const own = broker ? { url: broker, username, password } : undefined;
  const given = own ?? (service && { ...service, url: `${service.ssl ? "mqtts" : "mqtt"}://${hostOf(service)}` });
  if (!given)
    throw new Error(
      "there is no broker: install the Mosquitto add-on, or give `broker`, as in mqtt://192.168.1.5:1883",
    );
  const upstream = {
    url: given.url,
    mode: "aggregating",
    ...(given.username ? { username: given.username } : {}),
    ...(given.password ? { password: { file: "secrets/broker" } } : {}),
  };
  const transports = [
    { type: "udp", host: "0.0.0.0", port: udpPort },
    ...(dtls ? [{ type: "dtls", host: "0.0.0.0", port: dtlsPort }] : []),
    ...(serial.length > 0 ? [{ type: "serial", ports: serial }] : []),
  ];
  return {
    configuration: {
      transports,
      tryOutBroker: false,
      upstream,
      homeAssistant: { enabled: discovery },
      access: anybody ? { rules: [{ allow: "*" }] } : {},
      api: {
        host: "0.0.0.0",
        port: consolePort,
        ingress: { from: supervisorAddress, role: "operator" },
      },
      store: { folder: "store" },
      log: { level: options.log ?? "info" },
    },
    secrets: given.password ? { broker: given.password } : {},
  };
}

function hostOf({ host, port }) {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
