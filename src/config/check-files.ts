/**
 * Checks what the configuration names outside itself: opens and parses every file, and looks for every address on this
 * machine.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { GatewayError } from "../errors.ts";
import { readCertificateRing } from "../transports/dtls/certificates.ts";
import { type KeySource, readKeys } from "../transports/dtls/key-ring.ts";
import type { SecretReference, UpstreamOptions } from "../upstream/options.ts";
import type { PayloadDeclaration } from "./payload-options.ts";
import type { GatewayConfig } from "./schema.ts";
import { readScripts, syntaxProblem } from "./scripts.ts";

export interface Looked {
  /** Problems that prevent the gateway from working. */
  readonly problems: string[];
  /** The value is valid, but should be changed. */
  readonly warnings: string[];
}

const fleetKeyBytesMin = 16;

/** `now`: milliseconds since 1970. */
export function lookAtFiles(config: GatewayConfig, now = Date.now()): Looked {
  const looked: Looked = { problems: [], warnings: [] };
  const all = [
    ["upstream", config.upstream] as const,
    ...config.upstreams.map((each, i) => [`upstreams.${i}`, each] as const),
  ];
  for (const [path, options] of all) lookAtUpstream(looked, path, options, now);
  for (const [i, transport] of config.transports.entries()) lookAtTransport(looked, `transports.${i}`, transport, now);
  for (const [i, each] of config.payloads.entries()) lookAtScript(looked, `payloads.${i}.script`, each);
  if (config.api.enabled) lookAtHost(looked, "api.host", config.api.host);
  if (config.store.kind !== "memory") lookAtFolder(looked, "store.folder", config.store.folder);
  if (config.fleet.enabled && config.fleet.key) lookAtFleetKey(looked, config.fleet.key);
  if (config.store.kind === "redis") lookAtRedis(looked, config.store.redis, now);
  return looked;
}

function lookAtScript(looked: Looked, path: string, declaration: PayloadDeclaration): void {
  const { script } = declaration;
  if (script === undefined || read(looked, path, script) === undefined) return;
  try {
    const [problem] = readScripts([declaration]).flatMap((source) => syntaxProblem(source) ?? []);
    if (problem !== undefined) looked.problems.push(`${path}: ${problem}`);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    looked.problems.push(`${path}: ${error.message}`);
  }
}

function lookAtUpstream(looked: Looked, path: string, options: UpstreamOptions, now: number): void {
  const { tls, credentials } = options;
  const groups = [
    [path, options] as const,
    ...credentials.map((group, i) => [`${path}.credentials.${i}`, group] as const),
  ];
  for (const [where, { password, passwordCommand }] of groups) {
    if (password) lookAtSecret(looked, `${where}.password`, password);
    if (passwordCommand) lookAtProgram(looked, `${where}.passwordCommand`, passwordCommand[0] ?? "");
  }
  if (tls?.ca !== undefined) lookAtCertificates(looked, `${path}.tls.ca`, tls.ca, now);
  if (tls?.psk) {
    const key = lookAtSecret(looked, `${path}.tls.psk.key`, tls.psk.key);
    if (key !== undefined && !/^([0-9a-f]{2})+$/i.test(key))
      looked.problems.push(
        `${path}.tls.psk.key: what ${placeOf(tls.psk.key)} holds is not hexadecimal (two of 0-9, a-f for each octet, nothing else); write it so`,
      );
  }
  const pairs = [
    ...(tls ? [[`${path}.tls`, tls] as const] : []),
    ...credentials.map((group, i) => [`${path}.credentials.${i}`, group] as const),
  ];
  for (const [where, pair] of pairs) lookAtPair(looked, where, pair, now);
}

function lookAtFleetKey(looked: Looked, reference: SecretReference): void {
  const key = lookAtSecret(looked, "fleet.key", reference);
  if (key !== undefined && Buffer.byteLength(key) < fleetKeyBytesMin)
    looked.problems.push(
      `fleet.key: what ${placeOf(reference)} holds has fewer than ${fleetKeyBytesMin} octets; make one with: openssl rand -hex 32`,
    );
}

function lookAtRedis(looked: Looked, { url, password, tls }: GatewayConfig["store"]["redis"], now: number): void {
  if (password) lookAtSecret(looked, "store.redis.password", password);
  if (tls?.ca !== undefined) lookAtCertificates(looked, "store.redis.tls.ca", tls.ca, now);
  if (tls) lookAtPair(looked, "store.redis.tls", tls, now);
  if (tls && !url.startsWith("rediss:"))
    looked.warnings.push("store.redis.tls: without TLS it has no effect; type rediss:// in store.redis.url");
  if (password && !url.startsWith("rediss:") && !isHere(url))
    looked.warnings.push(
      "store.redis.url: password and sessions pass the network unencrypted; use rediss://, or keep the server on this machine",
    );
}

function isHere(url: string): boolean {
  return /^rediss?:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:|\/|$)/.test(url);
}

interface Pair {
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly passphrase?: SecretReference | undefined;
}

function lookAtPair(looked: Looked, path: string, { cert, key, passphrase }: Pair, now: number): void {
  const [certificate] = cert === undefined ? [] : lookAtCertificates(looked, `${path}.cert`, cert, now);
  const phrase = passphrase && lookAtSecret(looked, `${path}.passphrase`, passphrase);
  const text = key === undefined ? undefined : read(looked, `${path}.key`, key);
  if (key === undefined || text === undefined) return;
  warnIfOpen(looked, `${path}.key`, key);
  try {
    const privateKey = createPrivateKey({ key: text, ...(phrase !== undefined && { passphrase: phrase }) });
    if (certificate && !certificate.checkPrivateKey(privateKey))
      looked.problems.push(
        `${path}.key: ${key} does not belong to the certificate in ${cert}; take the key that it was made with`,
      );
  } catch {
    const isEncrypted = /ENCRYPTED/.test(text);
    if (isEncrypted && passphrase === undefined)
      looked.problems.push(`${path}.key: ${key} is encrypted; type "passphrase": { "file": "..." } beside it`);
    else if (isEncrypted) looked.problems.push(`${path}.passphrase: does not open ${key}`);
    else
      looked.problems.push(
        `${path}.key: ${key} holds no private key; it begins with -----BEGIN PRIVATE KEY----- (PEM)`,
      );
  }
}

/** All certificates of a PEM file. */
function lookAtCertificates(looked: Looked, path: string, file: string, now: number): X509Certificate[] {
  const text = read(looked, path, file);
  if (text === undefined) return [];
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) {
    const hint = isBinary(file) ? `; it seems to be DER: openssl x509 -inform der -in ${file} -out ${file}.pem` : "";
    looked.problems.push(
      `${path}: ${file} holds no certificate; it begins with -----BEGIN CERTIFICATE----- (PEM)${hint}`,
    );
  }
  return blocks.flatMap((block, i) => {
    try {
      const certificate = new X509Certificate(block);
      const until = Date.parse(certificate.validTo);
      const which = blocks.length > 1 ? `certificate ${i + 1} in ${file}` : `the certificate in ${file}`;
      if (until < now) looked.warnings.push(`${path}: ${which} has expired on ${day(until)}; get a new one`);
      else if (until < now + 30 * 86_400_000)
        looked.warnings.push(`${path}: ${which} expires on ${day(until)}; get a new one`);
      if (Date.parse(certificate.validFrom) > now)
        looked.warnings.push(
          `${path}: ${which} is valid from ${day(Date.parse(certificate.validFrom))} on; is the clock of this machine right?`,
        );
      return [certificate];
    } catch {
      looked.problems.push(`${path}: certificate ${i + 1} in ${file} is damaged; copy the file again`);
      return [];
    }
  });
}

function isBinary(file: string): boolean {
  return readFileSync(file)[0] === 0x30;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function placeOf(reference: SecretReference): string {
  return "file" in reference ? reference.file : `the variable ${reference.env}`;
}

/** The content of the secret, for further checks; undefined: it cannot be read. */
function lookAtSecret(looked: Looked, path: string, reference: SecretReference): string | undefined {
  if ("env" in reference) {
    const value = process.env[reference.env];
    if (value === undefined)
      looked.problems.push(
        `${path}.env: the variable ${reference.env} is not set here; type: export ${reference.env}=... before the start (in a unit: EnvironmentFile=)`,
      );
    else if (value === "") looked.warnings.push(`${path}.env: the variable ${reference.env} is empty`);
    return value;
  }
  const text = read(looked, `${path}.file`, reference.file);
  if (text === undefined) return undefined;
  warnIfOpen(looked, `${path}.file`, reference.file);
  const value = text.replace(/\r?\n$/, "");
  if (value === "") looked.warnings.push(`${path}.file: ${reference.file} is empty`);
  else if (/[\r\n]|^\s|\s$/.test(value))
    looked.warnings.push(
      `${path}.file: what ${reference.file} holds begins or ends with a blank, or has several lines; all of it is the secret`,
    );
  return value;
}

function warnIfOpen(looked: Looked, path: string, file: string): void {
  if ((statSync(file).mode & 0o004) !== 0)
    looked.warnings.push(`${path}: everybody on this machine can read ${file}; type: chmod o-rwx ${file}`);
}

function lookAtProgram(looked: Looked, path: string, program: string): void {
  const places = program.includes("/")
    ? [program]
    : (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, program));
  if (places.some((file) => isAllowed(file, constants.X_OK) && statSync(file).isFile())) return;
  const isThere = places.some((file) => isAllowed(file, constants.F_OK));
  looked.problems.push(
    isThere
      ? `${path}: ${program} may not be started; type: chmod +x ${program}`
      : `${path}: there is no program ${program}; name it with its folder`,
  );
}

type Transport = GatewayConfig["transports"][number];

function lookAtDtlsKeys(looked: Looked, path: string, source: KeySource): void {
  if (source === undefined) return; // only the keys of `device add` are used
  if ("command" in source) return lookAtProgram(looked, `${path}.command`, source.command[0] ?? "");
  try {
    const { warnings, all } = readKeys(source);
    looked.warnings.push(...warnings.map((warning) => `${path}: ${warning}`));
    if (all?.size === 0) looked.warnings.push(`${path}: there is no key in it, so no device can connect`);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    looked.problems.push(`${path}: ${error.message}`);
  }
}

function lookAtDtlsCertificates(
  looked: Looked,
  path: string,
  options: NonNullable<Extract<Transport, { type: "dtls" }>["certificates"]>,
  now: number,
): void {
  try {
    const { warnings, pinned } = readCertificateRing(options, () => now);
    looked.warnings.push(...warnings.map((warning) => `${path}: ${warning}`));
    if (options.pinned && pinned.size === 0)
      looked.warnings.push(`${path}.pinned: there is no NAME.pem in ${options.pinned.folder}`);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    looked.problems.push(`${path}: ${error.message}`);
  }
}

function lookAtTransport(looked: Looked, path: string, transport: Transport, now: number): void {
  if (transport.type === "udp") {
    lookAtHost(looked, `${path}.host`, transport.host);
    const there = networkInterfaces();
    for (const [i, name] of (transport.multicast?.interfaces ?? []).entries()) {
      const isKnown = isIP(name) === 0 ? there[name] !== undefined : addresses().includes(name);
      const where = `${path}.multicast.interfaces.${i}`;
      if (!isKnown)
        looked.problems.push(
          `${where}: this machine has no "${name}"; it has ${isIP(name) === 0 ? Object.keys(there).join(", ") : addresses().join(", ")}`,
        );
      else if (isIP(name) === 0 && isIP(transport.multicast?.group ?? "") === 4)
        looked.problems.push(
          `${where}: an IPv4 group is joined by address; type "${there[name]?.find(({ family }) => family === "IPv4")?.address ?? "192.0.2.1"}"`,
        );
    }
  }
  if (transport.type === "dtls") {
    lookAtHost(looked, `${path}.host`, transport.host);
    lookAtDtlsKeys(looked, `${path}.keys`, transport.keys);
    if (transport.certificates) lookAtDtlsCertificates(looked, `${path}.certificates`, transport.certificates, now);
  }
  if (transport.type === "serial") {
    for (const [i, line] of transport.ports.entries()) {
      const where = `${path}.ports.${i}`;
      if (!isAllowed(line, constants.F_OK))
        looked.warnings.push(`${where}: ${line} is not there now (not plugged in?); see: ls -l /dev/serial/by-id/`);
      else if (!isAllowed(line, constants.R_OK | constants.W_OK))
        looked.problems.push(
          `${where}: no right to use ${line}; type: sudo usermod -aG dialout $USER, then log in again`,
        );
    }
  }
  if (transport.type !== "ble") return;
  lookAtPasskey(looked, `${path}.bonding.passkey`, transport.bonding.passkey);
  for (const [i, { passkey }] of transport.bonding.devices.entries())
    lookAtPasskey(looked, `${path}.bonding.devices.${i}.passkey`, passkey);
  const { keys, bthome, countersFile } = transport.broadcast;
  lookAtKeys(looked, `${path}.broadcast.keys`, keys, /^([0-9a-f]{2}){16,64}$/i, "32 to 128");
  lookAtKeys(looked, `${path}.broadcast.bthome.keys`, bthome.keys, /^[0-9a-f]{32}$/i, "32");
  if (countersFile !== undefined) lookAtFolder(looked, `${path}.broadcast.countersFile`, dirname(countersFile));
}

function lookAtPasskey(looked: Looked, path: string, reference: SecretReference | undefined): void {
  const passkey = reference && lookAtSecret(looked, path, reference);
  if (reference && passkey !== undefined && !/^\d{6}$/.test(passkey.trim()))
    looked.problems.push(`${path}: what ${placeOf(reference)} holds is not six digits; write it so`);
}

function lookAtKeys(
  looked: Looked,
  path: string,
  keys: Readonly<Record<string, SecretReference>>,
  pattern: RegExp,
  digits: string,
): void {
  for (const [address, reference] of Object.entries(keys)) {
    const key = lookAtSecret(looked, `${path}.${address}`, reference);
    if (key !== undefined && !pattern.test(key.trim()))
      looked.problems.push(
        `${path}.${address}: what ${placeOf(reference)} holds is not ${digits} hexadecimal digits; write it so`,
      );
  }
}

function addresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address));
}

function lookAtHost(looked: Looked, path: string, host: string): void {
  const plain = host.replace(/%.*$/, "");
  if (host === "localhost" || plain === "0.0.0.0" || plain === "::" || addresses().includes(plain)) return;
  if (isIP(plain) === 4 && plain.startsWith("127.")) return;
  if (isIP(plain) === 0)
    looked.problems.push(
      `${path}: "${host}" is a name; type an address of this machine: "0.0.0.0" for all, or ${addresses()
        .map((each) => `"${each}"`)
        .join(", ")}`,
    );
  else
    looked.problems.push(
      `${path}: ${host} is no address of this machine; type "0.0.0.0" for all, or ${addresses()
        .map((each) => `"${each}"`)
        .join(", ")}`,
    );
}

/** The folder may be missing, but then it must be possible to make it. */
function lookAtFolder(looked: Looked, path: string, folder: string): void {
  const found = statSync(folder, { throwIfNoEntry: false });
  if (found && !found.isDirectory()) {
    looked.problems.push(`${path}: ${folder} is a file; name a folder`);
    return;
  }
  let nearest = folder;
  while (!isAllowed(nearest, constants.F_OK) && dirname(nearest) !== nearest) nearest = dirname(nearest);
  const above = statSync(nearest, { throwIfNoEntry: false });
  if (above && !above.isDirectory())
    looked.problems.push(`${path}: ${nearest} is a file, so ${folder} cannot be made; name another folder`);
  else if (!isAllowed(nearest, constants.R_OK | constants.W_OK | constants.X_OK) || isVirtual(nearest))
    looked.problems.push(
      `${path}: nothing can be written in ${nearest}; name another folder, or type: sudo mkdir -p ${folder} && sudo chown $USER ${folder}`,
    );
}

/** Not even root may write there. */
function isVirtual(folder: string): boolean {
  return /^\/(proc|sys)(\/|$)/.test(folder);
}

function isAllowed(file: string, mode: number): boolean {
  try {
    accessSync(file, mode);
    return true;
  } catch {
    return false;
  }
}

function read(looked: Looked, path: string, file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT")
      looked.problems.push(`${path}: there is no file ${file}; names are relative to the configuration`);
    else if (code === "EACCES")
      looked.problems.push(
        `${path}: no right to read ${file}; type: sudo chown $USER ${file} (of the user that runs the gateway)`,
      );
    else if (code === "EISDIR") looked.problems.push(`${path}: ${file} is a folder; name the file in it`);
    else looked.problems.push(`${path}: ${file} cannot be read (${String(code)})`);
    return undefined;
  }
}
