/** By what the list of devices is sorted. */
export const deviceOrders = ["client", "state", "address", "heard", "due", "waiting", "owed", "dropped"] as const;
export type DeviceOrder = (typeof deviceOrders)[number];
