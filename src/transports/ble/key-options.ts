import { z } from "zod";

const address = z
  .string()
  .regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i, "must be a Bluetooth address, like c0:98:e5:00:00:01");

/** Keys of sensors by address: the place where each is read. */
export const sensorKeys = z.record(
  address,
  z.union([z.strictObject({ file: z.string().min(1) }), z.strictObject({ env: z.string().min(1) })]),
);
