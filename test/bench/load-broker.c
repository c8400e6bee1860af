/* The connection to the broker, MQTT 3.1.1 as far as the load needs it: see load.h. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t *to_broker, from_broker[1 << 20];
static size_t to_broker_length, to_broker_size, from_broker_length;
static uint16_t broker_id;
static bool broker_ready;

static void broker_write(const uint8_t *octets, size_t length) {
  if (to_broker_length + length > to_broker_size) {
    to_broker_size = 2 * (to_broker_length + length);
    to_broker = realloc(to_broker, to_broker_size);
    if (!to_broker) die("no memory");
  }
  memcpy(to_broker + to_broker_length, octets, length);
  to_broker_length += length;
}

void broker_flush(void) {
  size_t at = 0;
  while (at < to_broker_length) {
    ssize_t n = write(tcp, to_broker + at, to_broker_length - at);
    if (n <= 0) break;
    at += (size_t)n;
  }
  memmove(to_broker, to_broker + at, to_broker_length - at);
  to_broker_length -= at;
}

/* Publishes to a device's topic, or to the topic of all (device < 0). */
void publish_down(int device, uint32_t seq) {
  uint8_t octets[DATAGRAM_MAX + 64];
  char topic[64];
  int name = device < 0 ? snprintf(topic, sizeof topic, "%s/f", opt.prefix)
                        : snprintf(topic, sizeof topic, "%s/d/%06d", opt.prefix, device);
  size_t rest = (size_t)(2 + name + (opt.qos > 0 ? 2 : 0) + opt.size);
  size_t at = 0;
  octets[at++] = (uint8_t)(0x30 | opt.qos << 1);
  if (rest >= 128) octets[at++] = (uint8_t)(rest & 0x7f) | 0x80;
  octets[at++] = (uint8_t)(rest >= 128 ? rest >> 7 : rest);
  octets[at++] = 0;
  octets[at++] = (uint8_t)name;
  memcpy(octets + at, topic, (size_t)name);
  at += (size_t)name;
  if (opt.qos > 0) {
    if (++broker_id == 0) broker_id = 1;
    octets[at++] = (uint8_t)(broker_id >> 8);
    octets[at++] = (uint8_t)broker_id;
    broker_outstanding++;
  }
  fill_payload(octets + at, device, seq);
  broker_write(octets, at + (size_t)opt.size);
}

static void on_broker_packet(const uint8_t *octets, size_t head, size_t length) {
  const uint8_t *body = octets + head;
  uint8_t answer[4] = {0, 2, 0, 0};
  switch (octets[0] >> 4) {
    case 2:
      if (body[1] != 0) die("the broker refused: %d", body[1]);
      broker_ready = true;
      break;
    case 3: {
      size_t name = (size_t)body[0] << 8 | body[1];
      char number[7] = {0};
      if (name < 6 || length < 2 + name) die("PUBLISH from the broker is malformed");
      memcpy(number, body + 2 + name - 6, 6);
      int device = atoi(number);
      if (device < 0 || device >= opt.n) misrouted++;
      else arrived(body + 2 + name, length - 2 - name, device);
      break;
    }
    case 5: /* PUBREC */
      answer[0] = 0x62;
      memcpy(answer + 2, body, 2);
      broker_write(answer, 4);
      break;
    case 4:
    case 7:
      broker_acked++;
      broker_outstanding--;
      on_broker_done();
      break;
    case 9:
      if (body[2] == 0x80) die("the broker refused the subscription");
      broker_ready = true;
      break;
    default:
      break;
  }
}

void broker_read(void) {
  for (;;) {
    ssize_t n = read(tcp, from_broker + from_broker_length, sizeof from_broker - from_broker_length);
    if (n == 0) die("the broker closed the connection");
    if (n < 0) break;
    from_broker_length += (size_t)n;
    size_t at = 0;
    while (from_broker_length - at >= 2) {
      size_t length = 0, head = 1;
      int shift = 0;
      bool whole = false;
      while (at + head < from_broker_length && !whole) {
        uint8_t octet = from_broker[at + head++];
        length |= (size_t)(octet & 0x7f) << shift;
        shift += 7;
        whole = octet < 0x80;
      }
      if (!whole || from_broker_length - at < head + length) break;
      on_broker_packet(from_broker + at, head, length);
      at += head + length;
    }
    memmove(from_broker, from_broker + at, from_broker_length - at);
    from_broker_length -= at;
  }
}

void open_broker(const char *filter) {
  uint8_t octets[128] = {0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0};
  tcp = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(tcp, (struct sockaddr *)&broker_address, sizeof broker_address) < 0) die("broker: %s", strerror(errno));
  int on = 1;
  setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(tcp, F_SETFL, O_NONBLOCK);
  int id = snprintf((char *)octets + 14, 64, "%s-load-%d", opt.prefix, getpid());
  octets[13] = (uint8_t)id;
  octets[1] = (uint8_t)(12 + id);
  broker_write(octets, (size_t)(14 + id));
  while (!broker_ready) step(10);
  if (!filter) return;
  broker_ready = false;
  int name = snprintf((char *)octets + 6, 64, "%s/%s", opt.prefix, filter);
  octets[0] = 0x82;
  octets[1] = (uint8_t)(5 + name);
  octets[2] = 0;
  octets[3] = 1;
  octets[4] = 0;
  octets[5] = (uint8_t)name;
  octets[6 + name] = 0;
  broker_write(octets, (size_t)(7 + name));
  while (!broker_ready) step(10);
}

size_t broker_waiting(void) { return to_broker_length; }
