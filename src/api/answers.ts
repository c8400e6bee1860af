/** Writes the answer of an operator's command over HTTP. The control socket and the console use the same form. */
import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { Answer } from "../runtime/command.ts";

export async function tell(response: ServerResponse, answer: Answer): Promise<void> {
  switch (answer.kind) {
    case "done":
      return json(response, 200, answer.output);
    case "stream":
      response.writeHead(200, { "content-type": answer.contentType });
      // Also ends the source when the client has closed the connection.
      return pipeline(answer.octets, response);
    case "wrong-input":
      return json(response, 400, { error: answer.problems.join("; ") });
    case "not-allowed":
      return json(response, 403, { error: answer.say });
    case "not-there":
      return json(response, 404, { error: answer.say });
    case "not-possible":
      return json(response, 409, { error: answer.say });
  }
}

export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(body)}\n`);
}
