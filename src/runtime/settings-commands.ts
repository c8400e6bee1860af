/** Commands about the configuration: showing it, checking a change, changing it. */
import { z } from "zod";
import { json, stream } from "./command.ts";
import { done, nothing } from "./command-shapes.ts";

const changesMax = 1_000;

/** JSON in a text, because a value of the configuration may have any type. */
const settingChanges = z
  .codec(
    z.string(),
    z
      .array(z.strictObject({ path: z.array(z.union([z.string(), z.int()])).min(1), value: z.unknown().optional() }))
      .max(changesMax),
    {
      decode: (text, context) => {
        try {
          return JSON.parse(text) as { path: (string | number)[]; value?: unknown }[];
        } catch {
          context.issues.push({ code: "custom", input: text, message: "is no JSON" });
          return z.NEVER;
        }
      },
      encode: (changes) => JSON.stringify(changes),
    },
  )
  .describe('The changes as JSON: [{ "path": ["api", "port"], "value": 80 }]; without a value the key is removed.');

export const settingsCommands = {
  "settings.show": json({
    description: "the effective configuration without its secrets, what each key means, and what was changed by hand",
    method: "GET",
    path: "/settings",
    input: nothing,
    output: z.object({
      file: z.string().optional(),
      configuration: z.unknown(),
      schema: z.unknown(),
      managedFile: z.string().optional(),
      admitted: z.array(
        z.object({ clientId: z.string(), from: z.string().optional(), at: z.string(), by: z.string() }),
      ),
      written: z.object({
        values: z.unknown().optional().describe("The content of the file, without secrets."),
        version: z.string().describe("The version of the file, which a change must name."),
        readOnly: z.string().optional().describe("Why it cannot be changed. Absent: it can be changed."),
        restart: z
          .array(z.string())
          .describe("Settings that were changed since the start and take effect after the next start."),
      }),
    }),
    role: "operator", // a viewer sees nothing of the configuration
    audited: false,
    run: (operator) => {
      const settings = operator.installation.settings();
      const { written } = settings;
      return done({
        ...settings,
        admitted: [...settings.admitted],
        written: { ...written, restart: [...written.restart] },
      });
    },
  }),
  "settings.try": json({
    description: "the consequences of changes of the configuration, as `check` prints them; nothing is changed",
    method: "POST",
    path: "/settings/try",
    input: z.strictObject({ changes: settingChanges }),
    output: z.object({
      problems: z.array(z.string()),
      warnings: z.array(z.string()),
      difference: z.array(z.object({ kind: z.enum(["same", "out", "in"]), text: z.string() })),
      restart: z.array(z.string()).describe("Settings that take effect after a restart."),
    }),
    role: "operator",
    audited: false,
    run: async (operator, { changes }) => {
      const tried = await operator.installation.trySettings(changes);
      if (typeof tried === "string") return { kind: "not-possible", say: tried };
      const { problems, warnings, difference, restart } = tried;
      return done({
        problems: [...problems],
        warnings: [...warnings],
        difference: [...difference],
        restart: [...restart],
      });
    },
  }),
  "settings.save": json({
    description: "change the configuration's file; comments and order stay, and the old file is kept beside it as .bak",
    method: "POST",
    path: "/settings",
    input: z.strictObject({
      changes: settingChanges,
      version: z.string().max(100).describe("The version of the file, as `settings.show` returned it."),
    }),
    output: z.object({
      restart: z.array(z.string()).describe("Settings that take effect after a restart."),
      version: z.string().describe("The present version of the file."),
    }),
    role: "operator",
    audited: true,
    // A value may be a url with a password in it.
    noted: ({ changes = "" }) => ({
      keys: z.safeDecode(settingChanges, changes).data?.map(({ path }) => path.join(".")),
    }),
    run: async (operator, { changes, version }) => {
      const saved = await operator.installation.saveSettings(changes, version);
      if (typeof saved === "string") return { kind: "not-possible", say: saved };
      return done({ restart: [...saved.restart], version: saved.version });
    },
  }),
  "settings.secret": json({
    description:
      "store a secret in a file of the store's folder; returns the reference for the configuration. The secret is never shown again",
    method: "POST",
    path: "/settings/secret",
    input: z.strictObject({
      key: z.string().max(200).describe("The key of the setting, for example upstream.password."),
      secret: z
        .string()
        .min(1, "say the secret")
        .max(65_536)
        .describe("The secret, which is sent in the body of the request."),
    }),
    output: z.object({ file: z.string() }),
    role: "operator",
    audited: true,
    isSecret: true,
    run: async (operator, { key, secret }) => {
      const kept = await operator.installation.keepSecret(key, secret);
      return typeof kept === "string" ? { kind: "not-possible", say: kept } : done(kept);
    },
  }),
  "settings.export": stream({
    description: "the effective configuration with the clients admitted by hand, without secrets",
    method: "GET",
    path: "/settings/export",
    input: nothing,
    stream: "application/json",
    role: "operator",
    audited: true,
    run: (operator) => done(octetsOf(operator.installation.exportSettings())),
  }),
};

async function* octetsOf(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}
