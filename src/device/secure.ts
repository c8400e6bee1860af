/**
 * The device's side of DTLS 1.2 with a pre-shared key or a certificate, and a connection id, without I/O: for `pub` and `sub`, tests and
 * the simulation. [RFC 6347, RFC 4279, RFC 9146]
 *
 * A device that sleeps, or comes back from another address, continues with the same object and needs no handshake.
 */
import {
  ecdsaSha256,
  encodeCertificates,
  encodeSignature,
  p256,
  readCertificates,
  readServerKeyExchange,
} from "../secure/certificate-messages.ts";
import type { Crypto } from "../secure/crypto.ts";
import { Assembly, encodeMessage, type Message, messageTypes, readFragments } from "../secure/handshake-messages.ts";
import {
  encodeClientHello,
  extensionTypes,
  readHelloVerifyRequest,
  readServerHello,
  renegotiationScsv,
} from "../secure/hello.ts";
import { masterSecret, premasterOfPsk, randomOctets, trafficKeys, verifyData } from "../secure/key-schedule.ts";
import { isEqual, joined, none, number, octetsOf, Reader, vector } from "../secure/octets.ts";
import {
  contentTypes,
  type Direction,
  openRecord,
  plainRecord,
  type RecordIn,
  readRecord,
  sealedRecord,
} from "../secure/record.ts";
import type { Suite } from "../secure/suites.ts";
import { ReplayWindow } from "../secure/window.ts";

export interface SecureDeviceOptions {
  readonly identity: string;
  /** The pre-shared key. With certificates it is not used, and the identity is taken from the certificate. */
  readonly key: Uint8Array;
  /** The certificate for suites with certificates; undefined: there is none. */
  readonly certificate?: DeviceCertificate | undefined;
  /** The first is preferred. */
  readonly suites: readonly Suite[];
  /**
   * Asks for a connection id. The gateway then uses an id of so many octets in datagrams to the device, 0: none.
   * Undefined: does not ask.
   */
  readonly cidOctets: number | undefined;
}

export interface DeviceCertificate {
  /** The device's own certificate first, in DER; empty: it shows none. */
  readonly chain: readonly Uint8Array[];
  /** ECDSA on P-256 with SHA-256, in DER. */
  sign(bytes: Uint8Array): Uint8Array;
  /** Returns the check of signatures by the owner of this certificate; undefined: the certificate is not trusted. */
  trusts(chain: readonly Uint8Array[]): ((signed: Uint8Array, signature: Uint8Array) => boolean) | undefined;
}

export type SecureOutput =
  | { readonly kind: "send"; readonly bytes: Uint8Array }
  | { readonly kind: "opened"; readonly suite: Suite; readonly hasCid: boolean }
  | { readonly kind: "message"; readonly bytes: Uint8Array }
  /** The connection has ended, and nothing is sent any more. */
  | { readonly kind: "closed"; readonly why: string };

/** The time until the first repetition. [RFC 6347 4.2.4.1] */
const firstPeriodMs = 1_000;
const repeatsMax = 6;
const messageOctetsMax = 16_384;

function chainIn(body: Uint8Array): readonly Uint8Array[] {
  return readCertificates(body) ?? [];
}

interface Outgoing {
  readonly isSealed: boolean;
  readonly type: number;
  readonly content: Uint8Array;
}

interface Secured {
  readonly suite: Suite;
  readonly read: Direction;
  readonly write: Direction;
  readonly master: Uint8Array;
}

export class SecureDevice {
  readonly #crypto: Crypto;
  readonly #options: SecureDeviceOptions;
  readonly #random: Uint8Array;
  readonly #cid: Uint8Array;
  readonly #window = new ReplayWindow();
  #state: "new" | "hello" | "keyExchange" | "finished" | "open" | "closed" = "new";
  #output: SecureOutput[] = [];
  #assembly = new Assembly(0, messageOctetsMax);
  #transcript: Uint8Array[] = [];
  #flight: readonly Outgoing[] = [];
  #messageNext = 0;
  #plainNext = 0;
  #sealedNext = 0;
  #server: { readonly random: Uint8Array; readonly suite: Suite; readonly isExtended: boolean } | undefined;
  /** For suites with certificates: the certificate of the gateway that was accepted, and its point. */
  #trusted: ReturnType<DeviceCertificate["trusts"]>;
  #point: Uint8Array | undefined;
  #peerCid: Uint8Array | undefined;
  #secured: Secured | undefined;
  #repeatAt: number | undefined;
  #periodMs = firstPeriodMs;
  #repeats = 0;

  constructor(crypto: Crypto, options: SecureDeviceOptions) {
    this.#crypto = crypto;
    this.#options = options;
    this.#random = crypto.random(randomOctets);
    this.#cid = options.cidOctets ? crypto.random(options.cidOctets) : none;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  start(now: number): void {
    this.#state = "hello";
    this.#hello(none, now);
  }

  /** Encrypts one message. Only allowed while the connection is open. */
  send(bytes: Uint8Array): void {
    if (this.#state === "open") this.#say([{ isSealed: true, type: contentTypes.applicationData, content: bytes }]);
  }

  /** Sends close_notify: the gateway deletes the context, and the next message needs a handshake. */
  close(): void {
    if (this.#state === "open") this.#say([{ isSealed: true, type: contentTypes.alert, content: Uint8Array.of(1, 0) }]);
    this.#end("closed");
  }

  receive(bytes: Uint8Array, now: number): void {
    for (let at = 0; at < bytes.length && this.#state !== "closed"; ) {
      const record = readRecord(bytes, at, this.#cid.length);
      if (!record) return;
      at = record.end;
      if (record.epoch === 0) this.#plain(record, now);
      else if (record.epoch === 1) this.#sealed(record);
    }
  }

  nextDeadline(): number | undefined {
    return this.#repeatAt;
  }

  timeout(now: number): void {
    if (this.#repeatAt === undefined || now < this.#repeatAt) return;
    if (this.#repeats++ >= repeatsMax) {
      const hint =
        this.#state === "finished" ? " after the key was used: is it the gateway's key of this identity?" : "";
      return this.#end(`no answer${hint}`);
    }
    this.#periodMs *= 2;
    this.#repeatAt = now + this.#periodMs;
    this.#say(this.#flight);
  }

  take(): readonly SecureOutput[] {
    const output = this.#output;
    this.#output = [];
    return output;
  }

  #hello(cookie: Uint8Array, now: number): void {
    const { suites, cidOctets } = this.#options;
    const extensions = new Map<number, Uint8Array>([[extensionTypes.extendedMasterSecret, none]]);
    if (cidOctets !== undefined) extensions.set(extensionTypes.connectionId, vector(this.#cid, 1));
    if (suites.some(({ by }) => by === "certificate")) {
      extensions.set(extensionTypes.supportedGroups, vector(number(p256, 2), 2));
      extensions.set(extensionTypes.pointFormats, vector(number(0, 1), 1));
      extensions.set(extensionTypes.signatureAlgorithms, vector(number(ecdsaSha256, 2), 2));
    }
    const ids = [...suites.map(({ id }) => id), renegotiationScsv];
    const body = encodeClientHello({ random: this.#random, cookie, suites: ids, extensions });
    this.#transcript = [];
    this.#sendFlight([this.#message(messageTypes.clientHello, body)], now);
  }

  /** Sends a handshake message, and adds it to the transcript. */
  #message(type: number, body: Uint8Array, isSealed = false): Outgoing {
    const content = encodeMessage({ type, seq: this.#messageNext++, body });
    this.#transcript.push(content);
    return { isSealed, type: contentTypes.handshake, content };
  }

  #sendFlight(flight: readonly Outgoing[], now: number): void {
    this.#flight = flight;
    this.#repeats = 0;
    this.#periodMs = firstPeriodMs;
    this.#repeatAt = now + firstPeriodMs;
    this.#say(flight);
  }

  #say(flight: readonly Outgoing[]): void {
    const records = flight.map(({ isSealed, type, content }) => {
      if (!isSealed) return plainRecord(type, this.#plainNext++, content);
      if (!this.#secured) throw new RangeError("there are no keys yet");
      return sealedRecord(this.#secured.write, { type, seq: this.#sealedNext++, cid: this.#peerCid, content });
    });
    this.#output.push({ kind: "send", bytes: joined(...records) });
  }

  #plain(record: RecordIn, now: number): void {
    const [level, description] = record.body;
    if (record.type === contentTypes.alert && level === 2 && this.#state !== "open")
      return this.#end(`the gateway refuses (alert ${description})`);
    if (record.type !== contentTypes.handshake) return;
    for (const fragment of readFragments(record.body) ?? []) {
      const message = this.#assembly.take(fragment);
      if (message) this.#onMessage(message, now);
    }
  }

  #onMessage(message: Message, now: number): void {
    const { type, body } = message;
    if (this.#state === "hello" && type === messageTypes.helloVerifyRequest) {
      const cookie = readHelloVerifyRequest(body);
      if (cookie) this.#hello(cookie.slice(), now);
      return;
    }
    this.#transcript.push(encodeMessage(message));
    if (this.#state === "hello" && type === messageTypes.serverHello) this.#serverHello(body);
    else if (this.#state !== "keyExchange") return;
    else if (type === messageTypes.certificate) this.#trusted = this.#options.certificate?.trusts(chainIn(body));
    else if (type === messageTypes.serverKeyExchange) this.#serverKeyExchange(body);
    else if (type === messageTypes.serverHelloDone) this.#keyExchange(now);
  }

  #serverHello(body: Uint8Array): void {
    const hello = readServerHello(body);
    const suite = this.#options.suites.find(({ id }) => id === hello?.suite);
    if (!hello || !suite) return this.#end("the gateway answers with what was not offered");
    const { extensions } = hello;
    const isExtended = extensions.has(extensionTypes.extendedMasterSecret);
    this.#server = { random: hello.random.slice(), suite, isExtended };
    const cid = extensions.get(extensionTypes.connectionId);
    const theirs = cid && new Reader(cid).vector(1).slice();
    this.#peerCid = theirs && theirs.length > 0 ? theirs : undefined;
    this.#state = "keyExchange";
  }

  #serverKeyExchange(body: Uint8Array): void {
    const exchange = readServerKeyExchange(body);
    const signed = exchange && joined(this.#random, this.#server?.random ?? none, exchange.parameters);
    if (signed && this.#trusted?.(signed, exchange.signature)) this.#point = exchange.point.slice();
  }

  #keyExchange(now: number): void {
    if (!this.#server) return;
    const { suite, random, isExtended } = this.#server;
    const flight: Outgoing[] = [];
    const premaster = suite.by === "psk" ? this.#pskExchange(flight) : this.#certificateExchange(flight);
    if (!premaster) return this.#end("the gateway's certificate is not trusted");
    const sessionHash = isExtended ? this.#crypto.hash(...this.#transcript) : undefined;
    const randoms = { clientRandom: this.#random, serverRandom: random };
    const master = masterSecret(this.#crypto, { premaster, ...randoms, sessionHash });
    const keys = trafficKeys(this.#crypto, suite, master, randoms);
    const half = (of: Uint8Array, iv: Uint8Array) => ({
      aead: this.#crypto.aead(suite.aead, of),
      iv,
      tagOctets: suite.tagOctets,
    });
    const read = half(keys.serverKey, keys.serverIv);
    this.#secured = { suite, master, read, write: half(keys.clientKey, keys.clientIv) };
    const { certificate } = this.#options;
    if (suite.by === "certificate" && certificate && certificate.chain.length > 0) {
      const signature = certificate.sign(joined(...this.#transcript));
      flight.push(this.#message(messageTypes.certificateVerify, encodeSignature(signature)));
    }
    const verify = verifyData(this.#crypto, master, "client", this.#transcript);
    const change = { isSealed: false, type: contentTypes.changeCipherSpec, content: Uint8Array.of(1) };
    this.#state = "finished";
    this.#sendFlight([...flight, change, this.#message(messageTypes.finished, verify, true)], now);
  }

  #pskExchange(flight: Outgoing[]): Uint8Array {
    const { identity, key } = this.#options;
    flight.push(this.#message(messageTypes.clientKeyExchange, vector(octetsOf(identity), 2)));
    return premasterOfPsk(key);
  }

  /** Undefined: the gateway's certificate is not trusted. */
  #certificateExchange(flight: Outgoing[]): Uint8Array | undefined {
    const { certificate } = this.#options;
    const agreement = this.#crypto.agreement();
    const premaster = this.#point && agreement.secret(this.#point);
    if (!premaster || !certificate) return undefined;
    flight.push(this.#message(messageTypes.certificate, encodeCertificates(certificate.chain)));
    flight.push(this.#message(messageTypes.clientKeyExchange, vector(agreement.point, 1)));
    return premaster;
  }

  #sealed(record: RecordIn): void {
    if (!this.#secured || !this.#window.isFresh(record.seq)) return;
    if (this.#cid.length > 0 && this.#peerCid && (!record.cid || !isEqual(record.cid, this.#cid))) return;
    const opened = openRecord(this.#secured.read, record);
    if (!opened) return;
    this.#window.take(record.seq);
    const { type, content } = opened;
    if (type === contentTypes.handshake && this.#state === "finished") this.#finished(this.#secured, content);
    else if (type === contentTypes.applicationData && this.#state === "open")
      this.#output.push({ kind: "message", bytes: content });
    else if (type === contentTypes.alert) this.#alert(content);
  }

  #finished({ master, suite }: Secured, content: Uint8Array): void {
    const verify = verifyData(this.#crypto, master, "server", this.#transcript);
    const seq = this.#assembly.next;
    if (!isEqual(content, encodeMessage({ type: messageTypes.finished, seq, body: verify }))) return;
    this.#state = "open";
    this.#repeatAt = undefined;
    this.#flight = [];
    this.#output.push({ kind: "opened", suite, hasCid: this.#peerCid !== undefined });
  }

  #alert([level, description]: Uint8Array): void {
    if (level === 2 || description === 0) this.#end(`the gateway ended it (alert ${description})`);
  }

  #end(why: string): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#repeatAt = undefined;
    this.#output.push({ kind: "closed", why });
  }
}
