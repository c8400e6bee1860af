/** The columns by which the list of devices can be sorted. */
export const deviceOrders = ["client", "state", "address", "heard", "due", "waiting", "owed", "dropped"] as const;
export type DeviceOrder = (typeof deviceOrders)[number];
