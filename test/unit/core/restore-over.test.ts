/** After a restart: of a session that had ended, only its exchanges in flight remain. */
import { expect, test } from "vitest";
import { StateTable } from "../../../src/storage/state-table.ts";
import { octets } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";
import { testOptions } from "../../simulation/options.ts";

test.each(["transparent", "aggregating"] as const)("%s: nobody is there for it, and it ends", (mode) => {
  const table = new StateTable();
  const publication = { topicName: "t", payload: octets("x"), qos: 2, retain: false } as const;
  const record = { publication, origin: { msgId: 7, topicId: 1 }, stage: "open", isWill: false } as const;
  table.apply({ of: "uplink", clientId: "c1", id: 9, record });
  const { bench } = new GatewayRun({ upstream: { ...testOptions.upstream, mode } }, table);
  expect(bench.core.session("c1")).toBeUndefined();
});
