/** Options that name devices by their properties, and not one by one. */
import { z } from "zod";

export const uuid = z
  .string()
  .regex(
    /^([0-9a-f]{4}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/i,
    "must be a UUID: 4 hexadecimal digits, or 32 with dashes",
  );

export const matchFields = {
  address: z.string().min(1).optional().describe("Address, with * and ?."),
  name: z.string().min(1).optional().describe("Advertised name, with * and ?."),
  service: uuid.optional().describe("Service that the device advertises."),
};

export function namesSomething({
  address,
  name,
  service,
}: {
  address?: unknown;
  name?: unknown;
  service?: unknown;
}): boolean {
  return address !== undefined || name !== undefined || service !== undefined;
}
