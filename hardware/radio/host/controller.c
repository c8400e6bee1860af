#define _POSIX_C_SOURCE 200809L
#include "controller.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { COMMAND = 1, DATA = 2, EVENT = 4, FIRST = 2, MORE = 1, LINKS_MAX = 16 };

typedef struct {
  uint16_t handle;
  size_t bytes;
  uint8_t octets[5 + 27 + CONTROLLER_DATA_BYTES];
} packet_t;

static struct {
  uint16_t handle;
  uint16_t under_way;
  size_t wanted, bytes; /* of an L2CAP packet that comes in pieces */
  uint8_t octets[CONTROLLER_DATA_BYTES];
} links[LINKS_MAX];

static int controller = -1;
static uint8_t input[8192];
static size_t input_bytes;
static packet_t waiting[CONTROLLER_WAITING];
static size_t waiting_count;
static size_t room_bytes = 27;
static unsigned room_packets = 1;
static unsigned under_way;

uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }

void put16(uint8_t *at, unsigned value) {
  at[0] = (uint8_t)value;
  at[1] = (uint8_t)(value >> 8);
}

int controller_open(const char *path) {
  struct sockaddr_un address;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address.sun_path) return -1;
  memcpy(address.sun_path, path, strlen(path));
  controller = socket(AF_UNIX, SOCK_STREAM, 0);
  if (controller < 0 || connect(controller, (struct sockaddr *)&address, sizeof address) != 0) return -1;
  return controller;
}

static void put(const uint8_t *octets, size_t bytes) {
  /* A controller that takes nothing any more is found out by reading. */
  if (send(controller, octets, bytes, MSG_NOSIGNAL) < 0) return;
}

void controller_command(uint16_t opcode, const uint8_t *parameters, uint8_t bytes) {
  uint8_t packet[4 + 255] = {COMMAND};
  put16(packet + 1, opcode);
  packet[3] = bytes;
  if (bytes > 0) memcpy(packet + 4, parameters, bytes);
  put(packet, 4U + bytes);
}

static size_t link_of(uint16_t handle) {
  size_t at = 0;
  while (at < LINKS_MAX - 1 && links[at].handle != handle) at++;
  if (links[at].handle == handle) return at;
  for (at = 0; at < LINKS_MAX - 1 && links[at].handle != 0; at++) {
  }
  memset(&links[at], 0, sizeof links[at]);
  links[at].handle = handle;
  return at;
}

static void drain(void) {
  while (waiting_count > 0 && under_way < room_packets) {
    links[link_of(waiting[0].handle)].under_way++;
    under_way++;
    put(waiting[0].octets, waiting[0].bytes);
    waiting_count--;
    memmove(waiting, waiting + 1, waiting_count * sizeof waiting[0]);
  }
}

bool controller_data(uint16_t handle, uint16_t channel, const uint8_t *payload, size_t bytes) {
  uint8_t whole[4 + CONTROLLER_DATA_BYTES];
  size_t total = 4 + bytes;
  if (bytes > CONTROLLER_DATA_BYTES - 4 || waiting_count + (total + room_bytes - 1) / room_bytes > CONTROLLER_WAITING) {
    return false;
  }
  put16(whole, (unsigned)bytes);
  put16(whole + 2, channel);
  memcpy(whole + 4, payload, bytes);
  for (size_t at = 0; at < total;) {
    packet_t *packet = &waiting[waiting_count++];
    size_t piece = total - at < room_bytes ? total - at : room_bytes;
    packet->handle = handle;
    packet->bytes = 5 + piece;
    packet->octets[0] = DATA;
    put16(packet->octets + 1, handle | (at == 0 ? 0U : MORE << 12));
    put16(packet->octets + 3, (unsigned)piece);
    memcpy(packet->octets + 5, whole + at, piece);
    at += piece;
  }
  drain();
  return true;
}

void controller_room(uint16_t bytes, uint8_t packets) {
  room_bytes = bytes < 27 ? 27 : bytes > CONTROLLER_DATA_BYTES ? CONTROLLER_DATA_BYTES : bytes;
  room_packets = packets > 0 ? packets : 1;
}

void controller_sent(uint16_t handle, uint16_t packets) {
  size_t link = link_of(handle);
  unsigned sent = packets < links[link].under_way ? packets : links[link].under_way;
  links[link].under_way = (uint16_t)(links[link].under_way - sent);
  under_way -= sent;
  drain();
}

void controller_link_gone(uint16_t handle) {
  size_t link = link_of(handle);
  size_t kept = 0;
  for (size_t i = 0; i < waiting_count; i++) {
    if (waiting[i].handle == handle) continue;
    if (kept != i) waiting[kept] = waiting[i];
    kept++;
  }
  waiting_count = kept;
  under_way -= links[link].under_way;
  memset(&links[link], 0, sizeof links[link]);
  drain();
}

static void take_data(const uint8_t *packet, size_t bytes,
                      void (*on_data)(uint16_t handle, uint16_t channel, const uint8_t *payload, size_t bytes)) {
  uint16_t handle = get16(packet) & 0x0fff;
  size_t link = link_of(handle);
  const uint8_t *piece = packet + 4;
  bytes -= 4;
  if ((packet[1] >> 4 & 3) == FIRST) {
    links[link].bytes = 0;
    links[link].wanted = bytes >= 4 ? 4U + get16(piece) : 0;
  }
  if (links[link].wanted > CONTROLLER_DATA_BYTES || links[link].bytes + bytes > links[link].wanted) {
    links[link].wanted = links[link].bytes = 0; /* longer than anything that was agreed on */
    return;
  }
  memcpy(links[link].octets + links[link].bytes, piece, bytes);
  links[link].bytes += bytes;
  if (links[link].bytes < links[link].wanted || links[link].wanted < 4) return;
  on_data(handle, get16(links[link].octets + 2), links[link].octets + 4, links[link].wanted - 4);
}

bool controller_read(void (*on_event)(uint8_t code, const uint8_t *data, size_t bytes),
                     void (*on_data)(uint16_t handle, uint16_t channel, const uint8_t *payload, size_t bytes)) {
  size_t at = 0;
  ssize_t got = recv(controller, input + input_bytes, sizeof input - input_bytes, 0);
  if (got <= 0) return false;
  input_bytes += (size_t)got;
  while (input_bytes - at >= 5) {
    const uint8_t *packet = input + at;
    size_t head = packet[0] == EVENT ? 3 : 5;
    size_t bytes = packet[0] == EVENT ? packet[2] : get16(packet + 3);
    if (packet[0] != EVENT && packet[0] != DATA) return false;
    if (head + bytes > sizeof input) return false;
    if (input_bytes - at < head + bytes) break;
    if (packet[0] == EVENT) on_event(packet[1], packet + 3, bytes);
    else take_data(packet + 1, 4 + bytes, on_data);
    at += head + bytes;
  }
  input_bytes -= at;
  memmove(input, input + at, input_bytes);
  return true;
}
