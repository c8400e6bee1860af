/** The gateway of a world: the shipped core, driver and table of the store. It dies, and is started again over what was on disk. */
import { type AccessPolicy, admitAll } from "../../src/core/access.ts";
import type { GatewayEvent } from "../../src/core/event.ts";
import { GatewayCore } from "../../src/core/gateway-core.ts";
import type { CoreOptions } from "../../src/core/options.ts";
import type { StoredState } from "../../src/core/record.ts";
import type { Publication } from "../../src/core/types.ts";
import { Driver } from "../../src/runtime/driver.ts";
import type { Edges } from "../../src/runtime/perform.ts";
import { StateTable } from "../../src/storage/state-table.ts";
import type { UpstreamEvents } from "../../src/upstream/link.ts";
import { CheckedCore } from "../helpers/checked-core.ts";
import { CrashPoint, mortal } from "./crash.ts";
import { SimTransport } from "./network.ts";
import { testOptions } from "./options.ts";
import { SimProcess } from "./process.ts";
import { Rng } from "./rng.ts";
import { SimStore } from "./sim-store.ts";
import { SimUpstream } from "./sim-upstream.ts";
import { isForAll, textOf } from "./texts.ts";
import { Violation } from "./violation.ts";
import { VirtualClock } from "./virtual-time.ts";
import type { World } from "./world.ts";

/** The wall clock at the beginning of the world. */
const worldBeganAt = 1_800_000_000_000;
/** Sessions are taken up in slices. */
const statesPerSlice = 2;
/** The longest time between two slices that come while clients are served. */
const lateSliceMs = 3_000;
/** Calls of an edge in one run of a gateway that is to die. */
const usualCrashCalls = [50, 3_000] as const;
const usualReconnectMs = [500, 5_000] as const;

export class SimGateway {
  /** What is on disk. */
  readonly table = new StateTable();
  /** Payloads of publications that were on disk at any time. */
  readonly kept = new Set<string>();
  runs = 0;
  /** undefined between two runs. */
  core: GatewayCore | undefined;
  process: SimProcess | undefined;
  readonly #world: World;
  #crash: CrashPoint | undefined;
  /** While sessions are restored: what the gateway was handed for its clients. */
  #waiting: [clientId: string, publication: Publication][] | undefined;
  /** Of the process that runs now: since when its clock is right. */
  #clockSetAt = Number.POSITIVE_INFINITY;

  constructor(world: World) {
    this.#world = world;
  }

  start(): void {
    this.runs++;
    this.#world.judge.gatewayBegins();
    const { core: overrides, crashes, wrap, cheat } = this.#world.options;
    const core = new (this.#world.options.unchecked ? GatewayCore : CheckedCore)(
      { ...testOptions, ...overrides, ...cheat, ...this.#access() },
      {
        maxMessageBytes: () => 1_024,
        hostOf: (peer) => peer,
        identityOf: (peer) => ({ name: peer, by: "address", verified: false }),
        wallClock: () => this.#wallClock(),
        random: () => this.#world.rng.next(),
      },
    );
    const process = new SimProcess(this.#world.time);
    const clock = new VirtualClock(process.timers);
    const upstream = new SimUpstream(this.#world.broker, process, this.#world.rng, this.#reconnectMs);
    upstream.onSent = (connection, packetId, packet) => {
      if (!this.#world.poison) return;
      this.#world.note(`sends ${packetId} "${typeof packet === "string" ? packet : textOf(packet)}" to ${connection}`);
      this.#world.poison.sends(connection, packetId, packet);
    };
    const store = this.#newStore(process);
    const edges: Edges = {
      transports: new Map([["sim", new SimTransport(this.#world.network)]]),
      upstream,
      store: store.driven,
      report: (event) => {
        this.#world.note(`core ${JSON.stringify(event)}`);
        this.#world.judge.onReport(event);
        if (isSilence(event) && event.peer !== undefined && process.hasUnread(event.peer))
          throw new Violation(`${event.clientId} is lost (${event.why}), and its words wait to be read`);
        this.#world.observer.reported(event);
      },
    };
    const dies = crashes && !this.#world.isHealed;
    const { crashAt } = this.#world.options;
    const lastCall = crashAt && this.runs === 1 ? crashAt.call : Number.POSITIVE_INFINITY;
    const point = new CrashPoint(
      dies ? this.#world.rng.int(...(this.#world.options.crashCalls ?? usualCrashCalls)) : lastCall,
      () => {
        store.crash(crashAt?.share ?? this.#world.rng.next());
        this.#world.note("the gateway dies");
        clock.stop();
        upstream.die();
        process.die();
        this.#world.network.gateway = undefined;
        this.#world.network.socket = undefined;
        this.core = undefined;
        this.#waiting = undefined;
        const durable = this.#world.options.core.durable === true;
        this.#world.secure?.dies(durable);
        this.#world.poison?.died();
        this.#world.judge.gatewayCrashed({ kept: durable && this.#world.options.storeFailure === 0, durable });
        this.#world.observer.gatewayDied();
        this.#world.time.plan(this.#world.rng.between(100, 20_000), () => this.start());
      },
    );
    this.#crash = point;
    const mortals = mortal(edges, point);
    const driver = new Driver(wrap ? wrap(core) : core, mortals, clock);
    const handle: Driver["handle"] = (input) => {
      if (!point.dead) driver.handle(input);
    };
    const comes: Driver["handle"] = (input) => process.comes(() => handle(input));
    const delivered: UpstreamEvents["delivered"] = (linkId, delivery) => {
      const clientId = upstream.clientOf(linkId);
      if (clientId !== undefined) {
        const { publication } = delivery;
        const recipients = this.#world.recipients.of(clientId, publication);
        for (const { clientId: each } of isForAll(publication.topicName) ? this.#world.devices : [])
          if (!recipients.includes(each)) this.#world.law.mayHaveBeenHanded(each, publication);
        for (const recipient of recipients) {
          this.#world.observer.handedToGateway(recipient, publication);
          this.#world.law.handed(recipient, publication);
          if (this.#waiting) this.#waiting.push([recipient, publication]);
          if (this.#waiting) this.#world.law.mayHaveBeenHanded(recipient, publication);
        }
      }
      this.#world.note(
        `handed "${Buffer.from(delivery.publication.payload)}" QoS ${delivery.publication.qos} as ${delivery.packetId}${delivery.dup ? " again" : ""} on ${linkId}`,
      );
      handle({ kind: "delivered", linkId, ...delivery });
    };
    upstream.startNow({
      up: (linkId, sessionPresent, limits) => {
        this.#world.poison?.up(upstream.clientOf(linkId) ?? "");
        comes({ kind: "linkUp", linkId, sessionPresent, limits });
      },
      refused: (linkId, refusal, reason) => comes({ kind: "linkRefused", linkId, refusal, reason }),
      down: (linkId, end) => comes({ kind: "linkDown", linkId, ...end }),
      pong: (linkId) => comes({ kind: "pong", linkId }),
      congested: (linkId, congested) => comes({ kind: "linkCongested", linkId, congested }),
      delivered: (linkId, delivery) => process.comes(() => delivered(linkId, delivery)),
      released: (linkId, packetId) => {
        this.#world.note(`released ${packetId} on ${linkId}`);
        comes({ kind: "released", linkId, packetId });
      },
      acked: (linkId, ack, packetId, code) =>
        process.comes(() => {
          this.#world.poison?.acked(upstream.clientOf(linkId) ?? "", packetId);
          handle({ kind: "brokerAck", linkId, ack, packetId, code });
        }),
    });
    this.#world.network.gateway = {
      datagram: (from, bytes) => handle({ kind: "datagram", from, bytes }),
      peerGone: () => {},
      failed: () => {},
      notice: () => {},
    };
    const commit: Edges["store"]["commit"] = (...words) => mortals.store.commit(...words);
    if (this.#world.secure) this.#world.secure.begins({ process, store: store.store, commit, point });
    else this.#world.network.socket = (from, arrive) => process.datagram(from, arrive);
    this.process = process;
    this.core = core;
    this.#startClock(comes);
    const states = [...this.table.states()];
    if (this.#world.options.core.durable !== true || states.length === 0) return driver.start();
    const letters = [...this.table.letters].map(([id, [clientId]]) => [id, clientId] as const);
    handle({ kind: "restored", known: [...this.table.known], letters });
    if (this.#world.options.restoresLate) return this.#restoreLate(states, process, handle, () => driver.start());
    for (let at = 0; at < states.length; at += statesPerSlice)
      handle({ kind: "restored", states: states.slice(at, at + statesPerSlice) });
    driver.start();
  }

  /** What the core needs first is restored at once. Then clients are served, and the rest comes in slices. */
  #restoreLate(states: readonly StoredState[], process: SimProcess, handle: Driver["handle"], serve: () => void): void {
    const rng = new Rng(this.#world.options.seed ^ (this.runs * 0x10001));
    const isFirst = ({ session, uplink }: StoredState) => session.clientId.startsWith("\0") || uplink.length > 0;
    handle({ kind: "restored", goesOn: true, states: states.filter(isFirst) });
    const rest = [...states]; // the slices have those that came first again
    serve();
    this.#waiting = [];
    // The states are those of the start: whatever has happened to a client since, the core knows better.
    const next = (): void => {
      const some = rest.splice(0, rng.int(1, statesPerSlice));
      if (some.length === 0) {
        this.#nothingWaits();
        return handle({ kind: "restored", goesOn: true, isComplete: true });
      }
      handle({ kind: "restored", goesOn: true, states: some });
      process.plan(rng.between(0, lateSliceMs), next);
    };
    process.plan(rng.between(0, lateSliceMs), next);
  }

  /** What was handed over meanwhile is dealt with only now, in one go. */
  #nothingWaits(): void {
    for (const [clientId, publication] of this.#waiting ?? []) {
      this.#world.law.handed(clientId, publication);
      this.#world.law.mayHaveBeenHanded(clientId, publication);
    }
    this.#waiting = undefined;
  }

  /** The running process is killed, and starts again some time later. */
  cutPower(): void {
    this.#crash?.die();
  }

  /** It does not die any more. */
  spare(): void {
    if (this.#crash) this.#crash.spared = true;
  }

  /** Edge calls of the process that runs. */
  get calls(): number {
    return this.#crash?.passed ?? 0;
  }

  get #reconnectMs(): readonly [number, number] | undefined {
    return this.#world.options.pauses ? undefined : (this.#world.options.pace?.reconnectMs ?? usualReconnectMs);
  }

  #startClock(handle: Driver["handle"]): void {
    const { clock } = this.#world.options;
    this.#clockSetAt = clock === "always" ? 0 : Number.POSITIVE_INFINITY;
    if (clock !== "late") return;
    const at = this.#world.time.now() + this.#world.rng.between(0, 600_000);
    this.#clockSetAt = at;
    this.#world.time.plan(at - this.#world.time.now(), () => {
      if (this.#clockSetAt === at) handle({ kind: "clockSet" });
    });
  }

  /** Before it is set, a Pi's clock begins again with each start. */
  #wallClock(): number | undefined {
    if (this.#world.time.now() >= this.#clockSetAt) return worldBeganAt + this.#world.time.now();
    return this.#world.options.believes ? worldBeganAt - 86_400_000 : undefined;
  }

  /** Commits take time, in order, and fail now and then. */
  #newStore(process: SimProcess): SimStore {
    return new SimStore({
      time: process,
      rng: this.#world.rng,
      table: this.table,
      fails: () => !this.#world.isHealed && this.#world.rng.chance(this.#world.options.storeFailure),
      asked: (changes) => {
        this.#world.law.decided(changes);
        this.#world.poison?.decided(changes);
      },
      onDisk: (change) => {
        this.#world.secure?.onDisk(change);
        this.#world.poison?.onDisk(change);
        if ((change.of === "backlog" || change.of === "uplink") && change.record)
          this.kept.add(Buffer.from(change.record.publication.payload).toString());
      },
    });
  }

  /** From the second run on one client is not admitted. */
  #access(): Partial<CoreOptions> {
    const { denied } = this.#world.options;
    if (denied === undefined || this.runs < 2) return {};
    this.#world.judge.denies(denied);
    const client: AccessPolicy["client"] = (clientId) =>
      clientId === denied ? { admitted: false, hint: "" } : { admitted: true };
    return { access: { ...admitAll, client } };
  }
}

function isSilence(event: GatewayEvent): event is Extract<GatewayEvent, { event: "client_state" }> {
  return event.event === "client_state" && event.state === "lost" && /ran out|too long/.test(event.why);
}
