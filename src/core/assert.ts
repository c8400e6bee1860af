/** A fault of this program ends the process. Nothing that a peer, a broker or a disk does may lead to such an assertion. */
import nodeAssert from "node:assert";

export function assert(condition: unknown, message: string): asserts condition {
  nodeAssert(condition, message);
}

/** Called with each finding of a check: a sentence that names the client and the rule. */
export type Found = (finding: string) => void;

export function assertNever(value: never): never {
  throw new nodeAssert.AssertionError({ message: `unhandled case: ${JSON.stringify(value)}` });
}
