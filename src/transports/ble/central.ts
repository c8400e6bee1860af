/**
 * The interface between the transport and the process with the adapter. Both directions carry plain values, so they can
 * pass between processes, and a test can play the other side.
 */
import type { Bond } from "../../pairing/bond.ts";
import type { Advertisement } from "./advertisement.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import type { DriverChoice } from "./drivers.ts";
import type { LinkParameters } from "./hci-packets.ts";
import type { SecurityFault, WantedSecurity } from "./link-security.ts";

export type CentralCommand =
  | { readonly do: "scan"; readonly on: boolean }
  /**
   * Connect, encrypt the link if `security` is there, find the service, subscribe. Answered by `linked` or
   * `linkFailed`. Keys and passkeys are passed only in this way, because other users can read the arguments of a
   * process.
   */
  | { readonly do: "link"; readonly address: string; readonly security?: WantedSecurity }
  /** Answered by `unlinked`, also when there is no such link. */
  | { readonly do: "unlink"; readonly address: string }
  /** Write one message. Answered by `written`. If the link ends, its end is the answer to all open writes. */
  | { readonly do: "write"; readonly address: string; readonly id: number; readonly bytes: Uint8Array };

export type CentralEvent =
  /** The adapter can be used from now on; earlier states are not valid any more. */
  | { readonly is: "ready"; readonly adapter: string; readonly driver: string }
  /**
   * The central cannot work any more; the reason in plain words, with advice. All links have ended. `hung`: it did not
   * answer any more, so its last action may be the cause.
   */
  | { readonly is: "unavailable"; readonly why: string; readonly hung?: boolean }
  | ({ readonly is: "seen" } & Advertisement)
  | { readonly is: "linked"; readonly address: string; readonly mtu: number; readonly confirmed: boolean }
  /** The parameters of a link: sent before `linked`, and when they change. */
  | { readonly is: "parameters"; readonly address: string; readonly parameters: LinkParameters }
  /** A notice about a device for the operator, in words. */
  | { readonly is: "noticed"; readonly address: string; readonly say: string }
  /** The device was paired. The bond must be stored, because it is not sent again. Sent before `linked`. */
  | { readonly is: "bonded"; readonly address: string; readonly bond: Bond }
  /** `fault`: the link was not encrypted as required. */
  | { readonly is: "linkFailed"; readonly address: string; readonly why: string; readonly fault?: SecurityFault }
  | { readonly is: "unlinked"; readonly address: string; readonly why: string }
  | { readonly is: "data"; readonly address: string; readonly bytes: Uint8Array }
  | { readonly is: "written"; readonly address: string; readonly id: number; readonly failed?: string }
  /** The device refused a write, and why. `written` is sent for the same message. */
  | { readonly is: "refused"; readonly address: string; readonly why: string }
  /**
   * The process with the adapter stood still for these milliseconds until now (0: it did not), or the kernel dropped
   * packets that it did not read in time. `dropped`: their number; absent: not known, and octets may be missing in
   * further data.
   */
  | { readonly is: "stalled"; readonly ms: number; readonly dropped?: number };

/** Messages between the supervisor and its child process only. */
export type ChildReport =
  | CentralEvent
  | { readonly is: "alive"; readonly rssBytes: number; readonly advertisements: number; readonly addresses: number };

/** Options that the child gets at its start. */
export interface ChildOptions {
  readonly driver: DriverChoice;
  readonly service: string;
  readonly allow: unknown;
  readonly deny: unknown;
  readonly rssiMin: number;
  readonly broadcast: {
    readonly enabled: boolean;
    readonly companyId: number | null;
    readonly serviceUuid: string | null;
    readonly bthome: boolean;
  };
  readonly connectMs: number;
  readonly setUpMs: number;
  /** The longest silence in the middle of pairing. */
  readonly pairingMs: number;
  readonly supervisionMs: number;
  readonly connection: ConnectionOptions;
  /** No other program may use the adapter, not even the kernel. */
  readonly isAlone: boolean;
  /** Also receives extended advertising. */
  readonly extended: boolean;
  /** Reports every advertisement, not only those of interest. */
  readonly tellAll: boolean;
}

export interface CentralCounters {
  readonly restarts: number;
  readonly advertisements: number;
  readonly rssBytes: number;
}

/** The adapter, in this process or another one. */
export interface Central {
  start(onEvent: (event: CentralEvent) => void): void;
  command(command: CentralCommand): void;
  /** Ends the process and starts another, because a blocked process cannot be repaired from inside. */
  restart(why: string): void;
  readonly counters: CentralCounters;
  close(): Promise<void>;
}
