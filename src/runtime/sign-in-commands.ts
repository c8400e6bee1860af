/** Commands about access to the console and the API: links, tokens, the password. */
import { z } from "zod";
import { json, type Outcome } from "./command.ts";
import { done, nothing } from "./command-shapes.ts";

const oneToken = z.strictObject({
  name: z
    .string("say which token")
    .regex(/^[A-Za-z0-9._-]{1,64}$/, "up to 64 letters, digits, dots, dashes and _")
    .describe("The name of the token, for people and the log."),
});

export const signInCommands = {
  "console.link": json({
    description: "a link that logs a browser in to the console once",
    method: "POST",
    path: "/console/link",
    input: z.strictObject({
      role: z.enum(["viewer", "operator"]).optional().describe("The role of the user. Absent: operator."),
    }),
    output: z.object({ links: z.array(z.string()) }),
    role: "operator",
    audited: true,
    isLocal: true,
    isSecret: true,
    run: (operator, { role = "operator" }): Outcome<{ links: string[] }> => {
      const links = operator.installation.link(role);
      return typeof links === "string" ? { kind: "not-possible", say: links } : done({ links: [...links] });
    },
  }),
  "token.list": json({
    description: "the tokens of programs, by name and role",
    method: "GET",
    path: "/tokens",
    input: nothing,
    output: z.array(
      z.object({
        name: z.string(),
        role: z.enum(["viewer", "operator"]),
        added: z.string().optional(),
        isManaged: z.boolean().describe("false: the token is in the configuration."),
      }),
    ),
    role: "operator",
    audited: false,
    run: (operator) => done([...operator.installation.tokens()]),
  }),
  "token.add": json({
    description: "make a token with which a program can use /api/v1; it is shown once",
    method: "POST",
    path: "/tokens",
    input: oneToken.extend({
      role: z.enum(["viewer", "operator"], "viewer or operator"),
      hash: z
        .string()
        .regex(/^[0-9a-f]{64}$/, "no hash")
        .describe("SHA-256 of the token."),
    }),
    output: z.object({ added: z.string() }),
    role: "operator",
    audited: true,
    isLocal: true,
    noted: ({ name, role }) => ({ name, role }),
    run: async (operator, token): Promise<Outcome<{ added: string }>> => {
      const problem = await operator.installation.addToken(token);
      return problem === undefined ? done({ added: token.name }) : { kind: "not-possible", say: problem };
    },
  }),
  "token.remove": json({
    description: "remove a program's token: it is not valid any more",
    method: "DELETE",
    path: "/tokens",
    input: oneToken,
    output: z.object({ removed: z.string() }),
    role: "operator",
    audited: true,
    run: async (operator, { name }): Promise<Outcome<{ removed: string }>> =>
      (await operator.installation.removeToken(name))
        ? done({ removed: name })
        : { kind: "not-there", say: `there is no token ${name} that was made by a command` },
  }),
  "console.password": json({
    description: "set the console's password, and serve the console to private addresses if api.host lets them in",
    method: "POST",
    path: "/console/password",
    input: z.strictObject({
      hash: z
        .string()
        .regex(/^scrypt\$[\w$-]{20,400}$/, "no hash")
        .describe("The hash of the password, made with scrypt."),
    }),
    output: z.object({ links: z.array(z.string()) }),
    role: "operator",
    audited: true,
    isLocal: true,
    isSecret: true,
    run: async (operator, { hash }): Promise<Outcome<{ links: string[] }>> => {
      const problem = await operator.installation.setPassword(hash);
      if (problem !== undefined) return { kind: "not-possible", say: problem };
      const links = operator.installation.link("operator");
      return typeof links === "string" ? { kind: "not-possible", say: links } : done({ links: [...links] });
    },
  }),
};
