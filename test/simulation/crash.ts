/**
 * A gateway that dies between any two effects: every edge call passes here first, and from the chosen one on nothing
 * gets out any more. What was committed before stays in the store; the next run starts from that.
 */
import type { Edges } from "../../src/runtime/perform.ts";
import type { Transport } from "../../src/transports/transport.ts";

export class CrashPoint {
  #left: number;
  readonly #onCrash: () => void;
  dead = false;
  /** From now on it runs. */
  spared = false;

  /** Dies before the edge call number `afterCalls` (counted from 0); Infinity = never. */
  constructor(afterCalls: number, onCrash: () => void) {
    this.#left = afterCalls;
    this.#onCrash = onCrash;
  }

  /** Edge calls that passed. */
  passed = 0;

  /** True while the process runs; counts one edge call. */
  pass(): boolean {
    if (this.dead) return false;
    if (this.spared || this.#left-- > 0) {
      this.passed++;
      return true;
    }
    this.die();
    return false;
  }

  /** Dies now. */
  die(): void {
    if (this.dead) return;
    this.dead = true;
    this.#onCrash();
  }
}

/** The same edges, behind the crash point. */
export function mortal(edges: Edges, point: CrashPoint): Edges {
  const guard = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(object, name) {
        const value: unknown = Reflect.get(object, name, object);
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => (point.pass() ? Reflect.apply(value, object, args) : undefined);
      },
    });
  const transports = new Map<string, Transport>();
  for (const [name, transport] of edges.transports) transports.set(name, guard(transport));
  return {
    transports,
    upstream: guard(edges.upstream),
    store: guard(edges.store),
    report: (event) => (point.dead ? undefined : edges.report(event)),
  };
}
