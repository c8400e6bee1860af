/**
 * The client's answer to the server's first flight, up to its Finished: only ClientKeyExchange with a pre-shared key;
 * otherwise Certificate, ClientKeyExchange and CertificateVerify. [RFC 4279 2, RFC 5246 7.4.6 to 7.4.8]
 *
 * A client with an invalid certificate gets an alert with the reason, because this helps no attacker to guess anything. A client with a
 * wrong pre-shared key gets none.
 */
import { readCertificates, readSignature } from "./certificate-messages.ts";
import type { Common } from "./common.ts";
import { direction } from "./context.ts";
import { type CertificateRefusal, certificateRefusals } from "./credentials.ts";
import { encodeMessage, type Fragment, type Message, messageTypes } from "./handshake.ts";
import { masterSecret, premasterOfPsk, trafficKeys } from "./key-schedule.ts";
import { joined, octetsOf, Reader, textOf } from "./octets.ts";
import { contentTypes, plainRecord } from "./record.ts";
import { keyMarkOctets } from "./record-of.ts";
import type { Secrets, Setup } from "./setup-state.ts";

/** The longest identity in octets. [RFC 4279 5.3: at least such a length must be supported] */
const identityOctetsMax = 128;
const fatal = 2;

type Procedure = (common: Common, setup: Setup, message: Message) => void;

/** The expected message of each stage, and the function that handles it. */
const expected = {
  certificate: [messageTypes.certificate, onCertificate],
  keyExchange: [messageTypes.clientKeyExchange, onKeyExchange],
  verify: [messageTypes.certificateVerify, onVerify],
} as const satisfies Record<string, readonly [type: number, procedure: Procedure]>;

/** Handles a message of the client's flight, or a fragment of one. */
export function onFragment(common: Common, setup: Setup, fragment: Fragment): void {
  const { stage } = setup;
  if (stage !== "certificate" && stage !== "keyExchange" && stage !== "verify") return;
  const message = setup.assembly.take(fragment);
  if (!message) return;
  const [type, procedure] = expected[stage];
  if (message.type !== type) return giveUp(common, setup);
  procedure(common, setup, message);
}

export function giveUp(common: Common, setup: Setup): void {
  common.counters.badRecords++;
  common.contexts.removeSetup(setup);
}

/** A mark that recognizes a key, where the key itself must not be kept. */
export function keyMark({ crypto }: Pick<Common, "crypto">, key: Uint8Array): Uint8Array {
  return crypto.hmac(key)(octetsOf("the key of a context")).slice(0, keyMarkOctets);
}

function onKeyExchange(common: Common, setup: Setup, message: Message): void {
  const reader = new Reader(message.body);
  const { agreement } = setup;
  const said = reader.vector(agreement ? 1 : 2);
  if (!reader.ok || reader.left > 0) return giveUp(common, setup);
  setup.transcript.push(encodeMessage(message));
  if (agreement) return onPoint(common, setup, agreement.secret(said));
  setup.identity = identityOf(said) ?? "";
  setup.stage = "key";
  if (setup.identity === "") return onKey(common, setup, undefined);
  common.askKey(setup.identity, (key) => {
    if (common.contexts.setupAt(setup.address) === setup) onKey(common, setup, key);
  });
}

function onKey(common: Common, setup: Setup, key: Uint8Array | undefined): void {
  const psk = key ?? common.crypto.hmac(common.strangersSecret)(octetsOf(setup.identity));
  setup.secrets = secretsOf(common, setup, premasterOfPsk(psk), { trust: psk, isKnown: key !== undefined });
  setup.stage = "finished";
}

function onCertificate(common: Common, setup: Setup, message: Message): void {
  const chain = readCertificates(message.body);
  const { credentials } = setup.agreed;
  if (!chain || !credentials) return refuse(common, setup, "malformed");
  const judged = chain.length === 0 ? "none" : credentials.judge(chain);
  if (typeof judged === "string") return refuse(common, setup, judged);
  setup.transcript.push(encodeMessage(message));
  setup.accepted = judged;
  setup.identity = judged.identity;
  setup.stage = "keyExchange";
}

function onPoint(common: Common, setup: Setup, premaster: Uint8Array | undefined): void {
  const { accepted } = setup;
  if (!premaster || !accepted) return refuse(common, setup, "bad-exchange");
  // These keys are not used before the client has proved that it has the private key of its certificate.
  setup.unproved = secretsOf(common, setup, premaster, { trust: accepted.trust, isKnown: true });
  setup.stage = "verify";
}

function onVerify(common: Common, setup: Setup, message: Message): void {
  const signature = readSignature(message.body);
  const isIts = signature && setup.accepted?.verify(joined(...setup.transcript), signature);
  if (!isIts) return refuse(common, setup, "wrong-signature");
  setup.transcript.push(encodeMessage(message));
  setup.secrets = setup.unproved;
  setup.unproved = undefined;
  setup.stage = "finished";
}

function secretsOf(
  common: Common,
  { agreed, transcript }: Setup,
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

/** Called once, because the setup ends after it. */
function refuse(common: Common, setup: Setup, refusal: CertificateRefusal): void {
  const { address } = setup;
  common.counters.certificatesRefused[refusal]++;
  const alert = Uint8Array.of(fatal, certificateRefusals[refusal].alert);
  common.say({ kind: "transmit", address, bytes: plainRecord(contentTypes.alert, setup.plainNext++, alert) });
  common.say({ kind: "badCertificate", address, refusal });
  common.contexts.removeSetup(setup);
}

/** Undefined: the octets cannot be an identity here. */
function identityOf(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0 || bytes.length > identityOctetsMax) return undefined;
  const text = textOf(bytes);
  return text !== undefined && !/\p{C}/u.test(text) ? text : undefined;
}
