/** Commands and events over MQTT at a real broker, with MQTT 3.1.1 and 5. */
import mqtt from "mqtt";
import { afterEach, describe, expect, test } from "vitest";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { Publisher, startGateway, until } from "../helpers/test-gateway.ts";

const program = findMosquitto();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

interface Heard {
  readonly topicName: string;
  readonly body: Record<string, unknown>;
  readonly correlation?: string | undefined;
}

describe.skipIf(missing !== undefined)(
  `commands over MQTT${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    const closers: (() => Promise<unknown> | unknown)[] = [];
    afterEach(async () => {
      for (const close of closers.splice(0).reverse()) await close();
    });

    test.each(["3.1.1", "5"] as const)(
      "MQTT %s: asked, answered, told; a retained command is not carried out",
      async (protocol) => {
        if ("missing" in program) return;
        const broker = await Mosquitto.create(program);
        closers.push(() => broker.dispose());
        const { gateway, port } = await startGateway({
          upstream: {
            url: `mqtt://127.0.0.1:${broker.plainPort}`,
            protocol,
            serviceClientId: "gw",
            reconnect: { minSeconds: 0.1, maxSeconds: 0.2 },
          },
          control: { topic: "site/gw", role: "operator", answerTopics: ["apps/#"] },
        });
        closers.push(() => gateway.stop());
        const heard: Heard[] = [];
        const app = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.plainPort}`, {
          clientId: "app",
          clean: false, // it gets what was published before it was back
          protocolVersion: protocol === "5" ? 5 : 4,
          ...(protocol === "5" && { properties: { sessionExpiryInterval: 600 } }),
        });
        closers.push(() => app.endAsync());
        app.on("message", (topicName, payload, { properties }) =>
          heard.push({
            topicName,
            body: JSON.parse(payload.toString()) as Record<string, unknown>,
            correlation: properties?.correlationData?.toString(),
          }),
        );
        await app.subscribeAsync(["site/gw/answer/#", "site/gw/event/#", "apps/me"], { qos: 1 });
        const answered = async (id: number) => {
          const at = () => heard.find(({ topicName }) => topicName === `site/gw/answer/${id}`);
          await until(`answer ${id}`, () => at() !== undefined);
          return at()?.body;
        };
        // Before the gateway's connection is up, no command is answered.
        for (let i = 0; !heard.some(({ topicName }) => topicName === "site/gw/answer/0"); i++) {
          if (i > 100) throw new Error("nobody answers");
          await app.publishAsync("site/gw/command/sessions.list/0", "", { qos: 1 });
          await new Promise((done) => setTimeout(done, 100));
        }
        const device = new Publisher({ clientId: "sensor", port, topic: "t", clean: true });
        await device.start();
        closers.push(() => device.stop());
        await until("the device is told of", () =>
          heard.some(
            ({ topicName, body }) => topicName === "site/gw/event/client_state" && body["clientId"] === "sensor",
          ),
        );
        await app.publishAsync("site/gw/command/sessions.show/1", JSON.stringify({ client: "sensor" }), { qos: 1 });
        expect(await answered(1)).toMatchObject({ outcome: "done", output: { clientId: "sensor", state: "active" } });
        await app.publishAsync("site/gw/command/sessions.drop/2", JSON.stringify({ client: "sensor" }), {
          qos: 1,
          retain: true,
        });
        expect(await answered(2)).toMatchObject({ outcome: "done" }); // live it came without the flag
        heard.length = 0;
        await broker.stop();
        await broker.start();
        await until("refused at the new connection", () =>
          heard.some(({ body }) => body["say"] === "a command must not be retained"),
        );
        if (protocol === "5") {
          const properties = { responseTopic: "apps/me", correlationData: Buffer.from("c7") };
          await app.publishAsync("site/gw/command/queue.depth", "", { qos: 1, properties });
          await until("the answer at the response topic", () => heard.some(({ correlation }) => correlation === "c7"));
          expect(heard.find(({ correlation }) => correlation === "c7")).toMatchObject({
            topicName: "apps/me",
            body: { outcome: "done" },
          });
        }
      },
    );
  },
);
