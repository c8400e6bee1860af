/**
 * What noble leaves undone on a link, done between it and the controller's socket: the link gets the parameters that the
 * options say, the device's wishes for others are answered, a Security Request is refused instead of left unanswered,
 * and what a device refuses is told. Packets go in, packets and news come out; no socket, no clock.
 *
 * On the raw channel a kernel reads the same packets. It answers a device's wish for other parameters itself and grants
 * what is possible at all; what is beyond the options is set right after that, by a command of ours.
 */
import { attErrors } from "./att-errors.ts";
import {
  acceptParameters,
  channels,
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
import { disconnectReason } from "./reasons.ts";

export type LinkNews =
  /** The link has these from now on. */
  | { readonly is: "parameters"; readonly address: string; readonly parameters: LinkParameters }
  /** For the operator, in words. */
  | { readonly is: "noticed"; readonly address: string; readonly say: string }
  /** The device answered a request with an error of the attribute protocol. */
  | { readonly is: "refused"; readonly address: string; readonly request: number; readonly code: number };

export interface LinkControlOptions extends ParameterRules {
  /** Nobody else answers for this controller: no kernel does. */
  readonly isAlone: boolean;
}

export interface ControllerOutput {
  command(packet: Buffer): void;
  /** One L2CAP packet to a device. */
  data(handle: number, channel: number, payload: Buffer): void;
  tell(news: LinkNews): void;
}

interface ControlledLink {
  readonly address: string;
  parameters: LinkParameters;
  wanted: WantedParameters;
  /** How often the wanted parameters were sent. */
  tries: number;
  /** A command of ours is under way. */
  isUpdating: boolean;
  /** Its set-up is over: what is refused now stays refused. */
  isSettled: boolean;
}

/** So often a link is set right; then whoever sets it otherwise has the last word. */
const triesMax = 4;
const signals = { parametersAsked: 0x12, parametersAnswered: 0x13 } as const;
const security = { failed: 0x05, request: 0x0b, notSupported: 0x05 } as const;
const attError = 0x01;
const attExchangeMtu = 0x02;
/** Errors at which noble stands still or begins to pair; this one makes it go on. */
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

  constructor(options: LinkControlOptions, out: ControllerOutput) {
    this.#options = options;
    this.#out = out;
  }

  parametersOf(address: string): LinkParameters | undefined {
    return this.#find(address)?.[1].parameters;
  }

  /** Everything that the controller says, before noble has it: what noble is to have instead, and what is to be done after. */
  take(packet: Buffer): { readonly pass: Buffer | undefined; readonly after?: () => void } {
    const read = readPacket(packet);
    if (!read) return { pass: packet };
    if (read.is === "data") return { pass: this.#onData(read, packet) };
    return { pass: packet, after: () => this.#onEvent(read) };
  }

  /** The link is in use now. What a busy device or controller refused before, it may take now. */
  settle(address: string): void {
    const found = this.#find(address);
    if (!found) return;
    found[1].isSettled = true;
    this.#setRight(...found);
  }

  #onEvent(packet: Exclude<HciPacket, { is: "data" }>): void {
    switch (packet.is) {
      case "connected": {
        const { address, parameters } = packet;
        const wanted = configuredParameters(this.#options);
        const link = { address, parameters, wanted, tries: 0, isUpdating: false, isSettled: false };
        this.#links.set(packet.handle, link);
        this.#out.tell({ is: "parameters", address, parameters });
        return this.#setRight(packet.handle, link);
      }
      case "disconnected":
        this.#links.delete(packet.handle);
        return;
      case "updated":
        return this.#onUpdated(packet);
      case "asked":
        if (this.#options.isAlone) this.#onAsked(packet.handle, packet.wanted);
        return;
      case "refused":
        return this.#onCommandRefused(packet);
    }
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

  /** The command does not say for which link it was: for the one that waits. */
  #onCommandRefused({ opcode, status }: Extract<HciPacket, { is: "refused" }>): void {
    if (opcode !== opcodes.updateConnection) return;
    for (const link of this.#links.values()) {
      if (!link.isUpdating) continue;
      link.isUpdating = false;
      return this.#notTaken(link, status);
    }
  }

  #notTaken(link: ControlledLink, status: number): void {
    if (!link.isSettled) return; // controllers are busy when a link begins; it is tried again
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

  /** By the controller's own procedure. */
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

  /** undefined: noble does not get it. */
  #onData({ handle, channel, payload }: Extract<HciPacket, { is: "data" }>, packet: Buffer): Buffer | undefined {
    const link = this.#links.get(handle);
    if (!link) return packet;
    switch (channel) {
      case channels.att:
        return this.#onAtt(link, payload, packet);
      case channels.signalling:
        return this.#onSignal(handle, link, payload, packet);
      case channels.security:
        if (payload[0] !== security.request) return packet;
        this.#out.data(handle, channels.security, Buffer.of(security.failed, security.notSupported));
        this.#out.tell({
          is: "noticed",
          address: link.address,
          say: "it asks for pairing (Security Request), which is refused: this gateway does not pair. Take that out of its firmware if it hangs up now",
        });
        return undefined;
      default:
        return packet;
    }
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
