/** Examples that `--help` and the manual page show, by command; a test reads each as the command line would. */
import type { Command } from "commander";

export interface Example {
  readonly type: string;
  readonly does: string;
}

const program = "mqtt-sn-gateway";

export const examples: Readonly<Record<string, readonly Example[]>> = {
  "": [
    { type: `${program} demo`, does: "a gateway with twenty simulated devices, to look at" },
    { type: `${program} start`, does: "run the gateway with gateway.config.json here" },
    { type: `${program} check -c /etc/mqtt-sn-gateway/gateway.config.json`, does: "is the configuration right?" },
  ],
  check: [{ type: `${program} check --export`, does: "what counts, with all defaults, to compare or to keep" }],
  doctor: [
    { type: `${program} doctor`, does: "what is missing on this machine" },
    { type: `${program} doctor --bundle report.gz`, does: "a file for support, without secrets" },
  ],
  decode: [
    { type: `${program} decode 0801040100050161`, does: "one datagram in words" },
    { type: `${program} decode -r field.pcapng -1`, does: "a capture, a line for each datagram" },
  ],
  replay: [{ type: `${program} replay field.pcapng --to 127.0.0.1:1883 --speed max`, does: "as fast as it goes" }],
  "try-device": [{ type: `${program} try-device -p 1884 --debug`, does: "let your device connect to port 1884" }],
  demo: [{ type: `${program} demo --seconds 60`, does: "for a minute" }],
  console: [
    { type: `${program} console`, does: "a link for your browser" },
    { type: `${program} console token add grafana --role viewer`, does: "a token for a program, shown once" },
    { type: `${program} console --lan`, does: "set a password, for browsers in the same network" },
  ],
  sessions: [
    { type: `${program} sessions`, does: "all of them" },
    {
      type: `${program} sessions list --state late --sort silent --watch`,
      does: "which devices are missing, shown again and again",
    },
    {
      type: `${program} sessions list --url https://gateway.example.org/ --token-file token`,
      does: "of a gateway elsewhere",
    },
    { type: `${program} sessions show meter-1`, does: "one, with topics and subscriptions" },
    { type: `${program} sessions drop meter-1`, does: "end it" },
  ],
  queue: [
    { type: `${program} queue`, does: "how much waits, and for whom" },
    { type: `${program} queue dead`, does: "what was given up, and why" },
    { type: `${program} queue republish 3 4`, does: "send two of them once more" },
  ],
  fleet: [
    { type: `${program} fleet status`, does: "both gateways of a pair, the lease, and the last hand-over" },
    { type: `${program} fleet drain`, does: "hand over to the other one, before an upgrade of this one" },
  ],
  backup: [{ type: `${program} backup sessions.backup`, does: "while the gateway runs" }],
  restore: [{ type: `${program} restore sessions.backup`, does: "while it does not" }],
  capture: [
    { type: `${program} capture --client meter-1`, does: "what one device says, in words" },
    {
      type: `${program} capture -w - | wireshark -k -i - -o mqttsn.udp.port:1883`,
      does: "live into Wireshark",
    },
  ],
  ble: [
    { type: `${program} ble check`, does: "adapter and rights" },
    { type: `${program} ble scan`, does: "devices in reach" },
  ],
  pub: [{ type: `${program} pub -t room/temp -m 21.5 -q 1`, does: "publish as a device" }],
  sub: [{ type: `${program} sub -t 'room/#' -v`, does: "subscribe as a device" }],
};

/** Shown after the help of each command. */
export function addExamples(command: Command, name = ""): void {
  const these = examples[name];
  if (these) {
    const width = Math.max(...these.map(({ type }) => type.length));
    const lines = these.map(({ type, does }) => `  ${type.padEnd(width)}  # ${does}`);
    command.addHelpText("after", `\nExamples:\n${lines.join("\n")}`);
  }
  for (const each of command.commands) addExamples(each, name === "" ? each.name() : `${name} ${each.name()}`);
}
