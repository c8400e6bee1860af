/** Failed requests of a member to the server of the leases. Each failure is reported once. */

/** The kind of request; `older`: the server has older data than before. */
export type Asked = "beat" | "renewal" | "look" | "claim" | "older";

const sayOf: Readonly<Record<Asked, string>> = {
  beat: "the beats of the other gateways cannot be read",
  renewal: "the leases cannot be renewed",
  look: "the leases cannot be read",
  claim: "a shard cannot be claimed",
  older: "a shard is not claimed",
};

export class Troubles {
  readonly #told: (level: "info" | "error", say: string) => void;
  /** The failures, by the kind of request. */
  readonly #present = new Map<Asked, string>();

  constructor(told: (level: "info" | "error", say: string) => void) {
    this.#told = told;
  }

  /** The first failure; "" = there is none. */
  get first(): string {
    return [...this.#present.values()][0] ?? "";
  }

  /** The failure of this kind of request; "" = there is none. */
  of(what: Asked): string {
    return this.#present.get(what) ?? "";
  }

  /** A request failed. This is reported once, until it is over or the request fails for another reason. */
  ails(what: Asked, error: unknown): void {
    const trouble = `${sayOf[what]}: ${messageOf(error)}`;
    if (trouble !== this.#present.get(what)) this.#told("error", trouble);
    this.#present.set(what, trouble);
  }

  /** A request succeeded, or there is nothing more to ask for. */
  well(...all: readonly Asked[]): void {
    for (const what of all)
      if (this.#present.delete(what) && this.#present.size === 0)
        this.#told("info", "the server of the leases answers again");
  }
}

/** The text of the error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
