/** How long `ble scan` and `ble check` wait: with an adapter that only pretends, and time that is moved. */
import { expect, test } from "vitest";
import { type Heard, listen } from "../../../src/cli/ble-listen.ts";
import type { Central, CentralCommand, CentralEvent } from "../../../src/transports/ble/central.ts";
import { ScriptedTimers } from "../../helpers/scripted-central.ts";

function bench(seconds: number) {
  const timers = new ScriptedTimers();
  const commands: CentralCommand[] = [];
  const seen: string[] = [];
  let tell: (event: CentralEvent) => void = () => {};
  let waited = 0;
  let closed = 0;
  const central: Central = {
    start: (onEvent) => {
      tell = onEvent;
    },
    command: (command) => commands.push(command),
    restart: () => {},
    counters: { restarts: 0, advertisements: 0, rssBytes: 0 },
    close: async () => void closed++,
  };
  let heard: Heard | undefined;
  const onWaiting = () => void waited++;
  void listen(central, timers, { seconds, onSeen: ({ address }) => void seen.push(address), onWaiting }).then(
    (found) => {
      heard = found;
    },
  );
  const settled = async () => {
    for (let i = 0; i < 5; i++) await Promise.resolve();
    return { heard, waited, closed, commands, seen };
  };
  return { timers, tell: (event: CentralEvent) => tell(event), settled };
}

const ready: CentralEvent = { is: "ready", adapter: "adapter a", driver: "d" };

test("an adapter that answers after 25 s is waited for, with a word after 5", async () => {
  const { timers, tell, settled } = bench(0);
  timers.pass(4_900);
  expect(await settled()).toMatchObject({ waited: 0, heard: undefined });
  timers.pass(20_100);
  expect(await settled()).toMatchObject({ waited: 1, heard: undefined });
  tell(ready);
  timers.pass(0);
  expect(await settled()).toMatchObject({ heard: { adapter: "adapter a, driven by d" }, closed: 1, commands: [] });
});

test("why there is none is said at once, and nothing is left running", async () => {
  const { timers, tell, settled } = bench(8);
  tell({ is: "unavailable", why: "no adapter" });
  expect(await settled()).toMatchObject({ heard: { why: "no adapter" }, waited: 0, closed: 1 });
  expect(timers.size).toBe(0);
});

test("it listens for the time that was asked for, from when the adapter answered", async () => {
  const { timers, tell, settled } = bench(8);
  timers.pass(3_000);
  tell(ready);
  timers.pass(7_900);
  tell({
    is: "seen",
    address: "a",
    addressType: "random",
    connectable: true,
    name: undefined,
    services: [],
    serviceData: [],
    manufacturerData: [],
    rssi: 1,
  });
  expect(await settled()).toMatchObject({ heard: undefined, commands: [{ do: "scan", on: true }], seen: ["a"] });
  timers.pass(100);
  expect(await settled()).toMatchObject({ heard: { adapter: "adapter a, driven by d" }, waited: 0 });
});

test("an adapter that goes while it is listened to is told, and not that all is well", async () => {
  const { timers, tell, settled } = bench(8);
  tell(ready);
  timers.pass(2_000);
  tell({ is: "unavailable", why: "pulled out" });
  expect(await settled()).toMatchObject({ heard: { why: "pulled out" } });
  expect(timers.size).toBe(0);
});
