/** The part of noble that the gateway uses, in either edition. noble's own types exist only where it is installed. */
export interface Noble {
  on(event: "stateChange", listener: (state: string) => void): unknown;
  on(event: "discover", listener: (peripheral: NoblePeripheral) => void): unknown;
  on(event: "warning", listener: (text: string) => void): unknown;
  once(event: "scanStart" | "scanStop", listener: () => void): unknown;
  removeListener(event: "scanStart" | "scanStop", listener: () => void): unknown;
  startScanning(services: readonly string[], allowDuplicates: boolean): void;
  stopScanning(): void;
  readonly address?: string;
}

export interface NoblePeripheral {
  readonly address: string;
  readonly addressType: string;
  readonly connectable: unknown;
  readonly rssi: number;
  readonly state: string;
  readonly mtu: number | null;
  readonly advertisement: {
    readonly localName?: string;
    readonly serviceUuids?: readonly string[];
    readonly serviceData?: readonly { readonly uuid: string; readonly data: Buffer }[];
    readonly manufacturerData?: Buffer;
  };
  once(event: "connect", listener: (error?: unknown) => void): unknown;
  once(event: "disconnect", listener: (reason: unknown) => void): unknown;
  removeAllListeners(event?: string): unknown;
  connect(parameters: NobleConnection): void;
  cancelConnect(): void;
  disconnect(): void;
  discoverServices(uuids: readonly string[], done: (error: unknown, services: readonly NobleService[]) => void): void;
}

/** Units of the controller: 1.25 ms and 10 ms. */
export interface NobleConnection {
  readonly minInterval: number;
  readonly maxInterval: number;
  readonly latency: number;
  readonly timeout: number;
}

export interface NobleService {
  readonly uuid: string;
  discoverCharacteristics(
    uuids: readonly string[],
    done: (error: unknown, characteristics: readonly NobleCharacteristic[]) => void,
  ): void;
}

export interface NobleCharacteristic {
  readonly uuid: string;
  readonly properties: readonly string[];
  on(event: "data", listener: (bytes: Buffer, isNotification: boolean) => void): unknown;
  removeAllListeners(event?: string): unknown;
  subscribe(done: (error?: unknown) => void): void;
  write(bytes: Buffer, withoutResponse: boolean, done: (error?: unknown) => void): void;
}
