/** Options that `pub` and `sub` share, named as mosquitto_pub and mosquitto_sub name them. */
import { randomBytes } from "node:crypto";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { DeviceEvent, DeviceWill, Request, TopicNaming } from "../device/device.ts";
import type { DeviceCertificate, SecureDeviceOptions } from "../device/secure.ts";
import { certificateSuites, suites } from "../secure/suites.ts";
import { keyFromHex } from "../transports/dtls/key-ring.ts";
import { readSecret } from "../upstream/credentials.ts";
import type { QoS } from "../wire/fields.ts";
import { isTopicName, shortNameToId } from "../wire/topic.ts";
import { readDeviceCertificate } from "./device-certificate.ts";
import { UdpDevice } from "./udp-device.ts";

export interface DeviceCommandOptions {
  host: string;
  port?: number;
  pskIdentity?: string;
  pskFile?: string;
  pskVariable?: string;
  certFile?: string;
  keyFile?: string;
  caFile?: string;
  gatewayName?: string;
  id?: string;
  disableCleanSession?: boolean;
  keepalive: number;
  willTopic?: string;
  willPayload?: string;
  willQos: QoS;
  willRetain?: boolean;
  retryInterval: number;
  forwarderNode?: string;
  debug?: boolean;
}

export function addDeviceOptions(command: Command): Command {
  return command
    .option("-h, --host <host>", "the gateway's host", "127.0.0.1")
    .option("-p, --port <port>", "the gateway's UDP port (default: 1883; over DTLS 8883)", wholeNumber(1, 65_535))
    .option("-i, --id <id>", "client id (default: a random one)")
    .option("-c, --disable-clean-session", "keep subscriptions and topic ids for the next time")
    .option("-k, --keepalive <seconds>", "keep alive", wholeNumber(0, 65_535), 60)
    .option("--will-topic <topic>", "what is published when this client is lost: topic")
    .option("--will-payload <text>", "its payload")
    .addOption(new Option("--will-qos <qos>", "its QoS").argParser(qos).default(0))
    .option("--will-retain", "retain it")
    .option("--retry-interval <seconds>", "repeat after so many seconds without an answer", wholeNumber(1, 3_600), 5)
    .option("--psk-identity <identity>", "speak DTLS, as this identity (default: the client id)")
    .option("--psk-file <file>", "speak DTLS, with the key in this file, in hexadecimal")
    .option("--psk-variable <name>", "speak DTLS, with the key in this environment variable")
    .option("--cert-file <file>", "speak DTLS, with the certificate in this file (PEM, P-256)")
    .option("--key-file <file>", "its private key (PEM, not encrypted)")
    .option("--ca-file <file>", "who issued the gateway's certificate, or that certificate itself (PEM)")
    .option("--gateway-name <name>", "the name or address in the gateway's certificate (default: the host)")
    .option("--forwarder-node <hex>", "speak as a node with this id behind a forwarder")
    .option("-d, --debug", "show every message in words")
    .helpOption("--help", "show this help");
}

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < min || value > max)
      throw new InvalidArgumentError(`a whole number from ${min} to ${max}`);
    return value;
  };
}

export function qos(text: string): QoS {
  const value = Number(text);
  if (value === 0 || value === 1 || value === 2) return value;
  throw new InvalidArgumentError("0, 1 or 2");
}

export function openDevice(options: DeviceCommandOptions): UdpDevice {
  const certificate = certificateOf(options);
  const proved = certificate ? certificate.name : options.pskIdentity;
  const clientId = options.id ?? proved ?? `mqtt-sn-cli-${randomBytes(3).toString("hex")}`;
  return new UdpDevice({
    clientId,
    host: options.host,
    port: portOf(options),
    secure: certificate ? withCertificate(certificate) : secureOf(options, clientId),
    retryMs: options.retryInterval * 1_000,
    retryLimit: 2,
    forwarderNode:
      options.forwarderNode === undefined ? undefined : Uint8Array.from(Buffer.from(options.forwarderNode, "hex")),
    debug: options.debug === true,
  });
}

function portOf(options: DeviceCommandOptions): number {
  return options.port ?? (isSecure(options) ? 8_883 : 1_883);
}

function isSecure(options: DeviceCommandOptions): boolean {
  return hasKey(options) || hasCertificate(options);
}

function hasKey({ pskIdentity, pskFile, pskVariable }: DeviceCommandOptions): boolean {
  return (pskIdentity ?? pskFile ?? pskVariable) !== undefined;
}

function hasCertificate({ certFile, keyFile, caFile, gatewayName }: DeviceCommandOptions): boolean {
  return (certFile ?? keyFile ?? caFile ?? gatewayName) !== undefined;
}

function certificateOf(options: DeviceCommandOptions) {
  if (!hasCertificate(options)) return undefined;
  const { certFile: cert, keyFile: key, caFile: ca, gatewayName = options.host } = options;
  if (hasKey(options))
    throw new InvalidArgumentError("a key or a certificate: --psk-... and --cert-file do not go together");
  if (cert === undefined || key === undefined || ca === undefined)
    throw new InvalidArgumentError("a certificate needs all of --cert-file, --key-file and --ca-file");
  return readDeviceCertificate({ cert, key, ca, gatewayName });
}

function withCertificate(certificate: DeviceCertificate): SecureDeviceOptions {
  return { identity: "", key: new Uint8Array(), certificate, suites: Object.values(certificateSuites), cidOctets: 0 };
}

/** The key itself is never an option, because every user of a machine can read command lines. */
function secureOf(options: DeviceCommandOptions, clientId: string): SecureDeviceOptions | undefined {
  if (!hasKey(options)) return undefined;
  const { pskFile: file, pskVariable: env } = options;
  if ((file === undefined) === (env === undefined))
    throw new InvalidArgumentError("for DTLS say where the key is: --psk-file or --psk-variable");
  const key = keyFromHex(readSecret(file === undefined ? { env: env ?? "" } : { file }).trim());
  if (!key) throw new InvalidArgumentError(`the key in ${file ?? env} is to be 16 to 64 octets in hexadecimal`);
  return { identity: options.pskIdentity ?? clientId, key, suites: Object.values(suites), cidOctets: 0 };
}

export function willOf(options: DeviceCommandOptions): DeviceWill | undefined {
  if (options.willTopic === undefined) return undefined;
  return {
    topicName: options.willTopic,
    payload: new TextEncoder().encode(options.willPayload ?? ""),
    qos: options.willQos,
    retain: options.willRetain === true,
  };
}

/** The kind of topic in messages: predefined, short (by option, or for a name of two octets), otherwise by name. */
export function namingOf(topic: { topic?: string; predefined?: number; short?: string }): TopicNaming | undefined {
  if (topic.predefined !== undefined) return { by: "predefined", topicId: topic.predefined };
  if (topic.short !== undefined) return { by: "short", topicName: topic.short };
  if (topic.topic === undefined) return undefined;
  const isShort = isTopicName(topic.topic) && shortNameToId(topic.topic) !== undefined;
  return isShort ? { by: "short", topicName: topic.topic } : { by: "name", topicName: topic.topic };
}

const returnCodeWords: Readonly<Record<number, string>> = {
  1: "congestion: the gateway has no room, or no broker; try again later",
  2: "invalid topic id",
  3: "not supported: the gateway or the broker does not accept this (see the gateway's log)",
};

/** A failure in words, with advice if no gateway answered. */
export function failureWords(event: Extract<DeviceEvent, { event: "failed" }>, options: DeviceCommandOptions): string {
  const what = requestWords(event.request);
  if (event.returnCode !== undefined) {
    return `${what}: rejected, ${returnCodeWords[event.returnCode] ?? `code ${event.returnCode}`}`;
  }
  return (
    `${what}: no answer from ${options.host}:${portOf(options)}. ` +
    "Is the gateway running there, is this its MQTT-SN port (UDP, not the broker's), and does a firewall let UDP through?"
  );
}

function requestWords(request: Request): string {
  if (request.kind === "register") return `register "${request.topicName}"`;
  return request.kind;
}
