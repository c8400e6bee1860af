/**
 * Roles of the users of a running gateway, in a closed list. Each role includes the one before it. Data for users
 * without a role (health, metrics) contain no client id, and no text of an unknown sender.
 */
export const roles = {
  viewer:
    "Sees the clients, their states and addresses, and figures. No payloads (unless `api.payloads` is `shown`), no configuration, no refused clients; changes nothing.",
  operator: "Sees everything, and may change things: end sessions, send or delete dead letters, take a backup.",
} as const;

export type Role = keyof typeof roles;

/** Roles that see the payloads of devices over HTTP: `api.payloads`. */
export const payloadsFor = ["shown", "operators", "hidden"] as const;
export type PayloadsFor = (typeof payloadsFor)[number];

export function showsPayloads(payloads: PayloadsFor, role: Role): boolean {
  return payloads === "shown" || (payloads === "operators" && role === "operator");
}

const rank: Readonly<Record<Role, number>> = { viewer: 1, operator: 2 };

/** True if a user with the role `has` may use a function that needs the role `needed`. */
export function mayAs(has: Role, needed: Role): boolean {
  return rank[has] >= rank[needed];
}
