/**
 * What Home Assistant accepts as a device discovery message, as far as it is used here: keys, required keys, and how they belong together.
 * Written from its public documentation and source, independent of this gateway.
 */
import { z } from "zod";

const text = z.string().min(1);
const topic = text.regex(/^[^+#\0]+$/);
const template = text.regex(/\{\{|^\{ ".*" \}$|^\{ ".*": \{\{ value \}\} \}$/);
const category = z.enum(["diagnostic", "config"]);

const availability = z.strictObject({
  topic,
  payload_available: text.optional(),
  payload_not_available: text.optional(),
  value_template: template.optional(),
});

const entity = {
  unique_id: text,
  name: text.nullable(),
  entity_category: category.optional(),
  device_class: text.optional(),
  availability: z.array(availability).optional(),
  qos: z.union([z.literal(0), z.literal(1), z.literal(2)]).optional(),
};

const component = z.discriminatedUnion("platform", [
  z
    .strictObject({
      ...entity,
      platform: z.literal("sensor"),
      state_topic: topic,
      value_template: template.optional(),
      unit_of_measurement: text.optional(),
      state_class: z.enum(["measurement", "total", "total_increasing"]).optional(),
      expire_after: z.int().positive().optional(),
    })
    .refine(
      ({ device_class, state_class }) =>
        !["energy", "gas", "water"].includes(device_class ?? "") || state_class !== "measurement",
      "what only grows is no measurement",
    ),
  z.strictObject({
    ...entity,
    platform: z.literal("binary_sensor"),
    state_topic: topic,
    value_template: template.optional(),
    payload_on: text.optional(),
    payload_off: text.optional(),
    expire_after: z.int().positive().optional(),
  }),
  z
    .strictObject({
      ...entity,
      platform: z.literal("number"),
      command_topic: topic,
      command_template: template,
      min: z.number(),
      max: z.number(),
      step: z.number().min(0.001),
      mode: z.enum(["auto", "box", "slider"]),
      unit_of_measurement: text.optional(),
    })
    .refine(({ min, max }) => max > min, "max must be greater than min"),
  z.strictObject({
    ...entity,
    platform: z.literal("select"),
    command_topic: topic,
    command_template: template,
    options: z.array(text).min(1),
  }),
  z.strictObject({
    ...entity,
    platform: z.literal("switch"),
    command_topic: topic,
    payload_on: text,
    payload_off: text,
    optimistic: z.boolean(),
  }),
]);

/** A removed component: its platform, and nothing else. */
const removed = z.strictObject({ platform: z.enum(["sensor", "binary_sensor", "number", "select", "switch"]) });

export const deviceDiscovery = z.strictObject({
  device: z.strictObject({
    identifiers: z.array(text).min(1),
    name: text,
    manufacturer: text.optional(),
    serial_number: text.optional(),
    sw_version: text.optional(),
    via_device: text.optional(),
  }),
  origin: z.strictObject({ name: text, sw_version: text.optional(), support_url: z.url().optional() }),
  availability: z.array(availability).optional(),
  availability_mode: z.enum(["all", "any", "latest"]).optional(),
  components: z.record(text.regex(/^[a-zA-Z0-9_-]+$/), z.union([removed, component])),
});

/** `<prefix>/device/<object id>/config`; the object id of these characters only. */
export const discoveryTopicOf = (prefix: string) => new RegExp(`^${prefix}/device/[a-zA-Z0-9_-]+/config$`);
