/**
 * Functions for a link that noble does not have, between noble and the controller's socket: the link gets the parameters of the options;
 * requests of the device for other parameters are answered; a link is encrypted if required; otherwise a Security Request is refused
 * instead of being ignored; and what a device refuses is reported. Packets go in, packets and reports come out; no socket, no clock.
 *
 * On the raw channel a kernel reads the same packets. It answers a device's request for other parameters itself and grants everything that
 * is possible. If the result is outside the options, it is corrected with a command.
 */
import type { BluetoothAddress, Bond } from "../../pairing/bond.ts";
import type { PairingCrypto } from "../../pairing/crypto.ts";
import { attErrors } from "./att-errors.ts";
import {
  acceptParameters,
  channels,
  disconnect,
  type HciPacket,
  type LinkParameters,
  opcodes,
  readPacket,
  readWanted,
  refuseParameters,
  updateConnection,
  type WantedParameters,
} from "./hci-packets.ts";
import {
  areAsWanted,
  configuredParameters,
  grantedParameters,
  type ParameterRules,
  wantedInWords,
} from "./link-parameters.ts";
import { LinkSecurity, type SecurityFault, type WantedSecurity } from "./link-security.ts";
import { disconnectReason } from "./reasons.ts";

export type LinkNews =
  /** The link uses these parameters from now on. */
  | { readonly is: "parameters"; readonly address: string; readonly parameters: LinkParameters }
  /** A notice for the operator, in words. */
  | { readonly is: "noticed"; readonly address: string; readonly say: string }
  /** The link is encrypted now. `bond`: the device was paired just now. */
  | { readonly is: "secured"; readonly address: string; readonly bond?: Bond }
  /** The link could not be encrypted as required, so it cannot be used. */
  | { readonly is: "insecure"; readonly address: string; readonly fault: SecurityFault; readonly say: string }
  /** The encryption continues. */
  | { readonly is: "moved"; readonly address: string }
  /** The device answered a request with an error of the attribute protocol. */
  | { readonly is: "refused"; readonly address: string; readonly request: number; readonly code: number };

export interface LinkControlOptions extends ParameterRules {
  /** No kernel answers for this controller. */
  readonly isAlone: boolean;
  /** The adapter's own address. */
  readonly own: () => BluetoothAddress;
  readonly crypto: PairingCrypto;
}

export interface ControllerOutput {
  command(packet: Buffer): void;
  /** Sends one L2CAP packet to a device. */
  data(handle: number, channel: number, payload: Buffer): void;
  tell(news: LinkNews): void;
}

interface ControlledLink {
  readonly address: string;
  parameters: LinkParameters;
  wanted: WantedParameters;
  /** The number of requests for the wanted parameters. */
  tries: number;
  /** A command of this class is in progress. */
  isUpdating: boolean;
  /** The set-up of the link is over: a request that is refused now is not made again. */
  isSettled: boolean;
  /** A message of the Security Manager that arrives in several packets. */
  assembling: { readonly length: number; payload: Buffer } | undefined;
  security: LinkSecurity | undefined;
}

/** The parameters of a link are corrected at most so often; after that the other side's values stay. */
const triesMax = 4;
const signals = { parametersAsked: 0x12, parametersAnswered: 0x13 } as const;
const security = { failed: 0x05, request: 0x0b, notSupported: 0x05 } as const;
/** The longest message is a public key. [3.H.3.2] */
const securityOctetsMax = 65;
const attError = 0x01;
const attExchangeMtu = 0x02;
/** Errors at which noble stops or begins to pair. They are replaced by an error at which it continues. */
const takenBadly = new Set<number>([
  attErrors.invalidPdu,
  attErrors.authentication,
  attErrors.authorization,
  attErrors.encryption,
]);
const unlikely = 0x0e;

export class LinkControl {
  readonly #options: LinkControlOptions;
  readonly #out: ControllerOutput;
  readonly #links = new Map<number, ControlledLink>();
  /** The security of links that are not open yet, by address. */
  readonly #wanted = new Map<string, WantedSecurity>();

  constructor(options: LinkControlOptions, out: ControllerOutput) {
    this.#options = options;
    this.#out = out;
  }

  parametersOf(address: string): LinkParameters | undefined {
    return this.#find(address)?.[1].parameters;
  }

  /** Sets the encryption of the next link to this device; undefined: none. */
  want(address: string, security: WantedSecurity | undefined): void {
    if (security) this.#wanted.set(address, security);
    else this.#wanted.delete(address);
  }

  /** Ends the link, even if noble does not know of it yet. */
  hangUp(address: string): void {
    const found = this.#find(address);
    if (found) this.#out.command(disconnect(found[0]));
  }

  /**
   * Handles a packet of the controller before noble gets it. Returns the packet for noble, and an action to run after
   * it.
   */
  take(packet: Buffer): { readonly pass: Buffer | undefined; readonly after?: () => void } {
    const read = readPacket(packet);
    if (!read) return { pass: packet };
    switch (read.is) {
      case "data":
        return { pass: this.#onData(read, packet) };
      case "begun":
      case "more":
        return { pass: this.#assemble(read) ? undefined : packet };
      case "encryption":
        // noble would repeat its last packet.
        this.#links.get(read.handle)?.security?.onEncryption(read);
        return { pass: undefined };
      case "disconnected":
        // Called before noble reports the end of the link, because the reason is known here.
        this.#links.get(read.handle)?.security?.onEnd(read.reason);
        this.#links.delete(read.handle);
        return { pass: packet };
      default:
        return { pass: packet, after: () => this.#onEvent(read) };
    }
  }

  /** The link is in use now. A device or controller that was busy may accept a refused request now. */
  settle(address: string): void {
    const found = this.#find(address);
    if (!found) return;
    found[1].isSettled = true;
    this.#setRight(...found);
  }

  #onEvent(packet: Extract<HciPacket, { is: "connected" | "updated" | "asked" | "refused" }>): void {
    switch (packet.is) {
      case "connected":
        return this.#onConnected(packet);
      case "updated":
        return this.#onUpdated(packet);
      case "asked":
        if (this.#options.isAlone) this.#onAsked(packet.handle, packet.wanted);
        return;
      case "refused":
        return this.#onCommandRefused(packet);
    }
  }

  #onConnected({ handle, address, addressType, parameters }: Extract<HciPacket, { is: "connected" }>): void {
    const link: ControlledLink = {
      address,
      parameters,
      wanted: configuredParameters(this.#options),
      tries: 0,
      isUpdating: false,
      isSettled: false,
      assembling: undefined,
      security: this.#securityOf(handle, { address, type: addressType }),
    };
    this.#links.set(handle, link);
    this.#out.tell({ is: "parameters", address, parameters });
    this.#setRight(handle, link);
    link.security?.start();
  }

  #securityOf(handle: number, device: BluetoothAddress): LinkSecurity | undefined {
    const { address } = device;
    const wanted = this.#wanted.get(address);
    this.#wanted.delete(address);
    if (!wanted) return undefined;
    const { own, crypto } = this.#options;
    return new LinkSecurity(handle, wanted, { own: own(), device }, crypto, {
      command: (packet) => this.#out.command(packet),
      packet: (payload) => this.#out.data(handle, channels.security, payload),
      secured: (bond) => this.#out.tell({ is: "secured", address, ...(bond && { bond }) }),
      failed: (fault, say) => this.#out.tell({ is: "insecure", address, fault, say }),
      moved: () => this.#out.tell({ is: "moved", address }),
    });
  }

  #onUpdated({ handle, status, parameters }: Extract<HciPacket, { is: "updated" }>): void {
    const link = this.#links.get(handle);
    if (!link) return;
    const wasOurs = link.isUpdating;
    link.isUpdating = false;
    if (status !== 0) {
      if (wasOurs) this.#notTaken(link, status);
      return;
    }
    link.parameters = parameters;
    this.#out.tell({ is: "parameters", address: link.address, parameters });
    this.#setRight(handle, link);
  }

  /** The event does not contain the link, so the link that waits for it is used. */
  #onCommandRefused({ opcode, status }: Extract<HciPacket, { is: "refused" }>): void {
    if (opcode === opcodes.startEncryption) {
      // One link is made at a time, so the newest one is meant.
      return [...this.#links.values()].at(-1)?.security?.onRefused(status);
    }
    if (opcode !== opcodes.updateConnection) return;
    for (const link of this.#links.values()) {
      if (!link.isUpdating) continue;
      link.isUpdating = false;
      return this.#notTaken(link, status);
    }
  }

  #notTaken(link: ControlledLink, status: number): void {
    if (!link.isSettled) return; // controllers are busy when a link begins; the request is repeated
    const wanted = wantedInWords(link.wanted);
    this.#out.tell({
      is: "noticed",
      address: link.address,
      say: `its link did not get ${wanted}: ${disconnectReason(status)}`,
    });
  }

  #setRight(handle: number, link: ControlledLink): void {
    if (link.isUpdating || link.tries >= triesMax || areAsWanted(link.parameters, link.wanted)) return;
    link.tries++;
    link.isUpdating = true;
    this.#out.command(updateConnection(handle, link.wanted));
  }

  /** The device asked by the link layer's own procedure, which the controller reports. */
  #onAsked(handle: number, asked: WantedParameters): void {
    const link = this.#links.get(handle);
    const granted = link ? this.#decide(link, asked) : undefined;
    this.#out.command(granted ? acceptParameters(handle, granted) : refuseParameters(handle));
  }

  #decide(link: ControlledLink, asked: WantedParameters): WantedParameters | undefined {
    const granted = grantedParameters(asked, this.#options);
    const verdict = granted ? "granted" : "refused: it is beyond connection.requests";
    this.#out.tell({ is: "noticed", address: link.address, say: `it asks for ${wantedInWords(asked)}: ${verdict}` });
    if (granted) {
      link.wanted = granted;
      link.tries = 0;
    }
    return granted;
  }

  /** Undefined: noble does not get the packet. */
  #onData({ handle, channel, payload }: Extract<HciPacket, { is: "data" }>, packet: Buffer): Buffer | undefined {
    const link = this.#links.get(handle);
    if (!link) return packet;
    link.assembling = undefined; // the message was not completed
    switch (channel) {
      case channels.att:
        return this.#onAtt(link, payload, packet);
      case channels.signalling:
        return this.#onSignal(handle, link, payload, packet);
      case channels.security:
        return this.#onSecurity(handle, link, payload) ? undefined : packet;
      default:
        return packet;
    }
  }

  /** True: the packet is handled. */
  #onSecurity(handle: number, link: ControlledLink, payload: Buffer): boolean {
    if (link.security) {
      link.security.receive(payload);
      return true;
    }
    if (payload[0] !== security.request) return false;
    this.#out.data(handle, channels.security, Buffer.of(security.failed, security.notSupported));
    this.#out.tell({
      is: "noticed",
      address: link.address,
      say: "it asks for pairing (Security Request), which is refused: this gateway does not pair with it (pairing is none). If the device disconnects now, remove the request from its firmware, or configure pairing",
    });
    return true;
  }

  /**
   * True: the fragment belongs to a packet of the Security Manager. A controller may divide these into fragments of 27
   * octets.
   */
  #assemble(piece: Extract<HciPacket, { is: "begun" | "more" }>): boolean {
    const link = this.#links.get(piece.handle);
    if (!link) return false;
    if (piece.is === "begun") {
      if (piece.length > securityOctetsMax) return false;
      link.assembling = { length: piece.length, payload: Buffer.from(piece.payload) };
      return true;
    }
    const whole = link.assembling;
    if (!whole) return false;
    whole.payload = Buffer.concat([whole.payload, piece.payload]);
    if (whole.payload.length < whole.length) return true;
    link.assembling = undefined;
    this.#onSecurity(piece.handle, link, whole.payload.subarray(0, whole.length));
    return true;
  }

  #onAtt(link: ControlledLink, payload: Buffer, packet: Buffer): Buffer {
    const [opcode, request, , , code] = payload;
    if (opcode !== attError || request === undefined || code === undefined) return packet;
    if (request !== attExchangeMtu) this.#out.tell({ is: "refused", address: link.address, request, code });
    if (!takenBadly.has(code)) return packet;
    const other = Buffer.from(packet);
    other[packet.length - payload.length + 4] = unlikely;
    return other;
  }

  #onSignal(handle: number, link: ControlledLink, payload: Buffer, packet: Buffer): Buffer | undefined {
    if (payload[0] !== signals.parametersAsked || payload.length < 12) return packet;
    const granted = this.#decide(link, readWanted(payload.subarray(4)));
    if (!this.#options.isAlone) return packet;
    const answer = Buffer.of(signals.parametersAnswered, payload.readUInt8(1), 2, 0, granted ? 0 : 1, 0);
    this.#out.data(handle, channels.signalling, answer);
    if (granted) this.#setRight(handle, link);
    return undefined;
  }

  #find(address: string): [number, ControlledLink] | undefined {
    return [...this.#links].find(([, link]) => link.address === address);
  }
}
