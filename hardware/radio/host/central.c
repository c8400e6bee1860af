#include "central.h"

#include <string.h>

#include "controller.h"

enum {
  RESET = 0x0c03, EVENT_MASK = 0x0c01, LE_EVENT_MASK = 0x2001, BUFFER_SIZE = 0x2002, SCAN_PARAMETERS = 0x200b,
  SCAN = 0x200c, CREATE = 0x200d, CANCEL = 0x200e, HANG_UP = 0x0406, ACCEPT = 0x2020, REFUSED_PAIRING = 0x05,
};
enum { ATT = 4, SIGNALLING = 5, SECURITY = 6, MTU_MIN = 23, MTU = 247, CONFIRM_EVERY = 16, WAITING_BYTES = 2048 };
/* A controller tells of an advertiser once in a scan; so it scans afresh. */
enum { SCAN_MS = 3000, INTERVAL_MIN = 24, INTERVAL_MAX = 40, SUPERVISION = 400 };

typedef enum { NONE, OPENING, EXCHANGE, SERVICES, CHARACTERISTICS, CONFIGURATION, SUBSCRIPTION, READY } step_t;

typedef struct {
  step_t step;
  radio_address_t device;
  uint16_t handle, mtu;
  uint16_t first, last;             /* of the service; or what is asked for next */
  uint16_t incoming, outgoing;      /* values of the two characteristics */
  uint16_t incoming_end, configuration;
  bool indicates, confirms, has_both, awaits;
  uint8_t since_confirmed;
  uint8_t waiting[WAITING_BYTES]; /* octets of messages */
  size_t waiting_bytes;
} link_t;

static radio_t *radio;
static link_t links[RADIO_LINKS + 1];
static uint32_t time_now, scan_since;
static bool scans, ready;

static link_t *of_handle(uint16_t handle) {
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
    if (links[i].step > OPENING && links[i].handle == handle) return &links[i];
  }
  return NULL;
}

static link_t *of_device(const radio_address_t *device) {
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
    if (links[i].step != NONE && memcmp(&links[i].device, device, sizeof *device) == 0) return &links[i];
  }
  return NULL;
}

static void scan(bool on) {
  uint8_t parameters[2] = {on, 0};
  scans = on;
  scan_since = time_now;
  controller_command(SCAN, parameters, sizeof parameters);
}

static void hang_up(const link_t *link) {
  uint8_t parameters[3] = {0, 0, 0x13};
  put16(parameters, link->handle);
  controller_command(HANG_UP, parameters, sizeof parameters);
}

static void att(const link_t *link, const uint8_t *pdu, size_t bytes) {
  /* Requests are one at a time; there is room for them. */
  (void)controller_data(link->handle, ATT, pdu, bytes);
}

static void ask(const link_t *link, uint8_t opcode, uint16_t first, uint16_t last, uint16_t type) {
  uint8_t request[7] = {opcode};
  put16(request + 1, first);
  put16(request + 3, last);
  put16(request + 5, type);
  att(link, request, sizeof request);
}

/* ---- the link is set up, step by step ---- */

static void to_characteristics(link_t *link) {
  link->step = CHARACTERISTICS;
  ask(link, 0x08, link->first, link->last, 0x2803);
}

static void on_services(link_t *link, const uint8_t *pdu, size_t bytes) {
  size_t size = bytes > 1 ? pdu[1] : 0;
  uint16_t last = 0;
  if (size == 20) {
    for (size_t at = 2; at + size <= bytes; at += size) {
      last = get16(pdu + at + 2);
      if (memcmp(pdu + at + 4, radio->config.service, 16) != 0) continue;
      link->first = get16(pdu + at);
      link->last = last;
      to_characteristics(link);
      return;
    }
  } else if (size >= 4 && bytes >= 2 + size) {
    last = get16(pdu + bytes - size + 2);
  }
  if (last == 0 || last == 0xffff) hang_up(link);
  else ask(link, 0x10, (uint16_t)(last + 1), 0xffff, 0x2800);
}

static void to_configuration(link_t *link) {
  if (link->incoming == 0 || link->outgoing == 0) {
    hang_up(link);
    return;
  }
  link->step = CONFIGURATION;
  ask(link, 0x08, (uint16_t)(link->incoming + 1), link->incoming_end != 0 ? link->incoming_end : link->last, 0x2902);
}

/* By their properties: notify is better than indicate, and a write without response than one with. */
static void on_characteristics(link_t *link, const uint8_t *pdu, size_t bytes) {
  size_t size = bytes > 1 ? pdu[1] : 0;
  uint16_t value = 0;
  for (size_t at = 2; size >= 7 && at + size <= bytes; at += size) {
    uint8_t properties = pdu[at + 2];
    if (link->incoming != 0 && link->incoming_end == 0) link->incoming_end = (uint16_t)(get16(pdu + at) - 1);
    value = get16(pdu + at + 3);
    if ((properties & 0x10) != 0 ? link->incoming == 0 || link->indicates : (properties & 0x20) != 0 && link->incoming == 0) {
      link->incoming = value;
      link->incoming_end = 0;
      link->indicates = (properties & 0x10) == 0;
    }
    if ((properties & 0x04) != 0 ? link->outgoing == 0 || link->confirms : (properties & 0x08) != 0 && link->outgoing == 0) {
      link->outgoing = value;
      link->confirms = (properties & 0x04) == 0;
      link->has_both = (properties & 0x0c) == 0x0c;
    }
  }
  if (value == 0 || value >= link->last) to_configuration(link);
  else ask(link, 0x08, (uint16_t)(value + 1), link->last, 0x2803);
}

static void on_configuration(link_t *link, const uint8_t *pdu, size_t bytes) {
  uint8_t request[5] = {0x12};
  if (bytes < 4) {
    hang_up(link);
    return;
  }
  link->configuration = get16(pdu + 2);
  link->step = SUBSCRIPTION;
  put16(request + 1, link->configuration);
  put16(request + 3, link->indicates ? 2 : 1);
  att(link, request, sizeof request);
}

/* ---- writes ---- */

/* As many as there is room for; a confirmed one holds the others back until it is answered. */
static void write_on(link_t *link) {
  while (link->waiting_bytes > 0 && !link->awaits) {
    uint8_t pdu[3 + MTU];
    size_t most = link->mtu - 3U;
    size_t piece = link->waiting_bytes < most ? link->waiting_bytes : most;
    bool confirm = link->confirms || (link->has_both && link->since_confirmed + 1 >= CONFIRM_EVERY);
    pdu[0] = confirm ? 0x12 : 0x52;
    put16(pdu + 1, link->outgoing);
    memcpy(pdu + 3, link->waiting, piece);
    if (!controller_data(link->handle, ATT, pdu, 3 + piece)) return; /* goes on when packets were sent */
    link->since_confirmed = confirm ? 0 : (uint8_t)(link->since_confirmed + 1);
    link->awaits = confirm;
    link->waiting_bytes -= piece;
    memmove(link->waiting, link->waiting + piece, link->waiting_bytes);
  }
}

bool central_write(void *context, const radio_address_t *device, const uint8_t *message, size_t bytes) {
  link_t *link = of_device(device);
  (void)context;
  if (link == NULL || link->step != READY || bytes > sizeof link->waiting - link->waiting_bytes) return false;
  memcpy(link->waiting + link->waiting_bytes, message, bytes);
  link->waiting_bytes += bytes;
  write_on(link);
  return true;
}

/* ---- what a device says ---- */

static void on_refused(link_t *link, const uint8_t *pdu, size_t bytes) {
  bool is_end = bytes >= 5 && pdu[4] == 0x0a; /* of a list */
  if (link->step == EXCHANGE) {
    link->step = SERVICES;
    ask(link, 0x10, 1, 0xffff, 0x2800);
  } else if (link->step == CHARACTERISTICS && is_end) {
    to_configuration(link);
  } else if (link->step == READY) {
    link->awaits = false; /* a write that is refused is lost */
    write_on(link);
  } else {
    hang_up(link);
  }
}

static void on_att(link_t *link, const uint8_t *pdu, size_t bytes) {
  uint8_t confirmation = 0x1e;
  if (bytes == 0) return;
  switch (pdu[0]) {
    case 0x01:
      on_refused(link, pdu, bytes);
      return;
    case 0x03:
      if (link->step != EXCHANGE || bytes < 3) return;
      link->mtu = get16(pdu + 1) < MTU_MIN ? MTU_MIN : get16(pdu + 1) > MTU ? MTU : get16(pdu + 1);
      link->step = SERVICES;
      ask(link, 0x10, 1, 0xffff, 0x2800);
      return;
    case 0x11:
      if (link->step == SERVICES) on_services(link, pdu, bytes);
      return;
    case 0x09:
      if (link->step == CHARACTERISTICS) on_characteristics(link, pdu, bytes);
      else if (link->step == CONFIGURATION) on_configuration(link, pdu, bytes);
      return;
    case 0x13:
      if (link->step == SUBSCRIPTION) {
        link->step = READY;
        radio_linked(radio, &link->device, time_now);
      } else {
        link->awaits = false;
        write_on(link);
      }
      return;
    case 0x1d:
      att(link, &confirmation, 1);
      /* fall through */
    case 0x1b:
      if (bytes > 3 && get16(pdu + 1) == link->incoming) radio_octets(radio, &link->device, pdu + 3, bytes - 3, time_now);
      return;
    default:
      /* Requests of the device: it is no server here. */
      if ((pdu[0] & 0x41) == 0) {
        uint8_t refusal[5] = {0x01, pdu[0], 0, 0, 0x06};
        att(link, refusal, sizeof refusal);
      }
  }
}

void central_data(uint16_t handle, uint16_t channel, const uint8_t *payload, size_t bytes) {
  link_t *link = of_handle(handle);
  if (link == NULL) return;
  if (channel == ATT) on_att(link, payload, bytes);
  if (channel == SECURITY && bytes > 0 && payload[0] == 0x0b) {
    uint8_t refusal[2] = {0x05, REFUSED_PAIRING}; /* Pairing Failed: not supported */
    (void)controller_data(handle, SECURITY, refusal, sizeof refusal);
  }
  if (channel == SIGNALLING && bytes >= 2 && payload[0] == 0x12) {
    uint8_t answer[6] = {0x13, payload[1], 2, 0, 1, 0}; /* other parameters: refused */
    (void)controller_data(handle, SIGNALLING, answer, sizeof answer);
  }
}

/* ---- links ---- */

void central_connect(void *context, const radio_address_t *device) {
  uint8_t parameters[25] = {0x60, 0, 0x60, 0, 0, device->octets[0]};
  link_t *link = links;
  (void)context;
  while (link->step != NONE && link < links + RADIO_LINKS) link++;
  memset(link, 0, sizeof *link);
  link->step = OPENING;
  link->device = *device;
  link->mtu = MTU_MIN;
  if (scans) scan(false);
  for (size_t i = 0; i < 6; i++) parameters[6 + i] = device->octets[6 - i];
  put16(parameters + 13, INTERVAL_MIN);
  put16(parameters + 15, INTERVAL_MAX);
  put16(parameters + 19, SUPERVISION);
  controller_command(CREATE, parameters, sizeof parameters);
}

void central_hang_up(void *context, const radio_address_t *device) {
  link_t *link = of_device(device);
  (void)context;
  if (link == NULL) return;
  if (link->step == OPENING) controller_command(CANCEL, NULL, 0);
  else hang_up(link);
}

static link_t *opening(void) {
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
    if (links[i].step == OPENING) return &links[i];
  }
  return NULL;
}

static void gone(link_t *link) {
  radio_address_t device = link->device;
  link->step = NONE;
  if (!scans && opening() == NULL) scan(true);
  radio_unlinked(radio, &device, time_now);
}

static void on_connected(const uint8_t *data, size_t bytes) {
  link_t *link = opening();
  uint8_t request[3] = {0x02};
  if (bytes < 4 || link == NULL) return;
  if (data[1] != 0) {
    gone(link);
    return;
  }
  link->handle = get16(data + 2) & 0x0fff;
  link->step = EXCHANGE;
  if (!scans) scan(true);
  put16(request + 1, MTU);
  att(link, request, sizeof request);
}

static void on_report(const uint8_t *data, size_t bytes) {
  /* One report: type, kind of address, address, length, data, strength. */
  radio_address_t device;
  if (bytes < 11 || data[1] != 1 || bytes < 11U + data[10]) return;
  if (data[2] != 0 && data[2] != 4) return; /* takes no links, or not from us */
  device.octets[0] = data[3] & 1;
  for (size_t i = 0; i < 6; i++) device.octets[1 + i] = data[9 - i];
  radio_seen(radio, &device, data[2] == 4 ? RADIO_SCAN_ANSWER : RADIO_CONNECTABLE, data + 11, data[10], time_now);
}

static void on_answer(uint16_t opcode, const uint8_t *data, size_t bytes) {
  static const uint8_t events[8] = {0xff, 0xff, 0xfb, 0xff, 0x07, 0xf8, 0xbf, 0x3d};
  static const uint8_t le_events[8] = {0x3f};
  static const uint8_t active[7] = {1, 0x60, 0, 0x30, 0, 0, 0};
  if (opcode == RESET) controller_command(EVENT_MASK, events, sizeof events);
  if (opcode == EVENT_MASK) controller_command(LE_EVENT_MASK, le_events, sizeof le_events);
  if (opcode == LE_EVENT_MASK) controller_command(BUFFER_SIZE, NULL, 0);
  if (opcode == BUFFER_SIZE && bytes >= 4) {
    controller_room(get16(data + 1), data[3]);
    controller_command(SCAN_PARAMETERS, active, sizeof active);
  }
  if (opcode == SCAN_PARAMETERS) {
    ready = true;
    scan(true);
  }
}

void central_event(uint8_t code, const uint8_t *data, size_t bytes) {
  link_t *link;
  if (code == 0x05 && bytes >= 4) {
    link = of_handle(get16(data + 1) & 0x0fff);
    controller_link_gone(get16(data + 1) & 0x0fff);
    if (link != NULL) gone(link);
  }
  if (code == 0x0e && bytes >= 4) on_answer(get16(data + 1), data + 3, bytes - 3);
  if (code == 0x0f && bytes >= 4 && data[0] != 0 && get16(data + 2) == CREATE && (link = opening()) != NULL) gone(link);
  if (code == 0x13) {
    for (size_t i = 0; bytes >= 1 && i < data[0] && 1 + 4 * (i + 1) <= bytes; i++) {
      controller_sent(get16(data + 1 + 4 * i) & 0x0fff, get16(data + 3 + 4 * i));
    }
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
      if (links[i].step == READY) write_on(&links[i]);
    }
  }
  if (code != 0x3e || bytes < 2) return;
  if (data[0] == 0x01) on_connected(data, bytes);
  if (data[0] == 0x02) on_report(data, bytes);
  if (data[0] == 0x06 && bytes >= 11) { /* other parameters, by its controller: as it likes */
    uint8_t reply[14] = {0};
    memcpy(reply, data + 1, 10);
    controller_command(ACCEPT, reply, sizeof reply);
  }
}

void central_start(radio_t *to_tell) {
  radio = to_tell;
  controller_command(RESET, NULL, 0);
}

void central_poll(uint32_t now) {
  time_now = now;
  if (!ready || opening() != NULL || now - scan_since < SCAN_MS) return;
  if (scans) scan(false);
  scan(true);
}
