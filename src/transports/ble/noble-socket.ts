/**
 * Access to the socket between noble and its controller. noble does not document it, so this looks for the structure
 * that both editions have. If it is missing, links are as noble makes them, and the operator is told.
 */
import type { EventEmitter } from "node:events";
import { ExtendedReports } from "./extended-reports.ts";
import { command, extendedScan, isAnswerTo, opcodes } from "./hci-packets.ts";
import { LinkControl, type LinkControlOptions, type LinkNews } from "./link-control.ts";

interface NobleController {
  readonly _socket: EventEmitter & { write(packet: Buffer): unknown };
  readonly _isExtended?: unknown;
  writeAclDataPkt(handle: number, channel: number, payload: Buffer): Promise<void> | undefined;
  createLeConn?(address: string, type: string, parameters: unknown, reset?: boolean, attempt?: unknown): void;
}

/** To be called when the adapter is on, and before the first link. undefined: this noble has no such place. */
export function controlLinks(
  noble: unknown,
  options: LinkControlOptions & { readonly extended: boolean },
  tell: (news: LinkNews) => void,
): LinkControl | undefined {
  const controller = controllerOf(noble);
  if (!controller) return undefined;
  keepRunning(controller);
  const socket = controller._socket;
  const control = new LinkControl(options, {
    command: (packet) => void socket.write(packet),
    // Sent by noble's own queue, because that counts the free buffers of the controller.
    data: (handle, channel, payload) => void controller.writeAclDataPkt(handle, channel, payload)?.catch(() => {}),
    tell,
  });
  const reports = new ExtendedReports();
  // noble's listeners get the packets from here. `emit` cannot be replaced for this: the native part of
  // @stoprocent/noble keeps the function that the socket had when it was started.
  const theirs = socket.listeners("data") as ((packet: Buffer) => void)[];
  for (const listener of theirs) socket.removeListener("data", listener);
  socket.on("data", (packet: Buffer) => {
    for (const each of reports.take(packet)) {
      const { pass, after } = control.take(each);
      if (pass !== undefined) for (const listener of theirs) listener.call(socket, pass);
      after?.();
    }
  });
  // noble also requests the coded PHY; a controller without it refuses the whole command.
  if (options.extended) socket.write(extendedScan());
  if (options.isAlone) takeOver(controller);
  return control;
}

/**
 * While there is no link, `@stoprocent/noble` resets the controller before each attempt to connect. That would end the
 * links of other programs that use the adapter, and lose what they and this process have set in it.
 */
function keepRunning(controller: NobleController): void {
  const connect = controller.createLeConn;
  if (typeof connect !== "function") return;
  controller.createLeConn = (address, type, parameters, _reset, attempt) =>
    connect.call(controller, address, type, parameters, false, attempt);
}

/** Sends the commands that usually a kernel sends to a controller, and noble does not. */
function takeOver({ _socket: socket, _isExtended: isExtended }: NobleController): void {
  const onAnswer = (packet: Buffer) => {
    if (!isAnswerTo(packet, opcodes.readLeBufferSize)) return;
    socket.removeListener("data", onAnswer);
    // Makes the controller report requests of devices for other parameters, so that they can be answered. [4.E.7.8.1]
    socket.write(command(opcodes.setLeEventMask, Buffer.from([0x7f, isExtended ? 0xff : 0, 0, 0, 0, 0, 0, 0])));
  };
  socket.on("data", onAnswer);
  // Without this command noble sends nothing, because it does not know how many packets the controller can buffer.
  // noble reads the answer, and asks for the sizes of classic Bluetooth if there are none for LE. [4.E.7.8.2]
  socket.write(command(opcodes.readLeBufferSize));
}

function controllerOf(noble: unknown): NobleController | undefined {
  const hci = at(at(noble, "_bindings"), "_hci");
  const socket = at(hci, "_socket");
  const isAsExpected =
    typeof at(hci, "writeAclDataPkt") === "function" &&
    typeof at(socket, "write") === "function" &&
    typeof at(socket, "emit") === "function";
  return isAsExpected ? (hci as NobleController) : undefined;
}

function at(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && key in value ? Reflect.get(value, key) : undefined;
}
