/** Commands about admission: refused devices, keys of devices, clients that the operator admitted. */
import { z } from "zod";
import { json, type Outcome } from "./command.ts";
import { count, done, moment, nothing, oneClient } from "./command-shapes.ts";
import type { Operator } from "./operator.ts";

const oneDevice = z.strictObject({
  name: z
    .string("say which device")
    .regex(/^[A-Za-z0-9._~-]{1,64}$/, "up to 64 letters, digits, dots, dashes, _ and ~")
    .describe("The identity that the device proves with its key."),
});

const knock = z.object({
  what: z.enum(["client", "qosMinusOne", "forwarder", "refused", "key"]),
  clientId: z.string().optional(),
  peer: z.string(),
  why: z.string(),
  hint: z.string().describe("The line of the configuration that would admit it."),
  times: count,
  firstAt: moment,
  lastAt: moment,
});

const keyOnce = z.object({
  name: z.string().describe("The identity with which the device proves who it is."),
  key: z.string().describe("16 octets in hexadecimal."),
  link: z.string().describe("Identity and key in one text, as it is read from a QR code."),
});

export const admissionCommands = {
  "knocking.list": json({
    description: "the clients that were refused, why, and the line of configuration that would admit each",
    method: "GET",
    path: "/knocking",
    input: nothing,
    output: z.array(knock),
    role: "operator", // a viewer does not see refused devices
    audited: false,
    run: (operator) => done([...operator.installation.knocks.all]),
  }),
  "knocking.admit": json({
    description: "admit a client that was refused, from its address or from anywhere; kept beside the store",
    method: "POST",
    path: "/knocking",
    input: oneClient.extend({
      from: z
        .enum(["here", "anywhere"])
        .optional()
        .describe("here: only from the address from which it tried to connect. Absent: here."),
    }),
    output: z.object({ admitted: z.string() }),
    role: "operator",
    audited: true,
    run: async (operator, { client, from = "here" }): Promise<Outcome<{ admitted: string }>> => {
      const { installation } = operator;
      const found = installation.knocks.all.find(({ what, clientId }) => what === "client" && clientId === client);
      if (!found) return { kind: "not-there", say: `"${client}" was not refused, or was admitted meanwhile` };
      const problem = await installation.admit(client, found.peer, from === "anywhere");
      if (problem !== undefined) return { kind: "not-possible", say: problem };
      installation.knocks.forget(client);
      return done({ admitted: client });
    },
  }),
  "join.open": json({
    description:
      "for a while admit each client that no rule admits, when it tries again: at most a hundred; 0 seconds: stop",
    method: "POST",
    path: "/join",
    input: z.strictObject({
      seconds: z.codec(
        z.string().regex(/^\d{1,4}$/, "seconds, as a number"),
        z.int().min(0).max(3_600, "an hour at most"),
        {
          decode: Number,
          encode: String,
        },
      ),
    }),
    output: z.object({ seconds: count }),
    role: "operator",
    audited: true,
    run: (operator, { seconds }) => {
      operator.installation.join(seconds);
      return done({ seconds });
    },
  }),
  "join.show": json({
    description: "for how long refused clients are still admitted, and which were admitted since then",
    method: "GET",
    path: "/join",
    input: nothing,
    output: z.object({
      seconds: count.describe("How many seconds are left. 0: no client is admitted this way."),
      left: count.describe("How many more devices are admitted this way."),
      admitted: z
        .array(z.string())
        .describe("The client ids that were admitted. After the end: those of the last time."),
    }),
    role: "operator",
    audited: false,
    run: (operator) => {
      const { seconds, left, admitted } = operator.installation.joining();
      return done({ seconds, left, admitted: [...admitted] });
    },
  }),
  "device.list": json({
    description: "devices that have a key of their own here",
    method: "GET",
    path: "/device-keys",
    input: nothing,
    output: z.array(z.object({ name: z.string(), added: z.string() })),
    role: "operator",
    audited: false,
    run: (operator) => done([...operator.installation.withKeys()]),
  }),
  "device.add": json({
    description: "give a new device a key of its own, which is shown once",
    method: "POST",
    path: "/device-keys",
    input: oneDevice,
    output: keyOnce,
    role: "operator",
    audited: true,
    isPrivate: true,
    isSecret: true,
    run: (operator, { name }) => newKey(operator, name, false),
  }),
  "device.rotate": json({
    description: "give a device another key, which is shown once; the old key is not valid any more",
    method: "POST",
    path: "/device-keys/rotate",
    input: oneDevice,
    output: keyOnce,
    role: "operator",
    audited: true,
    isPrivate: true,
    isSecret: true,
    run: (operator, { name }) => newKey(operator, name, true),
  }),
  "device.remove": json({
    description: "remove a device's key: the device cannot use it any more",
    method: "DELETE",
    path: "/device-keys",
    input: oneDevice,
    output: z.object({ removed: z.string() }),
    role: "operator",
    audited: true,
    run: async (operator, { name }): Promise<Outcome<{ removed: string }>> =>
      (await operator.installation.removeKey(name))
        ? done({ removed: name })
        : { kind: "not-there", say: `"${name}" has no key here` },
  }),
  "admitted.remove": json({
    description: "undo that a client was admitted by hand; the configuration's rules then decide whether it may stay",
    method: "DELETE",
    path: "/admitted",
    input: oneClient,
    output: z.object({ removed: z.string() }),
    role: "operator",
    audited: true,
    run: async (operator, { client }): Promise<Outcome<{ removed: string }>> =>
      (await operator.installation.withdraw(client))
        ? done({ removed: client })
        : { kind: "not-there", say: `"${client}" was not admitted by hand` },
  }),
};

async function newKey(operator: Operator, name: string, isKnown: boolean): Promise<Outcome<z.output<typeof keyOnce>>> {
  const made = await operator.installation.newKey(name, isKnown);
  if (typeof made === "string") return { kind: "not-possible", say: made };
  return done({ name, key: made.key, link: `mqttsns+psk://${name}?key=${made.key}` });
}
