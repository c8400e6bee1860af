/**
 * A Bluetooth LE peripheral on an emulated controller: advertises, takes one connection, serves one GATT service with
 * a characteristic to write to and one that notifies. Written for tests, so that everything can be done wrong on
 * purpose: no other program is asked what a device in the field may do.
 */
import { EventEmitter } from "node:events";
import { Socket } from "node:net";
import {
  connected,
  element,
  hexOctet,
  littleEndian,
  opcodes,
  padded,
  parametersAt,
  type RawParameters,
} from "./controller.ts";
import { type Flash, Responder, type ResponderOptions } from "./responder.ts";

export interface PeripheralOptions {
  /** Of the random kind if given; the controller's own otherwise. */
  readonly address?: string;
  readonly name?: string;
  /** Largest ATT packet that it takes. */
  readonly mtu?: number;
  /** Notifications are cut to so many octets, or to the MTU. */
  readonly chunkBytes?: number;
  /** Indicates instead of notifying, and has the characteristics the other way round, as the micro:bit. */
  readonly indicates?: boolean;
  /** Only writes that are confirmed, or only those that are not. Default both. */
  readonly writes?: "confirmed" | "unconfirmed";
  readonly service?: string;
  /** Answers these requests with an ATT error: of the list of characteristics, the subscription, every write. */
  readonly refuses?: { readonly list?: number; readonly subscription?: number; readonly writes?: number };
  /** Asks for pairing as soon as it is connected, and answers nothing before it got an answer. */
  readonly insistsOnSecurity?: boolean;
  /** It pairs, and keeps its bond in `flash`. */
  readonly pairs?: ResponderOptions;
  readonly flash?: Flash;
  /** Refuses subscription and writes on a link that is not encrypted. */
  readonly demandsEncryption?: boolean;
  /** Data of the Security Manager leave in pieces of so many octets, as of a radio without longer packets. */
  readonly pieceBytes?: number;
}

export const nordicUart = "6e400001b5a3f393e0a9e50e24dcca9e";
const toDevice = "6e400002b5a3f393e0a9e50e24dcca9e";
const fromDevice = "6e400003b5a3f393e0a9e50e24dcca9e";
const aclBytes = 192;
const attChannel = 4;
const signallingChannel = 5;
const securityChannel = 6;
/**
 * A radio sends a few packets in each connection event, and holds back the rest. Without that, hundreds of notifications
 * leave at once, and octets were lost when the receiver stood still: presumably btvirt finds no room in its socket.
 */
const valuesPerEvent = 8;
const connectionIntervalMs = 10;

interface PeripheralEvents {
  connected: [];
  disconnected: [reason: number];
  /** The other side subscribed: it can be spoken to. */
  subscribed: [];
  written: [bytes: Buffer];
  /** One notification or indication was sent. */
  notified: [bytes: Buffer];
}

export class Peripheral extends EventEmitter<PeripheralEvents> {
  readonly #options: PeripheralOptions;
  readonly #path: string;
  #socket = new Socket();
  readonly #service: string;
  #bytes: Buffer = Buffer.alloc(0);
  /** The link's handle, while there is one. */
  #link: number | undefined;
  #mtu = 23;
  #assembling: { channel: number; length: number; data: Buffer } | undefined;
  #packets: Buffer[] = [];
  #inController = 0;
  #rests = false;
  #awaitsConfirmation = false;
  #values: Buffer[] = [];
  #answers = new Map<number, (result: Buffer) => void>();
  #heldBack: Buffer[] | undefined;
  #signals = new Map<number, (answer: Buffer) => void>();
  #responder: Responder | undefined;
  isEncrypted = false;
  isSubscribed = false;
  address = "";
  /** What the link was given, from first to last. */
  parameters: RawParameters[] = [];
  /** What came on the channel of the Security Manager. */
  readonly security: string[] = [];

  constructor(socketPath: string, options: PeripheralOptions = {}) {
    super();
    this.#options = options;
    this.#service = options.service ?? nordicUart;
    this.#path = socketPath;
  }

  get isConnected(): boolean {
    return this.#link !== undefined;
  }

  get mtu(): number {
    return this.#mtu;
  }

  async start(): Promise<void> {
    this.#socket = await connected(this.#path);
    this.#socket.on("data", (bytes) => this.#take(bytes));
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => {
      this.#lost(0x08);
      for (const answer of this.#answers.values()) answer(Buffer.alloc(8));
    });
    await this.#command(opcodes.reset);
    await this.#command(opcodes.setEventMask, Buffer.from("fffffbff07f8bf3d", "hex"));
    await this.#command(opcodes.setLeEventMask, Buffer.from("1f00000000000000", "hex"));
    const own = await this.#command(opcodes.readAddress);
    this.address = [...own.subarray(1, 7)].reverse().map(hexOctet).join(":");
    const { address } = this.#options;
    if (address !== undefined) {
      this.address = address;
      await this.#command(opcodes.setRandomAddress, littleEndian(address));
    }
  }

  /** Connectable, with the service's UUID and, in the scan response, the name. */
  async advertise(): Promise<void> {
    const name = this.#options.name ?? "test";
    await this.#advertise(
      0,
      Buffer.concat([element(1, Buffer.of(6)), element(7, littleEndian(this.#service))]),
      element(9, Buffer.from(name)),
    );
  }

  /** Not connectable, with these data; with a scan response, scannable. */
  async broadcast(data: Uint8Array, scanResponse: Uint8Array = Buffer.alloc(0)): Promise<void> {
    await this.#advertise(scanResponse.length > 0 ? 2 : 3, Buffer.from(data), Buffer.from(scanResponse));
  }

  /** The same by extended advertising, up to 229 octets. */
  async broadcastExtended(data: Uint8Array): Promise<void> {
    const { address } = this.#options;
    const parameters = Buffer.alloc(25);
    parameters[0] = 1; // its number; not connectable, not scannable
    parameters.writeUIntLE(0xa0, 3, 3);
    parameters.writeUIntLE(0xa0, 6, 3);
    parameters.set([7, address === undefined ? 0 : 1], 9);
    parameters.set([0x7f, 1, 0, 1, 1, 0], 19);
    await this.#command(opcodes.setExtendedAdvertising, parameters);
    if (address !== undefined) {
      await this.#command(opcodes.setExtendedAddress, Buffer.concat([Buffer.of(1), littleEndian(address)]));
    }
    await this.#command(
      opcodes.setExtendedData,
      Buffer.concat([Buffer.of(1, 3, 1, data.length), data, Buffer.alloc(251 - data.length)]),
    );
    await this.#command(opcodes.enableExtended, Buffer.of(1, 1, 1, 0, 0, 0));
  }

  async stopAdvertising(): Promise<void> {
    await this.#command(opcodes.enableAdvertising, Buffer.of(0));
  }

  /** One value, in as many notifications as it takes. */
  notify(value: Uint8Array): void {
    if (this.#link === undefined || !this.isSubscribed) return;
    const size = Math.min(this.#mtu - 3, this.#options.chunkBytes ?? Number.POSITIVE_INFINITY);
    for (let at = 0; at < value.length; at += size) this.#values.push(Buffer.from(value.subarray(at, at + size)));
    this.#sendValues();
  }

  async hangUp(): Promise<void> {
    if (this.#link === undefined) return;
    const command = Buffer.alloc(3);
    command.writeUInt16LE(this.#link);
    command[2] = 0x13;
    this.#write(opcodes.disconnect, command);
    await new Promise<void>((resolve) => this.once("disconnected", () => resolve()));
  }

  /** Asks for other parameters by L2CAP, as most stacks do. True: granted. */
  async askParameters(min: number, max: number, latency: number, timeout: number): Promise<boolean> {
    const identifier = this.#signals.size + 1;
    const request = Buffer.alloc(12);
    request.set([0x12, identifier, 8, 0]);
    for (const [i, value] of [min, max, latency, timeout].entries()) request.writeUInt16LE(value, 4 + 2 * i);
    const answer = new Promise<Buffer>((resolve) => this.#signals.set(identifier, resolve));
    this.#send(signallingChannel, request);
    return (await answer).readUInt16LE(4) === 0;
  }

  /** The same by its controller, which tells the outcome by an event. */
  askParametersByController(min: number, max: number, latency: number, timeout: number): void {
    const values = Buffer.alloc(14);
    for (const [i, value] of [this.#link ?? 0, min, max, latency, timeout].entries())
      values.writeUInt16LE(value, 2 * i);
    this.#write(opcodes.updateConnection, values);
  }

  /** Without power: its controller disappears, without a disconnection. */
  kill(): void {
    this.#socket.destroy();
  }

  async #advertise(type: number, data: Buffer, scanResponse: Buffer): Promise<void> {
    await this.stopAdvertising();
    const parameters = Buffer.alloc(15);
    parameters.writeUInt16LE(0x00a0, 0);
    parameters.writeUInt16LE(0x00a0, 2);
    parameters[4] = type;
    parameters[5] = this.#options.address === undefined ? 0 : 1;
    parameters[13] = 7;
    await this.#command(opcodes.setAdvertising, parameters);
    await this.#command(opcodes.setAdvertisingData, padded(data));
    await this.#command(opcodes.setScanResponse, padded(scanResponse));
    await this.#command(opcodes.enableAdvertising, Buffer.of(1));
  }

  async #command(opcode: number, parameters: Uint8Array = Buffer.alloc(0)): Promise<Buffer> {
    const answer = new Promise<Buffer>((resolve) => this.#answers.set(opcode, resolve));
    this.#write(opcode, parameters);
    return await answer;
  }

  #write(opcode: number, parameters: Uint8Array): void {
    if (this.#socket.destroyed) return;
    const head = Buffer.from([1, opcode & 0xff, opcode >> 8, parameters.length]);
    this.#socket.write(Buffer.concat([head, parameters]));
  }

  #take(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    while (this.#bytes.length >= 3) {
      const isEvent = this.#bytes[0] === 4;
      if (!isEvent && this.#bytes.length < 5) return;
      const length = isEvent ? 3 + this.#bytes.readUInt8(2) : 5 + this.#bytes.readUInt16LE(3);
      if (this.#bytes.length < length) return;
      const packet = this.#bytes.subarray(0, length);
      this.#bytes = this.#bytes.subarray(length);
      if (isEvent) this.#onEvent(packet.readUInt8(1), packet.subarray(3));
      else this.#onAcl(packet);
    }
  }

  #onEvent(code: number, data: Buffer): void {
    if (code === 0x0e) {
      const opcode = data.readUInt16LE(1);
      this.#answers.get(opcode)?.(Buffer.from(data.subarray(3)));
      this.#answers.delete(opcode);
    } else if (code === 0x13) {
      this.#inController = Math.max(0, this.#inController - data.readUInt16LE(3));
      this.#flush();
    } else if (code === 0x05 && data.readUInt16LE(1) === this.#link) {
      this.#lost(data.readUInt8(3));
    } else if (code === 0x3e && data[0] === 0x01 && data[1] === 0) {
      this.#link = data.readUInt16LE(2);
      this.#mtu = 23;
      this.parameters = [parametersAt(data, 12)];
      this.isEncrypted = false;
      this.#responder = this.#newResponder(data);
      if (this.#options.insistsOnSecurity === true) {
        this.#heldBack = [];
        this.#send(securityChannel, Buffer.of(0x0b, 0x01));
      }
      this.emit("connected");
    } else if (code === 0x3e && data[0] === 0x05) {
      const key = this.#responder?.keyFor(data.subarray(3, 11), data.readUInt16LE(11));
      const handle = data.subarray(1, 3);
      if (key) this.#write(opcodes.keyForGateway, Buffer.concat([handle, Buffer.from(key).reverse()]));
      else this.#write(opcodes.noKeyForGateway, handle);
    } else if (code === 0x08 && data.readUInt16LE(1) === this.#link) {
      this.isEncrypted = data[0] === 0 && data[3] !== 0;
      if (!this.isEncrypted) return;
      this.#responder?.encrypted();
      this.#hearHeldBack();
    } else if (code === 0x3e && data[0] === 0x03 && data[1] === 0) {
      this.parameters.push(parametersAt(data, 4));
    } else if (code === 0x3e && data[0] === 0x06) {
      this.#write(opcodes.acceptParameters, Buffer.concat([data.subarray(1, 11), Buffer.alloc(4)]));
    }
  }

  #lost(reason: number): void {
    if (this.#link === undefined) return;
    this.#link = undefined;
    this.isSubscribed = false;
    this.#assembling = undefined;
    this.#packets = [];
    this.#values = [];
    this.#inController = 0;
    this.#awaitsConfirmation = false;
    this.#heldBack = undefined;
    this.emit("disconnected", reason);
  }

  #onAcl(packet: Buffer): void {
    const isContinuation = (packet.readUInt16LE(1) >> 12) % 4 === 1;
    if (!isContinuation) {
      const length = packet.readUInt16LE(5);
      this.#assembling = { length, channel: packet.readUInt16LE(7), data: Buffer.from(packet.subarray(9)) };
    } else if (this.#assembling) {
      this.#assembling.data = Buffer.concat([this.#assembling.data, packet.subarray(5)]);
    }
    const whole = this.#assembling;
    if (!whole || whole.data.length < whole.length) return;
    this.#assembling = undefined;
    if (whole.channel === attChannel) {
      if (this.#heldBack) this.#heldBack.push(whole.data);
      else this.#onAtt(whole.data);
    } else if (whole.channel === signallingChannel) {
      this.#signals.get(whole.data.readUInt8(1))?.(whole.data);
    } else if (whole.channel === securityChannel) {
      this.security.push(whole.data.toString("hex"));
      if (this.#responder) this.#responder.receive(whole.data);
      else this.#hearHeldBack();
    }
  }

  #hearHeldBack(): void {
    const held = this.#heldBack ?? [];
    this.#heldBack = undefined;
    for (const request of held) this.#onAtt(request);
  }

  #newResponder(connected: Buffer): Responder | undefined {
    const { pairs, flash = {}, address } = this.#options;
    if (!pairs) return undefined;
    const gateway = Buffer.concat([connected.subarray(5, 6), Buffer.from(connected.subarray(6, 12)).reverse()]);
    const own = Buffer.from(this.address.replaceAll(":", ""), "hex");
    const device = Buffer.concat([Buffer.of(address === undefined ? 0 : 1), own]);
    return new Responder(pairs, flash, [gateway, device], (pdu) => this.#send(securityChannel, Buffer.from(pdu)));
  }

  /** Attributes: 1 service, 2 and 3 the first characteristic, 4 and 5 the second, 6 its configuration. */
  #onAtt(request: Buffer): void {
    const opcode = request.readUInt8(0);
    switch (opcode) {
      case 0x02: {
        const own = this.#options.mtu ?? 247;
        this.#mtu = Math.max(23, Math.min(own, request.readUInt16LE(1)));
        const answer = Buffer.from([0x03, 0, 0]);
        answer.writeUInt16LE(own, 1);
        return this.#att(answer);
      }
      case 0x10: {
        if (request.readUInt16LE(1) > 1) return this.#refuse(request);
        return this.#att(Buffer.concat([Buffer.from([0x11, 20, 1, 0, 6, 0]), littleEndian(this.#service)]));
      }
      case 0x08:
        return this.#readByType(request);
      case 0x12: {
        const handle = request.readUInt16LE(1);
        if (this.#options.demandsEncryption === true && !this.isEncrypted) return this.#refuse(request, 0x0f);
        const refusal = this.#options.refuses?.[handle === 6 ? "subscription" : "writes"];
        if (refusal !== undefined) return this.#refuse(request, refusal);
        this.#att(Buffer.of(0x13));
        if (handle === 6) this.#subscribe(request.readUInt16LE(3));
        else this.emit("written", Buffer.from(request.subarray(3)));
        return;
      }
      case 0x52:
        this.emit("written", Buffer.from(request.subarray(3)));
        return;
      case 0x1e:
        this.#awaitsConfirmation = false;
        return this.#sendValues();
      default:
        return this.#refuse(request);
    }
  }

  #readByType(request: Buffer): void {
    const [first, last, type] = [request.readUInt16LE(1), request.readUInt16LE(3), request.readUInt16LE(5)];
    if (type === 0x2902 && first <= 6 && last >= 6) return this.#att(Buffer.from([0x09, 4, 6, 0, 0, 0]));
    const refusal = this.#options.refuses?.list;
    if (type === 0x2803 && refusal !== undefined) return this.#refuse(request, refusal);
    if (type !== 0x2803 || first > 4) return this.#refuse(request);
    const writable = { confirmed: 0x08, unconfirmed: 0x04, both: 0x0c }[this.#options.writes ?? "both"];
    const [speaks, id] = this.#options.indicates === true ? [0x20, toDevice] : [0x10, fromDevice];
    const hears = this.#options.indicates === true ? fromDevice : toDevice;
    const declaration = first <= 2 ? [2, 0, writable, 3, 0] : [4, 0, speaks, 5, 0];
    this.#att(Buffer.concat([Buffer.from([0x09, 21, ...declaration]), littleEndian(first <= 2 ? hears : id)]));
  }

  #subscribe(value: number): void {
    this.isSubscribed = value !== 0;
    if (this.isSubscribed) this.emit("subscribed");
  }

  /** "Attribute not found", unless told. */
  #refuse(request: Buffer, code = 0x0a): void {
    this.#att(Buffer.from([0x01, request.readUInt8(0), request[1] ?? 0, request[2] ?? 0, code]));
  }

  #sendValues(): void {
    const indicates = this.#options.indicates === true;
    for (let sent = 0; !this.#rests; sent++) {
      if (indicates && this.#awaitsConfirmation) return;
      if (sent === valuesPerEvent) return this.#rest();
      const value = this.#values.shift();
      if (!value) return;
      this.#awaitsConfirmation = indicates;
      this.#att(Buffer.concat([Buffer.from([indicates ? 0x1d : 0x1b, 5, 0]), value]));
      this.emit("notified", value);
    }
  }

  /** Until the next connection event. */
  #rest(): void {
    this.#rests = true;
    setTimeout(() => {
      this.#rests = false;
      this.#sendValues();
    }, connectionIntervalMs);
  }

  #att(pdu: Buffer): void {
    this.#send(attChannel, pdu);
  }

  #send(channel: number, pdu: Buffer): void {
    if (this.#link === undefined) return;
    const l2cap = Buffer.alloc(4 + pdu.length);
    l2cap.writeUInt16LE(pdu.length, 0);
    l2cap.writeUInt16LE(channel, 2);
    pdu.copy(l2cap, 4);
    const size = channel === securityChannel ? (this.#options.pieceBytes ?? aclBytes) : aclBytes;
    for (let at = 0; at < l2cap.length; at += size) {
      const part = l2cap.subarray(at, at + size);
      const head = Buffer.alloc(5);
      head[0] = 2;
      head.writeUInt16LE(this.#link | (at === 0 ? 0 : 0x1000), 1);
      head.writeUInt16LE(part.length, 3);
      this.#packets.push(Buffer.concat([head, part]));
    }
    this.#flush();
  }

  #flush(): void {
    while (this.#inController < 1) {
      const packet = this.#packets.shift();
      if (!packet) return;
      this.#inController++;
      this.#socket.write(packet);
    }
  }
}
