/**
 * Finds out whether this broker sends a message once to a connection several of whose filters match, or once for each filter. In MQTT 3.1.1
 * this is the broker's choice, and the broker does not announce it. [MQTT-3.1.1 3.3.5] The test uses a separate connection, so no client is
 * affected if the broker closes it.
 *
 * Two messages are published. All copies of the first one have left the broker before the second one, because each filter gets them in
 * their order. They arrive a little later.
 */
import type { Copies } from "../core/types.ts";
import type { Delivery, UpstreamEvents } from "./link.ts";
import type { MqttLink } from "./mqtt-link.ts";

const patienceMs = 2_000;
const afterSecondMs = 100;

/** `open` makes the connection, and this function ends it. No client uses topics below `topic`. */
export function probeCopies(
  topic: string,
  open: (events: UpstreamEvents) => MqttLink,
  done: (copies: Copies | undefined) => void,
): void {
  let granted = 0;
  let firsts = 0;
  let wait: NodeJS.Timeout | undefined;
  let isOver = false;
  const finish = (copies: Copies | undefined) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(patience);
    clearTimeout(wait);
    link.close("disconnect", true, () => done(copies));
  };
  const patience = setTimeout(() => finish(undefined), patienceMs);
  const say = (word: number) =>
    link.publish({ topicName: `${topic}/x`, payload: Uint8Array.of(word), qos: 0, retain: false }, 0, false);
  const onDelivery = ({ publication }: Delivery) => {
    if (publication.topicName !== `${topic}/x`) return;
    if (publication.payload[0] === 1) firsts++;
    else wait ??= setTimeout(() => finish(firsts === 0 ? undefined : firsts > 1 ? "each" : "one"), afterSecondMs);
  };
  const link = open({
    up: () => {
      link.subscribe(1, `${topic}/+`, 0);
      link.subscribe(2, `${topic}/x`, 0);
    },
    refused: () => finish(undefined),
    down: () => finish(undefined),
    pong: () => {},
    congested: () => {},
    delivered: (_link, delivery) => onDelivery(delivery),
    released: () => {},
    acked: (_link, _ack, _packetId, code) => {
      if (code >= 0x80) return finish(undefined);
      if (++granted < 2) return;
      say(1);
      say(2);
    },
  });
  link.connect();
}
