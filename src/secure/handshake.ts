/**
 * The server's side of a handshake. With a pre-shared key:
 *
 *     ClientHello (with cookie)            ->
 *                                          <-  ServerHello, ServerHelloDone
 *     ClientKeyExchange, CCS, Finished     ->
 *                                          <-  CCS, Finished        (when the context is stored)
 *
 * With certificates the second flight also has Certificate, ServerKeyExchange and CertificateRequest, and the third
 * Certificate and CertificateVerify: see client-flight.ts.
 *
 * A wrong key and an unknown identity have the same effect: the records of the client cannot be decrypted, and it gets
 * no more answers. [RFC 4279 2: a server may hide which]
 */
import { helloSeqOf } from "./begun.ts";
import {
  ecdsaSha256,
  encodeCertificateRequest,
  encodeCertificates,
  encodeServerKeyExchange,
  exchangeParameters,
  numbersIn,
  p256,
} from "./certificate-messages.ts";
import { giveUp } from "./client-flight.ts";
import type { Common } from "./common.ts";
import { newLastFlight, randomNumber, SecureContext } from "./context.ts";
import type { Credentials } from "./credentials.ts";
import { encodeMessage, inFragments, type Message, messageTypes } from "./handshake-messages.ts";
import { type Agreement, Handshake } from "./handshake-state.ts";
import { type ClientHello, encodeServerHello, extensionTypes, renegotiationScsv } from "./hello.ts";
import { randomOctets, verifyData } from "./key-schedule.ts";
import type { Begun, Instant } from "./messages.ts";
import { isEqual, joined, none, Reader, vector } from "./octets.ts";
import { contentTypes, openRecord, plainRecord, type RecordIn } from "./record.ts";
import { changeOf, sendLastFlight } from "./sending.ts";
import type { Suite } from "./suites.ts";

/** Fatal alerts that are sent before there are keys. [RFC 5246 7.2] */
export const alerts = { handshakeFailure: 40, illegalParameter: 47, decodeError: 50, protocolVersion: 70 } as const;

const datagramOctetsMax = 1_200;
const fragmentOctetsMax = 1_100;

export interface HelloAt {
  readonly address: string;
  readonly hello: ClientHello;
  readonly message: Message;
  /** Number of its record. */
  readonly recordSeq: number;
}

/** Begins a handshake, or returns the number of an alert. The cookie was checked before. */
export function beginHandshake(common: Common, at: HelloAt, now: Instant): Handshake | number {
  const { hello, address, message, recordSeq } = at;
  const agreed = agreementOn(common, hello, address);
  if (typeof agreed === "number") return agreed;
  const handshake = new Handshake(agreed, { messageSeq: message.seq, recordSeq, begun: common.nextBegun() }, now);
  handshake.transcript.push(encodeMessage(message));
  say(handshake, messageTypes.serverHello, serverHello(agreed, hello));
  if (agreed.credentials) sayExchange(common, handshake, agreed.credentials);
  say(handshake, messageTypes.serverHelloDone, none);
  return handshake;
}

/** Continues a handshake that another gateway of the fleet began, or returns undefined: it cannot be continued here. */
export function continueHandshake(common: Common, begun: Begun, identity: string, now: Instant): Handshake | undefined {
  const { crypto, options } = common;
  const { address, suite, cid, secretHalf } = begun;
  const credentials = suite.by === "certificate" ? options.credentials?.() : undefined;
  const agreement = secretHalf && crypto.agreementOf(secretHalf);
  if (suite.by === "certificate" && !(credentials && agreement)) return undefined;
  if (!options.suites.includes(suite) || (cid && cid.length !== options.cidOctets)) return undefined;
  const agreed = { ...begun, host: hostOf(address), credentials };
  const numbers = { messageSeq: helloSeqOf(begun), recordSeq: begun.plainNext, begun: common.nextBegun() };
  const handshake = new Handshake(agreed, numbers, now);
  handshake.transcript.push(begun.transcript);
  handshake.messageNext = begun.messageNext;
  handshake.agreement = agreement;
  handshake.adoptedFor = identity;
  return handshake;
}

/** Sends the flight in the fewest datagrams that every network can carry. */
export function sendFlight(common: Common, handshake: Handshake): void {
  const fragments = handshake.flight.flatMap((message) => inFragments(message, fragmentOctetsMax));
  let records: Uint8Array[] = [];
  let octets = 0;
  const leave = () => {
    if (records.length > 0) common.say({ kind: "transmit", address: handshake.address, bytes: joined(...records) });
    records = [];
    octets = 0;
  };
  for (const fragment of fragments) {
    const record = plainRecord(contentTypes.handshake, handshake.plainNext++, fragment);
    if (octets + record.length > datagramOctetsMax) leave();
    records.push(record);
    octets += record.length;
  }
  leave();
}

/**
 * Handles an encrypted record for this handshake. True: it was authentic, or may prove to be. `now`: the time of this
 * input.
 */
export function onSealed(common: Common, handshake: Handshake, record: RecordIn, now: Instant): boolean {
  if (!handshake.secrets) {
    handshake.keepEarly(record);
    return true;
  }
  if (!handshake.window.isFresh(record.seq)) return false;
  const opened = openRecord(handshake.secrets.read, record);
  if (!opened) return false;
  handshake.window.take(record.seq);
  if (opened.type === contentTypes.handshake && handshake.stage === "finished")
    onFinished(common, handshake, opened.content, now);
  return true;
}

/** A record cannot be decrypted, because the client has another key. Reported once for each handshake. */
export function noteBadKey(common: Common, handshake: Handshake): void {
  if (handshake.isBadKeyTold || handshake.stage !== "finished") return;
  handshake.isBadKeyTold = true;
  common.counters.badKeys++;
  const { address, identity, secrets } = handshake;
  common.say({ kind: "badKey", identity, address, isKnown: secrets?.isKnown === true });
}

function agreementOn(common: Common, hello: ClientHello, address: string): Agreement | number {
  const { crypto, options } = common;
  if (!hello.isDtls12) return alerts.protocolVersion;
  if (!hello.takesPlain) return alerts.illegalParameter;
  const credentials = options.credentials?.();
  const suite = firstCommon(hello, options.suites, credentials !== undefined);
  const renegotiation = hello.extensions.get(extensionTypes.renegotiationInfo);
  // In a first handshake the extension is an empty vector. [RFC 5746 3.6]
  if (!suite || (renegotiation && !isEqual(renegotiation, emptyVector))) return alerts.handshakeFailure;
  const cidExtension = hello.extensions.get(extensionTypes.connectionId);
  const peerCid = cidExtension && cidIn(cidExtension);
  if (cidExtension && !peerCid) return alerts.decodeError;
  return {
    address,
    host: hostOf(address),
    suite,
    credentials: suite.by === "certificate" ? credentials : undefined,
    clientRandom: hello.random.slice(),
    serverRandom: crypto.random(randomOctets),
    isExtended: hello.extensions.has(extensionTypes.extendedMasterSecret),
    cid: peerCid && options.cidOctets > 0 ? newCid(common) : undefined,
    peerCid: peerCid && options.cidOctets > 0 && peerCid.length > 0 ? peerCid.slice() : undefined,
  };
}

/** The client's order decides. */
function firstCommon(hello: ClientHello, spoken: readonly Suite[], hasCredentials: boolean): Suite | undefined {
  const takesCertificates = hasCredentials && takesP256(hello);
  for (const id of hello.suites) {
    const suite = spoken.find((each) => each.id === id);
    if (suite && (suite.by === "psk" || takesCertificates)) return suite;
  }
  return undefined;
}

/**
 * True if the client supports P-256, uncompressed points and the signature. A client that names no groups or forms
 * supports all. [RFC 8422 5.1, RFC 5246 7.4.1.4.1]
 */
function takesP256({ extensions }: ClientHello): boolean {
  const groups = extensions.get(extensionTypes.supportedGroups);
  const forms = extensions.get(extensionTypes.pointFormats);
  const signatures = extensions.get(extensionTypes.signatureAlgorithms);
  return (
    (!groups || numbersIn(groups, 2).includes(p256)) &&
    (!forms || numbersIn(forms, 1).includes(0)) &&
    signatures !== undefined &&
    numbersIn(signatures, 2).includes(ecdsaSha256)
  );
}

/** The server's part of an exchange with certificates on both sides. [RFC 8422 2] */
function sayExchange(common: Common, handshake: Handshake, { chain, sign }: Credentials): void {
  const { clientRandom, serverRandom } = handshake.agreed;
  handshake.agreement = common.crypto.agreement();
  const parameters = exchangeParameters(handshake.agreement.point);
  const signature = sign(joined(clientRandom, serverRandom, parameters));
  say(handshake, messageTypes.certificate, encodeCertificates(chain));
  say(handshake, messageTypes.serverKeyExchange, encodeServerKeyExchange(parameters, signature));
  say(handshake, messageTypes.certificateRequest, encodeCertificateRequest());
}

/** Undefined: the lengths in the extension do not fit. */
function cidIn(extension: Uint8Array): Uint8Array | undefined {
  const reader = new Reader(extension);
  const cid = reader.vector(1);
  return reader.ok && reader.left === 0 ? cid : undefined;
}

function newCid({ crypto, options, contexts }: Common): Uint8Array {
  for (;;) {
    const cid = crypto.random(options.cidOctets);
    if (!contexts.ofCid(cid)) return cid;
  }
}

export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":"));
}

function serverHello(agreed: Agreement, hello: ClientHello): Uint8Array {
  const { serverRandom, suite, isExtended, cid } = agreed;
  const { extensions: asked, suites } = hello;
  const extensions = new Map<number, Uint8Array>();
  if (asked.has(extensionTypes.renegotiationInfo) || suites.includes(renegotiationScsv))
    extensions.set(extensionTypes.renegotiationInfo, emptyVector);
  if (suite.by === "certificate" && asked.has(extensionTypes.pointFormats))
    extensions.set(extensionTypes.pointFormats, Uint8Array.of(1, 0));
  if (isExtended) extensions.set(extensionTypes.extendedMasterSecret, none);
  if (cid) extensions.set(extensionTypes.connectionId, vector(cid, 1));
  return encodeServerHello({ random: serverRandom, suite: suite.id, extensions });
}

function say(handshake: Handshake, type: number, body: Uint8Array): void {
  const message = encodeMessage({ type, seq: handshake.messageNext++, body });
  handshake.transcript.push(message);
  handshake.flight.push(message);
}

function onFinished(common: Common, handshake: Handshake, content: Uint8Array, now: Instant): void {
  const { secrets } = handshake;
  const [head, body] = [content.subarray(0, 12), content.subarray(12)];
  const seq = ((head[4] ?? 0) << 8) | (head[5] ?? 0);
  const message = { type: messageTypes.finished, seq, body };
  // Finished is sent in one fragment, and is the last message of its flight.
  if (!secrets || seq !== handshake.assembly.next || !isEqual(content, encodeMessage(message))) return;
  const { crypto } = common;
  if (!isEqual(body, verifyData(crypto, secrets.master, "client", handshake.transcript)))
    return giveUp(common, handshake);
  // An earlier owner of the shard has continued the same handshake, and the context was read from the store.
  const before = common.contexts.of(handshake.identity);
  if (before && isEqual(before.keys.serverKey, secrets.keys.serverKey)) return giveUp(common, handshake);
  handshake.transcript.push(content);
  const verify = verifyData(crypto, secrets.master, "server", handshake.transcript);
  const finished = encodeMessage({ type: messageTypes.finished, seq: handshake.messageNext++, body: verify });
  store(common, handshake, contextOf(common, handshake, finished, now), now);
}

function contextOf(common: Common, handshake: Handshake, finished: Uint8Array, now: Instant): SecureContext {
  const { agreed, secrets, identity, window } = handshake;
  if (!secrets) throw new RangeError("a context is made of secrets");
  const { keys, keyMark: mark } = secrets;
  const { suite, cid, peerCid, address, clientRandom } = agreed;
  const start = { ceiling: 0, readTop: window.top, lastFlight: undefined };
  const state = { identity, suite, cid, peerCid, keys, keyMark: mark, address, ...start };
  // A handshake of another gateway is continued once. If it happened twice all the same, no number may repeat.
  const first = handshake.adoptedFor !== undefined ? randomNumber(common.crypto) : 0;
  const context = new SecureContext(common.crypto, state, window, first, now);
  context.begun = handshake.begun;
  context.lastFlight = newLastFlight(finished, handshake.plainNext, clientRandom);
  return context;
}

/** Finished is sent after the context was stored, so that a crash cannot make it untrue. */
function store(common: Common, handshake: Handshake, context: SecureContext, now: Instant): void {
  const { identity } = context;
  if (isOutdated(common, context)) return common.contexts.removeHandshake(handshake);
  handshake.stage = "stored";
  const ceiling = context.ceilingToAsk();
  if (ceiling === undefined) throw new RangeError("a new context has no numbers yet");
  const change = changeOf(context);
  common.noteStoring(identity, 1);
  common.persist([change], (ok) => {
    common.noteStoring(identity, -1);
    context.ceilingStored(ceiling, ok);
    const isWanted = common.contexts.handshakeAt(handshake.address) === handshake;
    if (isWanted) common.contexts.removeHandshake(handshake);
    if (!ok) common.counters.handshakesNotStored++;
    if (ok && isWanted && !isOutdated(common, context)) open(common, context, now);
    else storeWhoIs(common, identity);
  });
}

/** True if the device began another handshake after this one, and has finished it. */
function isOutdated({ contexts }: Common, { identity, begun }: SecureContext): boolean {
  return (contexts.of(identity)?.begun ?? 0) > begun;
}

function open(common: Common, context: SecureContext, now: Instant): void {
  common.counters.handshakesDone++;
  common.contexts.add(context);
  const { identity, address, suite, cid } = context;
  common.say({ kind: "opened", identity, address, suite: suite.name, by: suite.by, hasCid: cid !== undefined });
  sendLastFlight(common, context, now);
}

/**
 * Makes the store agree with the memory: the present context of this identity is stored again, or its record is
 * deleted.
 */
function storeWhoIs(common: Common, identity: string): void {
  if (common.isStoring(identity)) return;
  const context = common.contexts.of(identity);
  common.persist([context ? changeOf(context) : { identity, record: undefined }], () => {});
}

const emptyVector = Uint8Array.of(0);
