/**
 * Adapts a will to what the broker accepts. If the broker does not support retained messages or the QoS of the will, it would refuse
 * CONNECT or close the connection, and no device would be connected. The limits are known for all connections of an upstream: from the
 * configuration, from CONNACK, and from a CONNECT that was refused because of the will (MQTT 5).
 */
import type { BrokerLimits, QoS, Will } from "../core/types.ts";
import type { Notice } from "./link.ts";
import type { BrokerWays } from "./presets.ts";

const retainNotSupported = 0x9a;
const qosNotSupported = 0x9b;

export class WillRules {
  readonly #ways: BrokerWays;
  readonly #told: Notice;
  /** The limits of the last CONNACK. */
  #said: Pick<BrokerLimits, "retainAvailable" | "maximumQoS"> = { retainAvailable: true, maximumQoS: 2 };
  /** True after a CONNECT was refused for this, also if later CONNACKs do not mention it. */
  #refusesRetain = false;
  #refusesAbove: QoS = 2;
  #isTold = false;

  constructor(ways: BrokerWays, told: Notice) {
    this.#ways = ways;
    this.#told = told;
  }

  /** The will without properties that the broker is known not to accept. */
  taken(will: Will): Will {
    const isRetained = this.#ways.retain && this.#said.retainAvailable && !this.#refusesRetain;
    if (will.retain && !isRetained && !this.#isTold) {
      this.#isTold = true;
      const say =
        "the broker accepts no retained messages: wills and status messages are published without being retained";
      this.#told("warn", say);
    }
    const qos = Math.min(will.qos, this.#ways.qosMax, this.#said.maximumQoS, this.#refusesAbove) as QoS;
    return { ...will, qos, retain: will.retain && isRetained };
  }

  /** MQTT 5: CONNACK. */
  learn(limits: BrokerLimits): void {
    this.#said = limits;
  }

  /** A CONNECT with this will was refused. True: the will is the cause, and the next CONNECT will differ. */
  refused(reasonCode: number, will: Will): boolean {
    if (reasonCode === retainNotSupported && will.retain) this.#refusesRetain = true;
    else if (reasonCode === qosNotSupported && will.qos > 0) this.#refusesAbove = (will.qos - 1) as QoS;
    else return false;
    return true;
  }
}
