/** The contents of a device's advertisement. */
export interface Advertisement {
  /** Lower case, with colons. */
  readonly address: string;
  readonly addressType: "public" | "random";
  readonly connectable: boolean;
  readonly name: string | undefined;
  /** UUIDs in the form of `normalUuid`. */
  readonly services: readonly string[];
  readonly serviceData: readonly { readonly uuid: string; readonly data: Uint8Array }[];
  /** Each with the company id in front, low octet first. */
  readonly manufacturerData: readonly Uint8Array[];
  /** dBm; 127 = not known. */
  readonly rssi: number;
}
