/**
 * The client's answer to the server's first flight, up to its Finished: only ClientKeyExchange with a pre-shared key;
 * otherwise Certificate, ClientKeyExchange and CertificateVerify. [RFC 4279 2, RFC 5246 7.4.6 to 7.4.8]
 *
 * A client with an invalid certificate gets an alert with the reason, because this helps no attacker to guess anything. A client with a
 * wrong pre-shared key gets none.
 */
import { begunOf } from "./begun.ts";
import { readCertificates, readSignature } from "./certificate-messages.ts";
import type { Common } from "./common.ts";
import { direction } from "./context.ts";
import { type CertificateRefusal, certificateRefusals } from "./credentials.ts";
import { encodeMessage, type Fragment, type Message, messageTypes } from "./handshake-messages.ts";
import type { Handshake, Secrets } from "./handshake-state.ts";
import { masterSecret, premasterOfPsk, trafficKeys } from "./key-schedule.ts";
import type { Instant } from "./messages.ts";
import { joined, octetsOf, Reader, textOf } from "./octets.ts";
import { contentTypes, plainRecord } from "./record.ts";
import { keyMarkOctets } from "./record-of.ts";

/** The longest identity in octets. [RFC 4279 5.3: at least such a length must be supported] */
const identityOctetsMax = 128;
const fatal = 2;

type Procedure = (common: Common, handshake: Handshake, message: Message, now: Instant) => void;

/** The expected message of each stage, and the function that handles it. */
const expected = {
  certificate: [messageTypes.certificate, onCertificate],
  keyExchange: [messageTypes.clientKeyExchange, onKeyExchange],
  verify: [messageTypes.certificateVerify, onVerify],
} as const satisfies Record<string, readonly [type: number, procedure: Procedure]>;

/** Handles a message of the client's flight, or a fragment of one. */
export function onFragment(common: Common, handshake: Handshake, fragment: Fragment, now: Instant): void {
  const { stage } = handshake;
  if (stage !== "certificate" && stage !== "keyExchange" && stage !== "verify") return;
  const message = handshake.assembly.take(fragment);
  if (!message) return;
  const [type, procedure] = expected[stage];
  if (message.type !== type) return giveUp(common, handshake);
  procedure(common, handshake, message, now);
}

export function giveUp(common: Common, handshake: Handshake): void {
  common.counters.badRecords++;
  common.contexts.removeHandshake(handshake);
}

/** A mark that recognizes a key, where the key itself must not be kept. */
export function keyMark({ crypto }: Pick<Common, "crypto">, key: Uint8Array): Uint8Array {
  return crypto.hmac(key)(octetsOf("the key of a context")).slice(0, keyMarkOctets);
}

function onKeyExchange(common: Common, handshake: Handshake, message: Message, now: Instant): void {
  const reader = new Reader(message.body);
  const { agreement } = handshake;
  const said = reader.vector(agreement ? 1 : 2);
  if (!reader.ok || reader.left > 0) return giveUp(common, handshake);
  const identity = identityOf(said) ?? "";
  if (common.options.handsOver && !agreement && identity !== "") return named(common, handshake, identity, now);
  if (!agreement && isOther(handshake, identity)) return giveUp(common, handshake);
  handshake.transcript.push(encodeMessage(message));
  if (agreement) return onPoint(common, handshake, agreement.secret(said));
  handshake.identity = identity;
  handshake.stage = "key";
  if (handshake.identity === "") return onKey(common, handshake, undefined);
  common.askKey(handshake.identity, (key) => {
    if (common.contexts.handshakeAt(handshake.address) === handshake) onKey(common, handshake, key);
  });
}

function onKey(common: Common, handshake: Handshake, key: Uint8Array | undefined): void {
  const psk = key ?? common.crypto.hmac(common.strangersSecret)(octetsOf(handshake.identity));
  handshake.secrets = secretsOf(common, handshake, premasterOfPsk(psk), { trust: psk, isKnown: key !== undefined });
  handshake.stage = "finished";
}

function onCertificate(common: Common, handshake: Handshake, message: Message, now: Instant): void {
  const chain = readCertificates(message.body);
  const { credentials } = handshake.agreed;
  if (!chain || !credentials) return refuse(common, handshake, "malformed");
  const judged = chain.length === 0 ? "none" : credentials.judge(chain);
  if (typeof judged === "string") return refuse(common, handshake, judged);
  if (common.options.handsOver) return named(common, handshake, judged.identity, now);
  if (isOther(handshake, judged.identity)) return giveUp(common, handshake);
  handshake.transcript.push(encodeMessage(message));
  handshake.accepted = judged;
  handshake.identity = judged.identity;
  handshake.stage = "keyExchange";
}

/** The context of this identity belongs to another shard: a client has said two names at the same time. */
function isOther({ adoptedFor }: Handshake, identity: string): boolean {
  return adoptedFor !== undefined && adoptedFor !== identity;
}

/** What the client has just sent is not in the transcript: the gateway that continues receives it, too. */
function named(common: Common, handshake: Handshake, identity: string, now: Instant): void {
  common.say({ kind: "named", identity, begun: begunOf(handshake, now) });
  common.contexts.removeHandshake(handshake);
}

function onPoint(common: Common, handshake: Handshake, premaster: Uint8Array | undefined): void {
  const { accepted } = handshake;
  if (!premaster || !accepted) return refuse(common, handshake, "bad-exchange");
  // These keys are not used before the client has proved that it has the private key of its certificate.
  handshake.unproved = secretsOf(common, handshake, premaster, { trust: accepted.trust, isKnown: true });
  handshake.stage = "verify";
}

function onVerify(common: Common, handshake: Handshake, message: Message): void {
  const signature = readSignature(message.body);
  const isIts = signature && handshake.accepted?.verify(joined(...handshake.transcript), signature);
  if (!isIts) return refuse(common, handshake, "wrong-signature");
  handshake.transcript.push(encodeMessage(message));
  handshake.secrets = handshake.unproved;
  handshake.unproved = undefined;
  handshake.stage = "finished";
}

function secretsOf(
  common: Common,
  { agreed, transcript }: Handshake,
  premaster: Uint8Array,
  { trust, isKnown }: { trust: Uint8Array; isKnown: boolean },
): Secrets {
  const { crypto } = common;
  const { suite, isExtended, clientRandom, serverRandom } = agreed;
  const sessionHash = isExtended ? crypto.hash(...transcript) : undefined;
  const master = masterSecret(crypto, { premaster, clientRandom, serverRandom, sessionHash });
  const keys = trafficKeys(crypto, suite, master, agreed);
  const read = direction(crypto, suite, keys.clientKey, keys.clientIv);
  return { master, keys, read, keyMark: keyMark(common, trust), isKnown };
}

/** Called once, because the handshake ends after it. */
function refuse(common: Common, handshake: Handshake, refusal: CertificateRefusal): void {
  const { address } = handshake;
  common.counters.certificatesRefused[refusal]++;
  const alert = Uint8Array.of(fatal, certificateRefusals[refusal].alert);
  common.say({ kind: "transmit", address, bytes: plainRecord(contentTypes.alert, handshake.plainNext++, alert) });
  common.say({ kind: "badCertificate", address, refusal });
  common.contexts.removeHandshake(handshake);
}

/** Undefined: the octets cannot be an identity here. */
function identityOf(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0 || bytes.length > identityOctetsMax) return undefined;
  const text = textOf(bytes);
  return text !== undefined && !/\p{C}/u.test(text) ? text : undefined;
}
