/** A line of `doctor`: the subject, its state, and what to type. */

export interface Finding {
  /**
   * wrong: the gateway does not work with this. doubtful: the gateway works, but not as well as it could. skipped: the
   * check was not possible.
   */
  readonly is: "ok" | "doubtful" | "wrong" | "skipped";
  readonly about: string;
  readonly what: string;
  readonly hint?: string;
}

export const ok = (about: string, what: string): Finding => ({ is: "ok", about, what });
export const wrong = (about: string, what: string, hint: string): Finding => ({ is: "wrong", about, what, hint });
export const doubtful = (about: string, what: string, hint: string): Finding => ({ is: "doubtful", about, what, hint });
export const skipped = (about: string, what: string): Finding => ({ is: "skipped", about, what });

export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
