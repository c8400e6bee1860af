/** Writes the answer of an operator's command over HTTP. The control socket and the console use the same form. */
import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { setImmediate } from "node:timers/promises";
import type { Answer } from "../runtime/command.ts";

/** Rows of a list that are written at once. */
const rowsAtOnce = 250;

export async function tell(response: ServerResponse, answer: Answer): Promise<void> {
  switch (answer.kind) {
    case "done": {
      const { output } = answer;
      if (!Array.isArray(output) || output.length <= rowsAtOnce) return json(response, 200, output);
      response.writeHead(200, { "content-type": "application/json" });
      return pipeline(inPieces(output), response);
    }
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

/** The same JSON as `json` writes. A list may have a row for each of a million sessions: devices are served between the pieces. */
async function* inPieces(rows: readonly unknown[]): AsyncGenerator<string> {
  for (let from = 0; from < rows.length; from += rowsAtOnce) {
    const text = JSON.stringify(rows.slice(from, from + rowsAtOnce));
    yield `${from === 0 ? "[" : ","}${text.slice(1, -1)}`;
    await setImmediate();
  }
  yield "]\n";
}
