/**
 * Drives noble. Every call has a deadline, because noble leaves calls unanswered when a link ends at the wrong moment. Writes are made one
 * after the other. Writes without confirmation are delayed, because noble queues without limit.
 */

import { pieces } from "../framing.ts";
import { createAdmission } from "./admission.ts";
import { broadcastPayload } from "./broadcast.ts";
import { bthomeData } from "./bthome.ts";
import type { CentralCommand, ChildOptions, ChildReport } from "./central.ts";
import type { LinkControl, LinkNews } from "./link-control.ts";
import { type SecurityFault, securingMsMax } from "./link-security.ts";
import { missingPiece, stateInWords } from "./missing.ts";
import type { Noble, NobleCharacteristic, NoblePeripheral, NobleService } from "./noble.ts";
import { asError, Insecure, Refusal, Requests, sayError, within } from "./noble-calls.ts";
import { advertisementOf, offering } from "./noble-device.ts";
import { NobleReports } from "./noble-reports.ts";
import { controlLinks } from "./noble-socket.ts";
import type { BleOptions } from "./options.ts";
import { pairingCrypto } from "./pairing-crypto.ts";
import { disconnectReason } from "./reasons.ts";
import { normalUuid } from "./uuid.ts";

/** The same advertisement is reported again after this time. */
const tellAgainMs = 500;
const peripheralsMax = 5_000;
const scanAnswerMs = 1_000;
const writeAnswerMs = 10_000;
/** noble asks for 256 and then accepts any value of the device. */
const mtuMin = 23;
const mtuMax = 256;
/** Milliseconds between unconfirmed writes: the shortest connection interval of Bluetooth. */
const paceMs = 8;
/**
 * If the device offers both ways of writing, one of so many pieces is written with confirmation. So the device sets the
 * pace.
 */
const confirmEvery = 16;
/** Units of the controller. */
const intervalUnitMs = 1.25;
const supervisionUnitMs = 10;
/**
 * A system's own adapter reports when it is removed. An adapter that only this process uses just does not answer any
 * more.
 */
const silentScansMax = 3;
const lastWordMs = 100;

interface Link {
  readonly peripheral: NoblePeripheral;
  readonly incoming: NobleCharacteristic;
  readonly outgoing: NobleCharacteristic;
  readonly mtu: number;
  /** Octets that came before the gateway knew of the link; undefined afterwards. */
  early: Buffer[] | undefined;
  writing: Promise<void>;
  sinceConfirmed: number;
}

/** The encryption of one link while it is being set up. */
interface Securing {
  moved(): void;
  secured(): void;
  failed(fault: SecurityFault, say: string): void;
  stop(): void;
}

export class NobleCentral {
  readonly #noble: Noble;
  readonly #options: ChildOptions;
  readonly #tell: (report: ChildReport) => void;
  readonly #admit: ReturnType<typeof createAdmission>;
  readonly #peripherals = new Map<string, NoblePeripheral>();
  /** The reports of each device and its broadcasts, with their times. */
  readonly #told = new Map<string, number>();
  readonly #reports: NobleReports;
  readonly #links = new Map<string, Link>();
  /** Scanning and connecting are executed one after the other. */
  #tasks: Promise<void> = Promise.resolve();
  #ready = false;
  #control: LinkControl | undefined;
  #silentScans = 0;
  /** Links that are being encrypted. */
  readonly #securing = new Map<string, Securing>();
  readonly #requests = new Requests();
  advertisements = 0;
  addresses = 0;

  constructor(noble: Noble, options: ChildOptions, tell: (report: ChildReport) => void) {
    this.#noble = noble;
    this.#reports = new NobleReports(noble);
    this.#options = options;
    this.#tell = tell;
    this.#admit = createAdmission(options as Pick<BleOptions, "allow" | "deny" | "service" | "rssiMin">);
    noble.on("warning", (text) => {
      const why = missingPiece(new Error(text), options.driver);
      if (why !== undefined) tell({ is: "unavailable", why });
      else console.error(`noble: ${text}`);
    });
    noble.on("discover", (peripheral) => this.#onDiscover(peripheral));
    noble.on("stateChange", (state) => this.#onState(state));
  }

  carryOut(command: CentralCommand): void {
    switch (command.do) {
      case "scan":
        this.#tasks = this.#tasks.then(() => this.#scan(command.on));
        return;
      case "link":
        this.#tasks = this.#tasks.then(() => this.#link(command));
        return;
      case "unlink":
        return this.#unlink(command.address);
      case "write":
        return this.#write(command);
    }
  }

  #onState(state: string): void {
    if (state === "unknown" || state === "resetting") return;
    if (state !== "poweredOn") return this.#tell({ is: "unavailable", why: stateInWords(state) });
    if (this.#ready) return;
    this.#ready = true;
    const { connection, supervisionMs, isAlone, extended } = this.#options;
    const own = () => ({ address: (this.#noble.address ?? "").toLowerCase(), type: "public" as const });
    const controlled = { connection, supervisionMs, isAlone, extended, own, crypto: pairingCrypto };
    this.#control = controlLinks(this.#noble, controlled, (news) => this.#onNews(news));
    if (!this.#control) console.error(`${this.#options.driver} is not as expected: its links are used as they are`);
    // The adapter's address comes with the next answers of the controller.
    setTimeout(() => {
      const address = this.#noble.address ?? "unknown";
      this.#tell({ is: "ready", adapter: `adapter ${address}`, driver: this.#options.driver });
    }, 50);
  }

  #onNews(news: LinkNews): void {
    switch (news.is) {
      case "refused":
        return this.#requests.refused(news.address, news.code);
      case "moved":
        return this.#securing.get(news.address)?.moved();
      case "secured":
        // The bond is reported before it is used, because the following steps may fail.
        if (news.bond) this.#tell({ is: "bonded", address: news.address, bond: news.bond });
        return this.#securing.get(news.address)?.secured();
      case "insecure":
        return this.#onInsecure(news);
      default:
        return this.#tell(news);
    }
  }

  #onInsecure({ address, fault, say }: Extract<LinkNews, { is: "insecure" }>): void {
    const securing = this.#securing.get(address);
    if (securing) return securing.failed(fault, say);
    this.#tell({ is: "noticed", address, say });
    this.#unlink(address);
  }

  #onDiscover(peripheral: NoblePeripheral): void {
    this.advertisements++;
    const seen = advertisementOf(peripheral, this.#reports.dataOf(peripheral.address.toLowerCase()));
    const payload = broadcastPayload(seen, this.#options.broadcast);
    const reading = bthomeData(seen, this.#options.broadcast.bthome);
    if (!this.#options.tellAll && !payload && !reading && this.#admit(seen) !== undefined) return;
    if (!this.#peripherals.has(seen.address)) this.addresses++;
    this.#peripherals.delete(seen.address);
    this.#peripherals.set(seen.address, peripheral);
    if (this.#peripherals.size > peripheralsMax) {
      const oldest = this.#peripherals.keys().next();
      if (!oldest.done) this.#peripherals.delete(oldest.value);
    }
    const now = performance.now();
    const data = [payload, reading].map((each) => (each ? Buffer.from(each).toString("hex") : "")).join(" ");
    const told = `${seen.address} ${data} ${seen.connectable} ${seen.name ?? ""}`;
    if (now - (this.#told.get(told) ?? -tellAgainMs) < tellAgainMs) return;
    if (this.#told.size >= peripheralsMax) this.#told.clear(); // devices are reported again, which does no harm
    this.#told.set(told, now);
    this.#tell({ is: "seen", ...seen });
  }

  async #scan(on: boolean): Promise<void> {
    if (on) {
      this.#told.clear(); // the gateway needs to know which devices are present now
      this.#reports.attach();
    }
    const event = on ? "scanStart" : "scanStop";
    const answered = new Promise<void>((resolve) => {
      const answer = () => {
        clearTimeout(timer);
        this.#silentScans = 0;
        resolve();
      };
      const timer = setTimeout(() => {
        this.#noble.removeListener(event, answer);
        this.#silentScans++;
        resolve();
      }, scanAnswerMs);
      this.#noble.once(event, answer);
    });
    try {
      if (on) this.#noble.startScanning([], true);
      else this.#noble.stopScanning();
    } catch (error) {
      console.error(`scan: ${String(error)}`);
    }
    await answered;
    if (this.#options.isAlone && this.#silentScans >= silentScansMax) {
      this.#tell({ is: "unavailable", why: "the adapter does not answer any more" });
    }
  }

  async #link({ address, security }: Extract<CentralCommand, { do: "link" }>): Promise<void> {
    const peripheral = this.#peripherals.get(address);
    if (!peripheral) return this.#tell({ is: "linkFailed", address, why: "it is not known (any more)" });
    if (security && !this.#control) {
      const why = "this driver is not as expected, so no link can be encrypted";
      return this.#tell({ is: "linkFailed", address, why, fault: "broken" });
    }
    this.#control?.want(address, security);
    try {
      await this.#setUp(address, peripheral, security !== undefined);
    } catch (error) {
      this.#links.delete(address);
      this.#control?.want(address, undefined);
      peripheral.removeAllListeners();
      // The device gets the reason before the link ends.
      if (error instanceof Insecure) await new Promise((resolve) => setTimeout(resolve, lastWordMs));
      if (peripheral.state === "connected") peripheral.disconnect();
      else this.#control?.hangUp(address);
      const why = error instanceof Error ? error.message : String(error);
      this.#tell({ is: "linkFailed", address, why, ...(error instanceof Insecure && { fault: error.fault }) });
    } finally {
      this.#securing.delete(address);
    }
  }

  /**
   * Encryption begins when the link exists, before noble reports it. A device must send nothing else before. So it has its own deadline,
   * which begins again with each packet of the device.
   */
  #secure(address: string, isWanted: boolean, onLost: (error: Error) => void): Promise<void> {
    if (!isWanted) return Promise.resolve();
    const { connectMs, pairingMs } = this.#options;
    const hangs = () => new Insecure("no-answer", `pairing hangs: it said nothing for ${pairingMs / 1_000} s`);
    const isSilent = () => new Error(`no answer to the attempt to connect within ${connectMs / 1_000} s`);
    return new Promise((resolve) => {
      let timer = setTimeout(() => onLost(isSilent()), connectMs);
      this.#securing.set(address, {
        moved: () => {
          clearTimeout(timer);
          timer = setTimeout(() => onLost(hangs()), pairingMs);
        },
        secured: () => {
          clearTimeout(timer);
          timer = setTimeout(() => onLost(isSilent()), connectMs); // noble has not reported the link yet
          resolve();
        },
        failed: (fault, say) => {
          clearTimeout(timer);
          onLost(new Insecure(fault, say));
        },
        stop: () => clearTimeout(timer),
      });
    });
  }

  async #setUp(address: string, peripheral: NoblePeripheral, isSecure: boolean): Promise<void> {
    const { connectMs, setUpMs, supervisionMs, connection } = this.#options;
    peripheral.removeAllListeners();
    let onLost: (error: Error) => void = () => {};
    const lost = new Promise<never>((_, reject) => {
      onLost = reject;
    });
    lost.catch(() => this.#securing.get(address)?.stop());
    const secured = this.#secure(address, isSecure, onLost);
    await within(connectMs + (isSecure ? securingMsMax : 0), "no answer to the attempt to connect", lost, (done) => {
      peripheral.once("connect", (error) => done(error ? new Error(`not connected: ${sayError(error)}`) : undefined));
      peripheral.connect({
        minInterval: Math.round(connection.intervalMsMin / intervalUnitMs),
        maxInterval: Math.round(connection.intervalMsMax / intervalUnitMs),
        latency: connection.latency,
        timeout: Math.round(supervisionMs / supervisionUnitMs),
      });
    }).catch((error: unknown) => {
      peripheral.cancelConnect();
      throw error;
    });
    peripheral.once("disconnect", (reason) => {
      const why = disconnectReason(Number(reason));
      if (this.#links.delete(address)) this.#tell({ is: "unlinked", address, why });
      else onLost(new Error(why));
      peripheral.removeAllListeners();
    });
    await Promise.race([secured, lost]);
    this.#securing.get(address)?.stop();
    this.#securing.delete(address);
    const services = await this.#requests.ask<readonly NobleService[]>(
      address,
      { ms: setUpMs, late: "it did not list its services", refused: "it does not list its services", mayLack: true },
      lost,
      (done) => peripheral.discoverServices([], (error, found) => done(asError(error), found)),
    );
    const wanted = normalUuid(this.#options.service);
    const service = services?.find(({ uuid }) => normalUuid(uuid) === wanted);
    if (!service) throw new Error(`it does not have the service ${this.#options.service}`);
    const characteristics = await this.#requests.ask<readonly NobleCharacteristic[]>(
      address,
      {
        ms: setUpMs,
        late: "it did not list its characteristics",
        refused: "it does not list its characteristics",
        mayLack: true,
      },
      lost,
      (done) => service.discoverCharacteristics([], (error, found) => done(asError(error), found)),
    );
    const incoming = offering(characteristics ?? [], ["notify", "indicate"]);
    const outgoing = offering(characteristics ?? [], ["writeWithoutResponse", "write"]);
    if (!incoming || !outgoing) throw new Error("its service has no characteristic to write to, or none that notifies");
    const mtu = Math.min(Math.max(peripheral.mtu ?? mtuMin, mtuMin), mtuMax);
    const link: Link = {
      peripheral,
      incoming,
      outgoing,
      mtu,
      early: [],
      writing: Promise.resolve(),
      sinceConfirmed: 0,
    };
    incoming.on("data", (bytes) => {
      if (link.early) link.early.push(bytes);
      else this.#tell({ is: "data", address, bytes });
    });
    await this.#requests.ask(
      address,
      { ms: setUpMs, late: "it did not take the subscription", refused: "it refuses the subscription" },
      lost,
      (done) => incoming.subscribe((error) => done(asError(error))),
    );
    this.#links.set(address, link);
    this.#control?.settle(address);
    this.#tell({ is: "linked", address, mtu, confirmed: !outgoing.properties.includes("writeWithoutResponse") });
    for (const bytes of link.early ?? []) this.#tell({ is: "data", address, bytes });
    link.early = undefined;
  }

  #unlink(address: string): void {
    const link = this.#links.get(address);
    if (link?.peripheral.state !== "connected") {
      this.#links.delete(address);
      return this.#tell({ is: "unlinked", address, why: "it was not connected" });
    }
    link.peripheral.disconnect();
  }

  #write({ address, id, bytes }: Extract<CentralCommand, { do: "write" }>): void {
    const link = this.#links.get(address);
    if (!link) return this.#tell({ is: "written", address, id, failed: "not connected" });
    link.writing = link.writing.then(async () => {
      try {
        for (const piece of pieces(bytes, link.mtu - 3)) await this.#writePiece(address, link, piece);
        this.#tell({ is: "written", address, id });
      } catch (error) {
        if (error instanceof Refusal) this.#tell({ is: "refused", address, why: error.message });
        this.#tell({ is: "written", address, id, failed: error instanceof Error ? error.message : String(error) });
      }
    });
  }

  async #writePiece(address: string, link: Link, piece: Uint8Array): Promise<void> {
    if (this.#links.get(address) !== link) throw new Error("the connection ended");
    const { outgoing } = link;
    const canConfirm = outgoing.properties.includes("write");
    const mayNotConfirm = outgoing.properties.includes("writeWithoutResponse");
    const confirm = canConfirm && (!mayNotConfirm || ++link.sinceConfirmed >= confirmEvery);
    if (confirm) link.sinceConfirmed = 0;
    const words = {
      ms: writeAnswerMs,
      late: "it did not confirm a write",
      refused: "it refuses what is written to it",
    };
    await this.#requests
      .ask(address, words, undefined, (done) =>
        outgoing.write(Buffer.from(piece), !confirm, (error) => done(asError(error))),
      )
      .catch((error: unknown) => {
        outgoing.removeAllListeners("write"); // noble does not call it for a refusal, but would for the next write
        throw error;
      });
    if (!confirm) await new Promise((resolve) => setTimeout(resolve, paceMs));
  }
}
