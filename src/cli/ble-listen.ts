/** Uses the adapter for a command, until the time is over, or until the cause is known why it cannot be used. */
import type { Advertisement } from "../transports/ble/advertisement.ts";
import type { Central } from "../transports/ble/central.ts";
import type { Timers } from "../transports/timers.ts";

export interface Listening {
  /** Seconds to listen after the adapter answers; 0: only wait for its answer. */
  readonly seconds: number;
  readonly onSeen: (seen: Advertisement) => void;
  /** Called when the adapter needs longer than a user expects. */
  readonly onWaiting: () => void;
}

export type Heard = { readonly adapter: string } | { readonly why: string };

const patienceMs = 5_000;

/** The supervisor's own deadlines end the attempt, so this command does not give up earlier than the gateway would. */
export async function listen(central: Central, timers: Timers, listening: Listening): Promise<Heard> {
  const { seconds, onSeen, onWaiting } = listening;
  const stopWaiting = timers.after(patienceMs, onWaiting);
  const heard = await new Promise<Heard>((resolve) => {
    let isReady = false;
    let end = () => {};
    central.start((event) => {
      if (event.is === "seen") onSeen(event);
      else if (event.is === "unavailable") {
        end();
        resolve({ why: event.why });
      } else if (event.is === "ready" && !isReady) {
        isReady = true;
        stopWaiting();
        if (seconds > 0) central.command({ do: "scan", on: true });
        const adapter = `${event.adapter}, driven by ${event.driver}`;
        end = timers.after(seconds * 1_000, () => resolve({ adapter }));
      }
    });
  });
  stopWaiting();
  await central.close();
  return heard;
}
