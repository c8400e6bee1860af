/**
 * The commands as an OpenAPI document, for programs and people who use HTTP. It is made from the same table as the
 * answers.
 */
import { z } from "zod";
import type { AnyCommand } from "./command.ts";

export function openApiOf(commands: Readonly<Record<string, AnyCommand>>, version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const [name, command] of Object.entries(commands)) {
    if (command.isLocal) continue;
    paths[command.path] = { ...paths[command.path], [command.method.toLowerCase()]: operationOf(name, command) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "MQTT-SN gateway",
      version,
      description:
        "The interface of the console. Programs send a token (`mqtt-sn-gateway console token add`); browsers log in with POST log-in, " +
        "and their requests that change something need the header `x-mqttsn: 1`. Changes need the role operator. GET events is a stream of server-sent events.",
    },
    servers: [{ url: "." }],
    components: {
      securitySchemes: {
        token: { type: "http", scheme: "bearer" },
        cookie: {
          type: "apiKey",
          in: "cookie",
          name: "mqttsn_console_9464",
          description: "The number is the port of the gateway.",
        },
      },
      schemas: { Problem: { type: "object", properties: { error: { type: "string" } }, required: ["error"] } },
    },
    security: [{ token: [] }, { cookie: [] }],
    paths,
  };
}

function operationOf(name: string, command: AnyCommand): object {
  const input = z.toJSONSchema(command.input, { io: "input" });
  const required = new Set(input.required ?? []);
  return {
    operationId: name,
    summary: command.description,
    description: `Needs the role ${command.role}.`,
    parameters: Object.entries(input.properties ?? {}).map(([key, schema]) => ({
      name: key,
      in: "query",
      required: required.has(key),
      schema,
    })),
    responses: {
      200: { description: "Done.", content: contentOf(command) },
      ...Object.fromEntries(
        Object.entries(refusals).map(([status, description]) => [status, { description, content: problem }]),
      ),
    },
  };
}

function contentOf(command: AnyCommand): object {
  if (command.output === undefined) return { [command.stream ?? "application/octet-stream"]: {} };
  const { $schema: _, ...schema } = z.toJSONSchema(command.output, { io: "output", unrepresentable: "any" });
  return { "application/json": { schema } };
}

const problem = { "application/json": { schema: { $ref: "#/components/schemas/Problem" } } };

const refusals: Readonly<Record<string, string>> = {
  400: "The request is wrong.",
  401: "There is no log-in, or the token is not known.",
  403: "This role has no right to do this, or the request comes from another page.",
  404: "It does not exist.",
  409: "It cannot be done now.",
};
