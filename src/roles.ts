/**
 * Who looks at a running gateway from outside. A closed list, each may all that the one before may. What somebody without
 * a role sees (health, metrics) holds no client id and nothing that a stranger chose.
 */
export const roles = {
  viewer:
    "Sees which clients there are, how and where they are, and numbers. No payloads (unless `api.payloads` is `shown`), nothing of the configuration, not who was turned away; changes nothing.",
  operator: "Sees everything, and may change things: end sessions, send or delete dead letters, take a backup.",
} as const;

export type Role = keyof typeof roles;

/** Who sees what devices say and are told, of those that ask by HTTP: `api.payloads`. */
export const payloadsFor = ["shown", "operators", "hidden"] as const;
export type PayloadsFor = (typeof payloadsFor)[number];

export function showsPayloads(payloads: PayloadsFor, role: Role): boolean {
  return payloads === "shown" || (payloads === "operators" && role === "operator");
}

const rank: Readonly<Record<Role, number>> = { viewer: 1, operator: 2 };

/** May somebody with the role `has` see or do what needs `needed`? */
export function mayAs(has: Role, needed: Role): boolean {
  return rank[has] >= rank[needed];
}
