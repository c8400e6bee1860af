/**
 * The discovery message for Home Assistant: one retained message for each device, with everything that it measures and accepts.
 * https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
 */
import type { BitField, Field, NumberField } from "../payload/fields.ts";
import { isNumberField } from "../payload/fields.ts";
import { numberFormat } from "../payload/numbers.ts";
import { idOf, idPrefixOf } from "./ids.ts";
import { binaryClass, sensorClass, stateClass } from "./units.ts";

/** The gateway as Home Assistant knows it. */
export interface GatewayNames {
  /** `upstream.serviceClientId`. */
  readonly gateway: string;
  readonly version: string;
  /** The retained states: `<statusTopic>/gateway` and `<statusTopic>/clients/<client>`, with the prefix at the broker. */
  readonly statusTopic: string;
}

/** A topic of a client with its declaration. Topic names are those at the broker. */
export interface DeclaredTopic {
  readonly topicName: string;
  readonly fields: readonly Field[];
}

export interface DeviceNames {
  readonly clientId: string;
  /** The client id as one level of the status topic. */
  readonly statusLevel: string;
  /** The topics of its decoded publications. */
  readonly says: readonly DeclaredTopic[];
  /** The topics of its commands: filters without wildcard that it subscribes to. */
  readonly takes: readonly DeclaredTopic[];
  /** Seconds without news after which a value counts as unknown; 0 = never. */
  readonly expireSeconds: number;
}

type Component = { readonly platform: string } & Readonly<Record<string, unknown>>;

export interface DevicePayload {
  readonly device: Readonly<Record<string, unknown>>;
  readonly origin: Readonly<Record<string, unknown>>;
  readonly availability?: readonly Readonly<Record<string, unknown>>[];
  readonly availability_mode?: "all";
  readonly components: Readonly<Record<string, Component>>;
}

/** The topic of the discovery message for the gateway or a client. */
export function discoveryTopic(prefix: string, gateway: string, clientId: string | undefined): string {
  const own = idPrefixOf(gateway);
  return `${prefix}/device/${clientId === undefined ? own : `${own}_${idOf(clientId)}`}/config`;
}

export function devicePayload(names: GatewayNames, device: DeviceNames): DevicePayload {
  const { clientId, statusLevel, expireSeconds } = device;
  const id = `${idPrefixOf(names.gateway)}_${idOf(clientId)}`;
  const components: Record<string, Component> = {};
  for (const { topicName, fields } of device.says)
    for (const each of fields.flatMap(readable)) {
      const key = `${idOf(topicName)}_${idOf(each.name)}`;
      components[key] = { ...sensor(each, topicName, expireSeconds), unique_id: `${id}_${key}` };
    }
  for (const { topicName, fields } of device.takes)
    for (const each of commands(fields)) {
      const key = `${idOf(topicName)}_${idOf(each.name)}_set`;
      components[key] = { ...each.component, command_topic: topicName, qos: 1, unique_id: `${id}_${key}` };
    }
  return {
    device: {
      identifiers: [id],
      name: clientId,
      serial_number: clientId,
      manufacturer: "MQTT-SN",
      via_device: idPrefixOf(names.gateway),
    },
    origin: originOf(names),
    availability: [
      gatewayAvailability(names),
      {
        topic: `${names.statusTopic}/clients/${statusLevel}`,
        // A sleeping device is available: it continues when it wakes.
        value_template: "{{ 'online' if value in ['active', 'asleep', 'awake'] else 'offline' }}",
      },
    ],
    availability_mode: "all",
    components,
  };
}

/** The gateway itself with its own sensors, as the device that the others belong to. */
export function gatewayPayload(names: GatewayNames): DevicePayload {
  const id = idPrefixOf(names.gateway);
  const info = `${names.statusTopic}/gateway/info`;
  const count = (name: string, words: string): Component => ({
    platform: "sensor",
    unique_id: `${id}_${name}`,
    name: words,
    state_topic: info,
    value_template: `{{ value_json.${name} }}`,
    state_class: "measurement",
    entity_category: "diagnostic",
    availability: [gatewayAvailability(names)],
  });
  return {
    device: { identifiers: [id], name: names.gateway, manufacturer: "MQTT-SN gateway", sw_version: names.version },
    origin: originOf(names),
    components: {
      connection: {
        platform: "binary_sensor",
        unique_id: `${id}_connection`,
        name: "Connection",
        device_class: "connectivity",
        state_topic: `${names.statusTopic}/gateway`,
        payload_on: "online",
        payload_off: "offline",
        entity_category: "diagnostic",
      },
      clients: count("clients", "Clients"),
      asleep: count("asleep", "Clients asleep"),
      lost: count("lost", "Clients lost"),
      waiting: count("waiting", "Messages waiting"),
    },
  };
}

/** True if both are the same, ignoring components that only report their removal. */
export function isSamePayload(kept: string, wanted: DevicePayload): boolean {
  const parsed = parsedPayload(kept);
  if (!parsed) return false;
  const living = Object.entries(parsed.components).filter(([, component]) => Object.keys(component).length > 1);
  return JSON.stringify({ ...parsed, components: Object.fromEntries(living) }) === JSON.stringify(wanted);
}

/** Adds removed components by their platform alone, which deletes them in Home Assistant. */
export function withRemoved(kept: string | undefined, wanted: DevicePayload): DevicePayload {
  const before = kept === undefined ? undefined : parsedPayload(kept)?.components;
  if (!before) return wanted;
  const gone = Object.entries(before).filter(([key]) => !Object.hasOwn(wanted.components, key));
  if (gone.length === 0) return wanted;
  const removed = Object.fromEntries(gone.map(([key, { platform }]) => [key, { platform }]));
  return { ...wanted, components: { ...wanted.components, ...removed } };
}

function parsedPayload(text: string): DevicePayload | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("components" in value)) return undefined;
    return typeof value.components === "object" && value.components !== null ? (value as DevicePayload) : undefined;
  } catch {
    return undefined;
  }
}

const originOf = ({ version }: GatewayNames) => ({ name: "mqtt-sn-gateway", sw_version: version });

const gatewayAvailability = ({ statusTopic }: GatewayNames) => ({
  topic: `${statusTopic}/gateway`,
  payload_available: "online",
  payload_not_available: "offline",
});

/** A value that Home Assistant reads from a payload in any format. */
interface Readable {
  readonly name: string;
  readonly unit?: string | undefined;
  readonly kind?: string | undefined;
  readonly diagnostic?: boolean | undefined;
  readonly is: "number" | "truth" | "text" | "name";
  readonly names?: readonly string[];
}

function readable(field: Field): Readable[] {
  if (field.type === "skip") return [];
  if (!isNumberField(field)) return [{ ...field, is: "text" }];
  if (field.bits) return field.bits.map(bit);
  if (!field.values) return [{ ...field, is: "number" }];
  return [{ ...field, is: "name", names: Object.values(field.values) }];
}

function bit({ width = 1, values, ...described }: BitField): Readable {
  if (values) return { ...described, is: "name", names: Object.values(values) };
  return { ...described, is: width === 1 ? "truth" : "number" };
}

function sensor(each: Readable, topicName: string, expireSeconds: number): Component {
  const { name, unit, kind, diagnostic, is } = each;
  const value = `value_json[${templateText(name)}]`;
  const common = {
    name,
    state_topic: topicName,
    ...(expireSeconds > 0 && { expire_after: expireSeconds }),
    ...(diagnostic === true && { entity_category: "diagnostic" }),
  };
  if (is === "truth") {
    const deviceClass = binaryClass(kind);
    return {
      platform: "binary_sensor",
      ...common,
      value_template: `{{ 'ON' if ${value} else 'OFF' }}`,
      ...(deviceClass !== undefined && { device_class: deviceClass }),
    };
  }
  const deviceClass = sensorClass(unit, kind);
  return {
    platform: "sensor",
    ...common,
    value_template: `{{ ${value} }}`,
    ...(is === "number" && { state_class: stateClass(deviceClass) }),
    ...(unit !== undefined && { unit_of_measurement: unit }),
    ...(is !== "name" && deviceClass !== undefined && { device_class: deviceClass }),
  };
}

/** A text within a template. */
function templateText(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

interface Command {
  readonly name: string;
  readonly component: Component;
}

/** The fields that can be sent alone: no other field must be sent with them. */
function commands(fields: readonly Field[]): Command[] {
  return fields.flatMap((field) => {
    if (!isNumberField(field)) return [];
    const others = fields.filter((other) => other !== field);
    const isAlone = others.every(
      (other) =>
        other.type === "skip" || other.optional === true || (isNumberField(other) && other.default !== undefined),
    );
    return isAlone ? commandsOf(field) : [];
  });
}

function commandsOf(field: NumberField): Command[] {
  if (field.bits) {
    // A command for one of several bits would reset the other bits.
    const [only, ...others] = field.bits;
    return only && others.length === 0 && (only.width ?? 1) === 1 ? [switchOf(only)] : [];
  }
  const { name, unit, values } = field;
  const json = JSON.stringify(name);
  if (values) {
    const options = Object.values(values);
    return [{ name, component: { platform: "select", name, options, command_template: `{ ${json}: "{{ value }}" }` } }];
  }
  const [min, max] = rangeOf(field);
  const deviceClass = sensorClass(unit, field.kind);
  const component: Component = {
    platform: "number",
    name,
    min,
    max,
    step: Math.abs(field.scale ?? 1),
    mode: "box",
    command_template: `{ ${json}: {{ value }} }`,
    ...(unit !== undefined && { unit_of_measurement: unit }),
    ...(deviceClass !== undefined && { device_class: deviceClass }),
  };
  return [{ name, component }];
}

function switchOf({ name, diagnostic }: BitField): Command {
  const component: Component = {
    platform: "switch",
    name,
    payload_on: JSON.stringify({ [name]: true }),
    payload_off: JSON.stringify({ [name]: false }),
    optimistic: true,
    ...(diagnostic === true && { entity_category: "config" }),
  };
  return { name, component };
}

/** The range of a number, which Home Assistant needs to show an input field. */
function rangeOf({ type, scale = 1, offset = 0 }: NumberField): readonly [min: number, max: number] {
  const { min, max } = numberFormat(type);
  const most = 2 ** 31;
  const ends = [min, max].map((end) => Math.max(-most, Math.min(most, end)) * scale + offset);
  return [Math.min(...ends), Math.max(...ends)];
}
