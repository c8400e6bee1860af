/**
 * Groups of packets that died together: in each of them is at least one for which the broker closes the connection. Where several packets
 * are forbidden, more than one group is known at a time, and whatever is sent together with all of one group dies as well. So its members
 * wait until they are tried in smaller groups, also while another group is searched.
 */

/** So many groups are known; beyond, the oldest is forgotten: its members are sent with the others, and die again. */
const groupsMax = 8;

export class DeadGroups<Suspicion> {
  /** The latest last. None contains another one. */
  #groups: Set<Suspicion>[] = [];

  get size(): number {
    return this.#groups.length;
  }

  /** These died together. A larger group with all of them says nothing more. */
  died(group: ReadonlySet<Suspicion>): void {
    if (group.size === 0) return;
    const others = this.#groups.filter((other) => [...group].some((suspicion) => !other.has(suspicion)));
    this.#groups = [...others, new Set(group)].slice(-groupsMax);
  }

  /** It died alone: the groups in which it was say nothing of their other members. */
  explained(suspicion: Suspicion): void {
    this.#groups = this.#groups.filter((group) => !group.has(suspicion));
  }

  /** The broker answered it. */
  acquitted(suspicion: Suspicion): void {
    for (const group of this.#groups) group.delete(suspicion);
    this.#groups = this.#groups.filter((group) => group.size > 0);
  }

  has(suspicion: Suspicion): boolean {
    return this.#groups.some((group) => group.has(suspicion));
  }

  /** Those of the oldest group that has some of these: its members wait longest. All of these, where no group has one. */
  ofOneGroup(suspicions: readonly Suspicion[]): readonly Suspicion[] {
    for (const group of this.#groups) {
      const found = suspicions.filter((suspicion) => group.has(suspicion));
      if (found.length > 0) return found;
    }
    return suspicions;
  }

  clear(): void {
    this.#groups = [];
  }
}
