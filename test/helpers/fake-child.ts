/** A process that only pretends: what it was sent, and the signals it got; a test says what it says, and when it ends. */
import { EventEmitter } from "node:events";

export class FakeChild<Sent = unknown> extends EventEmitter {
  connected = true;
  readonly pid = 1;
  readonly stderr = new EventEmitter();
  readonly stdout = null;
  readonly signals: string[] = [];
  readonly sent: Sent[] = [];
  /** It takes from the pipe what is sent. */
  takes = true;

  send(message: Sent, done?: unknown): boolean {
    this.sent.push(message);
    if (this.takes && typeof done === "function") done(null);
    return true;
  }

  kill(signal: string): boolean {
    this.signals.push(signal);
    return true;
  }

  says(message: unknown): void {
    this.emit("message", message);
  }

  writes(text: string): void {
    this.stderr.emit("data", Buffer.from(text));
  }

  exits(code: number | null, signal: string | null = null): void {
    this.connected = false;
    this.emit("exit", code, signal);
  }
}
