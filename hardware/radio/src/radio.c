#include "radio.h"

#include <string.h>

#include "devices.h"
#include "held.h"

enum {
  PINGREQ = 0x16,
  PINGRESP = 0x17,
  DISCONNECT = 0x18,
  ENCAPSULATED = 0xfe,
  UNUSED_MS = 60000,      /* who sends no MQTT-SN message is left alone for so long: its UART is for another program */
  ENDING_MS = 10000,      /* a port that does not say that a link has ended is not waited for */
};

void radio_defaults(radio_config_t *config) {
  static const uint8_t nordic_uart[16] = {0x9e, 0xca, 0xdc, 0x24, 0x0e, 0xe5, 0xa9, 0xe0,
                                          0x93, 0xf3, 0xa3, 0xb5, 0x01, 0x00, 0x40, 0x6e};
  memset(config, 0, sizeof *config);
  memcpy(config->service, nordic_uart, sizeof nordic_uart);
  config->connect_ms = 20000;
  config->hold_ms = 10000;
  config->linger_ms = 1000;
  config->silent_ms = 30000;
  config->turn_ms = 15000;
  config->turn_ms_max = 60000;
  config->resync_ms = 8000;
}

void radio_init(radio_t *radio, const radio_config_t *config) {
  memset(radio, 0, sizeof *radio);
  radio->config = *config;
}

static radio_link_t *find(radio_t *radio, const radio_address_t *device) {
  for (size_t i = 0; i < RADIO_LINKS; i++) {
    radio_link_t *link = &radio->links[i];
    if (link->state != RADIO_FREE && devices_same(&link->device, device)) return link;
  }
  return NULL;
}

static void enter(radio_link_t *link, radio_state_t state, uint32_t now) {
  link->state = state;
  link->since = now;
}

static void end(radio_t *radio, radio_link_t *link, uint32_t now) {
  radio_address_t device = link->device; /* the port may answer at once */
  enter(link, RADIO_ENDING, now);
  radio->config.hang_up(radio->config.context, &device);
}

/* MsgType of a whole message; 0: it has none. */
static uint8_t type_of(const uint8_t *message, size_t bytes) {
  size_t at = message[0] == 1 ? 3 : 1;
  return at < bytes ? message[at] : 0;
}

/* The Length of a message of `bytes` octets is right. */
static bool is_whole(const uint8_t *message, size_t bytes) {
  if (bytes < 2) return false;
  if (message[0] != 1) return message[0] == bytes;
  return bytes >= 4 && ((size_t)message[1] << 8 | message[2]) == bytes;
}

/* ---- connecting ---- */

/* Of the links that may end because others wait: the one silent for longest, else the oldest. */
static radio_link_t *whose_turn_is_over(radio_t *radio, uint32_t now) {
  radio_link_t *silent = NULL;
  radio_link_t *old = NULL;
  for (size_t i = 0; i < RADIO_LINKS; i++) {
    radio_link_t *link = &radio->links[i];
    if (link->state == RADIO_ENDING) return NULL; /* a place becomes free */
    if (link->state != RADIO_LINKED) continue;
    if (now - link->last_message >= radio->config.turn_ms &&
        (silent == NULL || now - link->last_message > now - silent->last_message)) {
      silent = link;
    }
    if (now - link->since >= radio->config.turn_ms_max && (old == NULL || now - link->since > now - old->since)) {
      old = link;
    }
  }
  return silent != NULL ? silent : old;
}

/* One attempt at a time. */
static void connect_next(radio_t *radio, uint32_t now) {
  const radio_address_t *next;
  radio_link_t *room = NULL;
  radio_address_t device;
  for (size_t i = 0; i < RADIO_LINKS; i++) {
    if (radio->links[i].state == RADIO_CONNECTING) return;
    if (radio->links[i].state == RADIO_FREE) room = &radio->links[i];
  }
  next = devices_next(radio, now);
  if (next == NULL) return;
  if (room == NULL) {
    room = whose_turn_is_over(radio, now);
    if (room == NULL) return;
    radio->counts.turns++;
    end(radio, room, now);
    return;
  }
  device = *next;
  memset(room, 0, sizeof *room);
  room->device = device;
  enter(room, RADIO_CONNECTING, now);
  devices_taken(radio, &device);
  radio->config.connect(radio->config.context, &device);
}

void radio_seen(radio_t *radio, const radio_address_t *device, radio_report_t report, const uint8_t *data, size_t bytes,
                uint32_t now) {
  if (find(radio, device) != NULL) return;
  devices_seen(radio, device, report, data, bytes, now);
  connect_next(radio, now);
}

/* ---- down ---- */

/* The gateway lets a device go: what it says last is followed by the end of the link. */
static void notice_down(radio_link_t *link, const uint8_t *message, size_t bytes, uint32_t now) {
  uint8_t type = type_of(message, bytes);
  link->last_message = now;
  if (type != DISCONNECT && !(type == PINGRESP && link->wakes)) return;
  link->wakes = false;
  link->lingers = true;
  link->linger_since = now;
}

static void write_down(radio_t *radio, radio_link_t *link, const uint8_t *message, size_t bytes, uint32_t now) {
  if (!radio->config.write(radio->config.context, &link->device, message, bytes)) {
    radio->counts.no_room++;
    return;
  }
  radio->counts.down++;
  notice_down(link, message, bytes, now);
}

void radio_from_gateway(radio_t *radio, const uint8_t *datagram, size_t bytes, uint32_t now) {
  radio_address_t device;
  const uint8_t *message = datagram + RADIO_HEAD_BYTES;
  radio_link_t *link;
  if (bytes <= RADIO_HEAD_BYTES || datagram[0] != RADIO_HEAD_BYTES || datagram[1] != ENCAPSULATED || datagram[3] > 1 ||
      !is_whole(message, bytes - RADIO_HEAD_BYTES)) {
    radio->counts.not_ours++;
    return;
  }
  bytes -= RADIO_HEAD_BYTES;
  if (bytes > RADIO_MESSAGE_BYTES) {
    radio->counts.too_long++;
    return;
  }
  memcpy(device.octets, datagram + 3, sizeof device.octets);
  link = find(radio, &device);
  if (link != NULL && link->state == RADIO_LINKED) {
    write_down(radio, link, message, bytes, now);
    return;
  }
  radio->counts.held++;
  held_keep(radio, &device, message, bytes, now);
}

void radio_linked(radio_t *radio, const radio_address_t *device, uint32_t now) {
  radio_link_t *link = find(radio, device);
  const radio_held_t *held;
  if (link == NULL || link->state != RADIO_CONNECTING) {
    /* Too late, or not asked for. */
    radio->config.hang_up(radio->config.context, device);
    return;
  }
  radio->counts.links++;
  enter(link, RADIO_LINKED, now);
  link->last_message = now;
  mqttsn_framing_init(&link->framing, link->buffer, sizeof link->buffer, radio->config.resync_ms);
  held_expire(radio, now);
  while ((held = held_take(radio, device)) != NULL) write_down(radio, link, held->message, held->bytes, now);
  connect_next(radio, now);
}

void radio_unlinked(radio_t *radio, const radio_address_t *device, uint32_t now) {
  radio_link_t *link = find(radio, device);
  if (link == NULL) return;
  if (link->state == RADIO_CONNECTING) {
    radio->counts.failed++;
    devices_failed(radio, device, 0, now);
  }
  link->state = RADIO_FREE;
  connect_next(radio, now);
}

/* ---- up ---- */

typedef struct {
  radio_t *radio;
  radio_link_t *link;
  uint32_t now;
} arrival_t;

static void on_message(void *context, const uint8_t *message, size_t bytes) {
  const arrival_t *arrival = context;
  radio_t *radio = arrival->radio;
  radio_link_t *link = arrival->link;
  uint8_t type = type_of(message, bytes);
  uint8_t datagram[RADIO_DATAGRAM_BYTES];
  if (type == ENCAPSULATED) {
    radio->counts.nested++;
    return;
  }
  if (!link->spoke) devices_worked(radio, &link->device);
  link->spoke = true;
  link->lingers = false;
  link->last_message = arrival->now;
  if (type == PINGREQ) link->wakes = bytes > 2; /* with a client id: from a sleeper */
  datagram[0] = RADIO_HEAD_BYTES;
  datagram[1] = ENCAPSULATED;
  datagram[2] = 0; /* Ctrl: a radius means nothing on this way */
  memcpy(datagram + 3, link->device.octets, sizeof link->device.octets);
  memcpy(datagram + RADIO_HEAD_BYTES, message, bytes);
  radio->counts.up++;
  radio->config.up(radio->config.context, datagram, RADIO_HEAD_BYTES + bytes);
}

void radio_octets(radio_t *radio, const radio_address_t *device, const uint8_t *octets, size_t count, uint32_t now) {
  radio_link_t *link = find(radio, device);
  arrival_t arrival = {radio, link, now};
  uint32_t before;
  if (link == NULL || link->state != RADIO_LINKED) {
    radio->counts.discarded += (uint32_t)count;
    return;
  }
  before = link->framing.discarded;
  mqttsn_framing_take(&link->framing, octets, count, now, on_message, &arrival);
  radio->counts.discarded += link->framing.discarded - before;
}

/* ---- time ---- */

static void check(radio_t *radio, radio_link_t *link, uint32_t now) {
  switch (link->state) {
    case RADIO_CONNECTING:
      if (now - link->since < radio->config.connect_ms) return;
      radio->counts.failed++;
      devices_failed(radio, &link->device, 0, now);
      end(radio, link, now);
      return;
    case RADIO_LINKED:
      if (link->lingers && now - link->linger_since >= radio->config.linger_ms) {
        end(radio, link, now);
      } else if (!link->spoke && now - link->since >= radio->config.silent_ms) {
        devices_failed(radio, &link->device, UNUSED_MS, now);
        end(radio, link, now);
      }
      return;
    case RADIO_ENDING:
      if (now - link->since >= ENDING_MS) link->state = RADIO_FREE;
      return;
    case RADIO_FREE:
      return;
  }
}

void radio_poll(radio_t *radio, uint32_t now) {
  held_expire(radio, now);
  for (size_t i = 0; i < RADIO_LINKS; i++) check(radio, &radio->links[i], now);
  connect_next(radio, now);
}
