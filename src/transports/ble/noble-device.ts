/** What noble reports of a device, in the gateway's types: its advertisement, and its characteristics. */
import type { Advertisement } from "./advertisement.ts";
import { manufacturerElements } from "./advertising-data.ts";
import type { NobleCharacteristic, NoblePeripheral } from "./noble.ts";
import { normalUuid } from "./uuid.ts";

/** The first characteristic that offers the best of these properties. */
export function offering(
  characteristics: readonly NobleCharacteristic[],
  properties: readonly string[],
): NobleCharacteristic | undefined {
  for (const property of properties) {
    const found = characteristics.find((each) => each.properties.includes(property));
    if (found) return found;
  }
  return undefined;
}

/** `data`: the data of the report itself, if they are known. */
export function advertisementOf(peripheral: NoblePeripheral, data: Uint8Array | undefined): Advertisement {
  const { address, addressType, connectable, rssi, advertisement } = peripheral;
  const mixture = advertisement.manufacturerData ? [advertisement.manufacturerData] : [];
  return {
    address: address.toLowerCase(),
    addressType: addressType === "random" ? "random" : "public",
    connectable: Boolean(connectable),
    name: advertisement.localName?.replace(/\0+$/, ""),
    services: (advertisement.serviceUuids ?? []).map(normalUuid),
    serviceData: (advertisement.serviceData ?? []).map(({ uuid, data }) => ({ uuid: normalUuid(uuid), data })),
    manufacturerData: data ? manufacturerElements(data) : mixture,
    rssi,
  };
}
