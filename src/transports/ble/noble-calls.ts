/**
 * Calls of noble, and requests to devices. Each ends by its answer, by a deadline, by the end of the link, or by the
 * device's refusal, because noble leaves calls unanswered when a link ends at the wrong moment.
 */
import { attErrorInWords, attErrors } from "./att-errors.ts";
import type { SecurityFault } from "./link-security.ts";

/** The device answered with an error. */
export class Refusal extends Error {}

/** The link could not be encrypted as required. */
export class Insecure extends Error {
  readonly fault: SecurityFault;

  constructor(fault: SecurityFault, say: string) {
    super(say);
    this.fault = fault;
  }
}

/** The open requests to devices. A device has one request at a time. */
export class Requests {
  /** Called when a device refuses a request, by address, while the request is open. */
  readonly #onRefusal = new Map<string, (code: number) => void>();

  /**
   * Sends a request to a device. The request ends by an answer, the deadline or the end of the link, or by the device's
   * refusal, which noble does not report.
   */
  ask<T = void>(
    address: string,
    { ms, late, refused, mayLack = false }: { ms: number; late: string; refused: string; mayLack?: boolean },
    lost: Promise<never> | undefined,
    call: (done: (error: Error | undefined, value?: T) => void) => void,
  ): Promise<T | undefined> {
    return within<T>(ms, late, lost, (done) => {
      this.#onRefusal.set(address, (code) => {
        // With this error a device ends its list of services or characteristics.
        if (mayLack && code === attErrors.notFound) return;
        done(new Refusal(`${refused}: ${attErrorInWords(code)}`));
      });
      call(done);
    }).finally(() => this.#onRefusal.delete(address));
  }

  /** The device has refused its open request, if it has one. */
  refused(address: string, code: number): void {
    this.#onRefusal.get(address)?.(code);
  }
}

/** One call of noble, ended by its answer, by the deadline, or by the end of the link. */
export function within<T = void>(
  ms: number,
  what: string,
  lost: Promise<never> | undefined,
  call: (done: (error: Error | undefined, value?: T) => void) => void,
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} within ${ms / 1_000} s`)), ms);
    lost?.catch((error: unknown) => {
      clearTimeout(timer);
      reject(error);
    });
    call((error, value) => {
      clearTimeout(timer);
      if (error) reject(error);
      else resolve(value);
    });
  });
}

export function asError(error: unknown): Error | undefined {
  return error ? new Error(sayError(error)) : undefined;
}

export function sayError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
