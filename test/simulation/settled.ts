/** What must hold in the end, when no more faults come: all is delivered, everybody is connected, tables are small. */
import { textOf } from "./texts.ts";
import { Violation } from "./violation.ts";
import type { World } from "./world.ts";

export class Settled {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Every device is connected (or sleeps in order), no message waits that could have been sent, tables are small. */
  check(): void {
    // A sleeping device gets a limited number of messages per wake-up: a long queue needs several.
    this.#emptyQueues();
    // Sleepers come and go: one may be in the middle of a CONNECT at this very moment, or a small client lost over silence.
    const isConnecting = () =>
      (this.#world.gateway.core?.sizes.pendingConnects ?? 0) > 0 ||
      (this.#world.options.smallClients === true &&
        this.#world.devices.some(({ device }) => device.state === "disconnected"));
    for (let tries = 0; tries < 30 && isConnecting(); tries++) this.#world.run(1_000);
    this.#world.judge.nothingPromisedIsMissing((clientId) => this.#waitingFor(clientId));
    this.#world.judge.nothingToldIsMissing();
    this.#world.poison?.nothingIsLost(this.#onItsWay());
    for (const device of this.#world.devices) {
      if (device.device.state !== "disconnected" || this.#world.poison?.isSick(device.clientId)) continue;
      if (this.#world.poison?.hasJustEnded(device.clientId)) continue;
      if (
        this.#world.judge.isRefusedForWill(device.clientId) ||
        (this.#world.poison && this.#world.gateway.core?.brokerThere === false)
      )
        continue;
      throw new Error(`${device.clientId} is still disconnected`);
    }
    const sizes = this.#world.gateway.core?.sizes;
    const most = this.#world.devices.length + 2;
    if (
      sizes &&
      (sizes.pendingConnects > 0 || sizes.links > most || sizes.sessions > most || sizes.deadlines > 4 * most)
    ) {
      throw new Error(`tables have not settled: ${JSON.stringify(sizes)}`);
    }
    for (const session of this.#world.gateway.core?.sessions() ?? []) {
      // What a client cannot take may wait for its proof a long time.
      const isSmall = this.#world.options.smallClients === true;
      // Each connection subscribes again, and so causes retained messages.
      const endsAlways = this.#world.poison?.isSick(session.clientId) === true;
      if (!isSmall && !endsAlways && session.state !== "disconnected" && session.waitingMessages > 0)
        throw new Error(`${session.clientId} is ${session.state}, ${session.waitingMessages} wait`);
      // With several refused packets and nothing else, it cannot be known that the broker is not at fault.
      if (session.owedToBroker > 0 && !this.#world.options.poison)
        throw new Error(`${session.owedToBroker} publications of ${session.clientId} wait for the broker`);
    }
    this.#checkSubscriptions();
  }

  /**
   * One more message to each device, and one to all, for all devices that are subscribed, without a new SUBSCRIBE before it; and a new
   * device, which gets the retained messages.
   */
  #checkSubscriptions(): void {
    const late = this.#world.addDevice("late", {
      clean: true,
      sleepSeconds: 0,
      publishEveryMs: 0,
      subscribeQoS: 1,
      will: false,
      joins: ["d/all/#"],
      bufferBytes: Number.POSITIVE_INFINITY,
      knowsRegister: true,
    });
    late.resting = true;
    const topics = ["all", ...this.#world.devices.map(({ clientId }) => clientId)].map((whose) => `d/${whose}/0`);
    this.#world.run(60_000);
    // At QoS 0 it may have come while the client had no connection.
    const sure = this.#world.devices.filter(({ habits }) => habits.subscribeQoS > 0);
    const owed = topics.flatMap((topicName) =>
      sure.flatMap(({ clientId }) =>
        this.#world.judge.isOwed(clientId, topicName) ? [[clientId, `${topicName}|999999`] as const] : [],
      ),
    );
    for (const topicName of topics) {
      this.#world.broker.publish({ topicName, payload: Buffer.from(`${topicName}|999999`), qos: 1, retain: false });
    }
    this.#world.run(60_000);
    const isMissing = (clientId: string, payload: string) =>
      !this.#world.law.wasHanded(clientId, payload) && !this.#world.queuedFor.has(`${clientId} ${payload}`);
    const missing = owed.filter((each) => isMissing(...each) && !this.#world.poison?.isSick(each[0]));
    if (missing.length > 0)
      throw new Violation(`${missing.join("; ")}: subscribed, and the broker knows nothing of it`);
    this.#emptyQueues();
    this.#world.judge.nothingPromisedIsMissing((clientId) => this.#waitingFor(clientId));
    // Where connections still end, its SUBSCRIBE may have come between two of them.
    const isSubscribed =
      !this.#world.poison?.isSick("late") && (!this.#world.poison || this.#world.judge.isOwed("late", "d/all/0"));
    for (const kept of isSubscribed ? this.#world.keptBy("d/all/#") : []) {
      if (!this.#world.judge.hasGot("late", textOf(kept)))
        throw new Violation(`late never got the retained "${textOf(kept)}"`);
    }
  }

  #emptyQueues(): void {
    for (let i = 0; i < this.#patience && this.#somebodyWaits(); i++) {
      for (let minutes = 10; minutes > 0; minutes--) {
        if (this.#world.options.smallClients) this.#sendSmall();
        this.#world.run(60_000);
      }
    }
    // What was sent last may wait behind a round, or for a wake-up.
    if (this.#world.options.smallClients && this.#somebodyWaits()) this.#world.run(10 * 60_000);
  }

  /** Tens of minutes that queues are given to empty. */
  get #patience(): number {
    if (this.#world.poison) return 40; // some may wait for ever: see the law
    return this.#world.options.smallClients ? 9 : 60;
  }

  /** Something that each can take, and answers: what it never does comes to an end. */
  #sendSmall(): void {
    for (const { clientId } of this.#world.devices) {
      const topicName = `d/${clientId}/0`;
      const payload = new TextEncoder().encode(`${topicName}|${this.#world.nextNumber()}`);
      this.#world.broker.publish({ topicName, payload, qos: 1, retain: false });
    }
  }

  #somebodyWaits(): boolean {
    return [...(this.#world.gateway.core?.sessions() ?? [])].some(
      ({ waitingMessages, owedToBroker }) => waitingMessages + owedToBroker > 0,
    );
  }

  /** What is on disk for the broker. */
  #onItsWay(): ReadonlySet<string> {
    const texts = [...this.#world.gateway.table.states()].flatMap(({ session, uplink }) => [
      ...uplink.map(([, { publication }]) => textOf(publication)),
      ...this.#world.gateway.table
        .read(session.clientId, 0, Number.POSITIVE_INFINITY)
        .map(([, { publication }]) => textOf(publication)),
    ]);
    return new Set(texts);
  }

  /** What stands aside for a client with a small buffer may wait long, if others come all the time. */
  #waitingFor(clientId: string): ReadonlySet<string> {
    if (!this.#world.options.smallClients) return new Set();
    const state = this.#world.gateway.table.state(clientId);
    return new Set(state?.queued.map(([, { publication }]) => textOf(publication)));
  }
}
