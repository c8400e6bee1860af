/**
 * Groups of packets that died together. In each group there is at least one packet for which the broker closes the
 * connection. If several packets are forbidden, several groups are known at a time, and any packets that are sent
 * together with a whole group die too. Therefore the members of a group wait until they are tried in smaller groups,
 * even while the gateway searches another group.
 */

/** Limit of known groups. Beyond it the oldest is forgotten: its members are sent with other packets, and die again. */
const groupsMax = 8;

export class DeadGroups<Suspicion> {
  /** The latest group is the last one. No group contains another one. */
  #groups: Set<Suspicion>[] = [];

  get size(): number {
    return this.#groups.length;
  }

  /**
   * Adds a group that died together. Known groups that contain all of it are removed, because they tell nothing more.
   */
  died(group: ReadonlySet<Suspicion>): void {
    if (group.size === 0) return;
    const others = this.#groups.filter((other) => [...group].some((suspicion) => !other.has(suspicion)));
    this.#groups = [...others, new Set(group)].slice(-groupsMax);
  }

  /** A member died alone, so its groups tell nothing about their other members. */
  explained(suspicion: Suspicion): void {
    this.#groups = this.#groups.filter((group) => !group.has(suspicion));
  }

  /** The broker answered a member. */
  acquitted(suspicion: Suspicion): void {
    for (const group of this.#groups) group.delete(suspicion);
    this.#groups = this.#groups.filter((group) => group.size > 0);
  }

  has(suspicion: Suspicion): boolean {
    return this.#groups.some((group) => group.has(suspicion));
  }

  /**
   * The members among these of the oldest group that has any, because they have waited longest. If no group has any,
   * all of these.
   */
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
