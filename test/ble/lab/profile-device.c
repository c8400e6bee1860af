/*
 * A device written from docs/guide/ble-profile.md and the MQTT-SN standard, by nothing else of this project: a Bluetooth LE
 * peripheral with its own host stack on a virtual controller (H4 on a Unix socket), and an MQTT-SN client on it.
 *
 *   profile-device SOCKET CLIENTID
 *
 * It advertises its name, with the service's UUID in the scan response; refuses the exchange of the MTU, so that values are
 * of 20 octets; has the notifying characteristic first, and takes confirmed and unconfirmed writes. It publishes at QoS
 * 0, 1 and 2 to up/CLIENTID, waits for three publications on down/CLIENTID, says goodbye and ends. On standard output: what
 * happened, a line each.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { VALUE_MAX = 20, MESSAGE_MAX = 255, RETRY_MS = 3000, GIVE_UP_MS = 300000 };
enum { SERVICE = 1, TX_DECLARATION = 2, TX = 3, TX_CONFIGURATION = 4, RX_DECLARATION = 5, RX = 6, LAST = 6 };

/* 6e400001-b5a3-f393-e0a9-e50e24dcca9e, low octet first; octets 12 and 13 tell the three apart. */
static const uint8_t uart[16] = {0x9e, 0xca, 0xdc, 0x24, 0x0e, 0xe5, 0xa9, 0xe0, 0x93, 0xf3, 0xa3, 0xb5, 0x01, 0x00, 0x40, 0x6e};

static int controller;
static int link_handle = -1;
static bool subscribed;

static void must(bool holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void put16(uint8_t *at, unsigned value) {
  at[0] = (uint8_t)value;
  at[1] = (uint8_t)(value >> 8);
}

static unsigned get16(const uint8_t *at) { return at[0] | (unsigned)at[1] << 8; }

static void uuid_of(uint8_t *to, uint8_t which) {
  memcpy(to, uart, sizeof uart);
  to[12] = which;
}

static long now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* ---- the controller ---- */

static void to_controller(const uint8_t *bytes, size_t count) { must(write(controller, bytes, count) == (ssize_t)count, "the controller is gone"); }

static void command(unsigned opcode, const uint8_t *parameters, uint8_t count) {
  uint8_t packet[4 + 255] = {1};
  put16(packet + 1, opcode);
  packet[3] = count;
  if (count > 0) memcpy(packet + 4, parameters, count);
  to_controller(packet, 4u + count);
}

static uint8_t element(uint8_t *to, uint8_t type, const void *data, uint8_t count) {
  to[0] = (uint8_t)(count + 1);
  to[1] = type;
  memcpy(to + 2, data, count);
  return (uint8_t)(count + 2);
}

static void advertise(const char *name) {
  uint8_t parameters[15] = {0xa0, 0, 0xa0, 0}; /* 100 ms, connectable, all three channels */
  parameters[13] = 7;
  command(0x2006, parameters, sizeof parameters);
  uint8_t data[32] = {0};
  uint8_t flags = 6;
  uint8_t count = element(data + 1, 0x01, &flags, 1);
  data[0] = (uint8_t)(count + element(data + 1 + count, 0x09, name, (uint8_t)strlen(name)));
  command(0x2008, data, sizeof data);
  uint8_t answer[32] = {0};
  answer[0] = element(answer + 1, 0x07, uart, sizeof uart);
  command(0x2009, answer, sizeof answer);
  uint8_t on = 1;
  command(0x200a, &on, 1);
}

static void att(const uint8_t *pdu, size_t count) {
  uint8_t packet[9 + 64] = {2};
  must(count <= 64 && link_handle >= 0, "nothing to send that on");
  put16(packet + 1, (unsigned)link_handle);
  put16(packet + 3, (unsigned)count + 4);
  put16(packet + 5, (unsigned)count);
  put16(packet + 7, 4);
  memcpy(packet + 9, pdu, count);
  to_controller(packet, 9 + count);
}

/* ---- attributes ---- */

static void refuse(const uint8_t *request, uint8_t code) {
  uint8_t answer[5] = {0x01, request[0], request[1], request[2], code};
  if (request[0] == 0x02) answer[2] = answer[3] = 0;
  att(answer, sizeof answer);
}

static void on_subscribed(void);
static void on_octets(const uint8_t *bytes, size_t count);

static void read_by_type(const uint8_t *request) {
  unsigned first = get16(request + 1), last = get16(request + 3), type = get16(request + 5);
  if (type == 0x2902 && first <= TX_CONFIGURATION && last >= TX_CONFIGURATION) {
    uint8_t answer[6] = {0x09, 4, TX_CONFIGURATION, 0, subscribed ? 1 : 0, 0};
    return att(answer, sizeof answer);
  }
  unsigned declaration = first <= TX_DECLARATION ? TX_DECLARATION : RX_DECLARATION;
  if (type != 0x2803 || first > RX_DECLARATION || last < declaration) return refuse(request, 0x0a);
  bool speaks = declaration == TX_DECLARATION;
  uint8_t answer[23] = {0x09, 21, (uint8_t)declaration, 0, speaks ? 0x10 : 0x0c, speaks ? TX : RX, 0};
  uuid_of(answer + 7, speaks ? 3 : 2);
  att(answer, sizeof answer);
}

static void on_att(const uint8_t *request, size_t count) {
  if (count < 3) return;
  unsigned handle = get16(request + 1);
  switch (request[0]) {
    case 0x10: { /* which services? */
      if (count < 7 || handle > SERVICE || get16(request + 5) != 0x2800) return refuse(request, 0x0a);
      uint8_t answer[22] = {0x11, 20, SERVICE, 0, LAST, 0};
      uuid_of(answer + 6, 1);
      return att(answer, sizeof answer);
    }
    case 0x08:
      return count < 7 ? refuse(request, 0x0a) : read_by_type(request);
    case 0x12: { /* write, to be confirmed */
      uint8_t confirmed = 0x13;
      if (handle != RX && (handle != TX_CONFIGURATION || count < 5)) return refuse(request, 0x03);
      att(&confirmed, 1);
      if (handle == RX) return on_octets(request + 3, count - 3);
      subscribed = (request[3] & 1) != 0;
      if (subscribed) on_subscribed();
      return;
    }
    case 0x52:
      if (handle == RX) on_octets(request + 3, count - 3);
      return;
    default: /* the exchange of the MTU too: what is not supported is said */
      if ((request[0] & 1) == 0) refuse(request, 0x06);
  }
}

/* ---- MQTT-SN ---- */

static const char *client_id;
static char topic[2][64]; /* up, down */
static unsigned up_id;
static unsigned message_id;
static int qos_up; /* what is being published; 3: all three are through */
static int downs;
static enum { CONNECTING, SUBSCRIBING, REGISTERING, PUBLISHING, RELEASING, LISTENING, LEAVING } step;
static uint8_t waiting[MESSAGE_MAX]; /* what is repeated until it is answered; its length first, 0: nothing */
static long repeat_at;
static uint8_t stream[MESSAGE_MAX];
static size_t stream_count;
static unsigned released; /* QoS 2, down: received and not yet released */

static void send_message(const uint8_t *message) {
  for (size_t at = 0; at < message[0]; at += VALUE_MAX) {
    uint8_t value[3 + VALUE_MAX] = {0x1b, TX, 0};
    size_t piece = message[0] - at < VALUE_MAX ? message[0] - at : VALUE_MAX;
    memcpy(value + 3, message + at, piece);
    att(value, 3 + piece);
  }
}

static void ask(uint8_t type, const uint8_t *head, size_t head_count, const char *text) {
  size_t text_count = text == NULL ? 0 : strlen(text);
  must(2 + head_count + text_count <= MESSAGE_MAX, "too long");
  waiting[0] = (uint8_t)(2 + head_count + text_count);
  waiting[1] = type;
  if (head_count > 0) memcpy(waiting + 2, head, head_count);
  if (text_count > 0) memcpy(waiting + 2 + head_count, text, text_count);
  repeat_at = now_ms() + RETRY_MS;
  send_message(waiting);
}

static void repeat(void) {
  if (waiting[0] == 0 || !subscribed || now_ms() < repeat_at) return;
  if (waiting[1] == 0x0c || waiting[1] == 0x12) waiting[2] |= 0x80;
  repeat_at = now_ms() + RETRY_MS;
  send_message(waiting);
}

static void answer(uint8_t type, const uint8_t *fields, uint8_t count) {
  uint8_t message[16] = {(uint8_t)(2 + count), type};
  memcpy(message + 2, fields, count);
  send_message(message);
}

static void publish_next(void);

static void publish(void) {
  uint8_t head[5] = {(uint8_t)(qos_up << 5), (uint8_t)(up_id >> 8), (uint8_t)up_id, 0, 0};
  char text[64];
  snprintf(text, sizeof text, "%s up %d", client_id, qos_up);
  message_id++;
  if (qos_up > 0) head[4] = (uint8_t)message_id;
  step = PUBLISHING;
  ask(0x0c, head, sizeof head, text);
  if (qos_up == 0) publish_next();
}

static void publish_next(void) {
  waiting[0] = 0;
  printf("published at QoS %d\n", qos_up);
  qos_up++;
  if (qos_up <= 2) publish();
  else step = LISTENING;
}

static void on_publish(const uint8_t *message, size_t count) {
  int qos = message[2] >> 5 & 3;
  unsigned id = (unsigned)message[5] << 8 | message[6];
  uint8_t taken[5] = {message[3], message[4], message[5], message[6], 0};
  bool again = qos == 2 && id == released;
  if (!again) {
    printf("down %d %.*s\n", qos, (int)(count - 7), (const char *)message + 7);
    downs++;
  }
  if (qos == 1) answer(0x0d, taken, 5);
  if (qos == 2) {
    released = id;
    answer(0x0f, message + 5, 2);
  }
}

static void on_message(const uint8_t *message, size_t count) {
  switch (message[1]) {
    case 0x05: /* CONNACK */
      if (step != CONNECTING || count < 3) return;
      must(message[2] == 0, "not accepted");
      printf("connected\n");
      step = SUBSCRIBING;
      ask(0x12, (const uint8_t[]){0x40, 0, (uint8_t)++message_id}, 3, topic[1]);
      return;
    case 0x13: /* SUBACK */
      if (step != SUBSCRIBING || count < 8) return;
      must(message[7] == 0, "no subscription");
      printf("subscribed\n");
      step = REGISTERING;
      ask(0x0a, (const uint8_t[]){0, 0, 0, (uint8_t)++message_id}, 4, topic[0]);
      return;
    case 0x0b: /* REGACK */
      if (step != REGISTERING || count < 7) return;
      must(message[6] == 0, "no topic id");
      up_id = (unsigned)message[2] << 8 | message[3];
      publish();
      return;
    case 0x0d: /* PUBACK */
      if (count < 7) return;
      must(message[6] == 0, "a publication was refused");
      if (step == PUBLISHING && qos_up == 1 && message[5] == (uint8_t)message_id) publish_next();
      return;
    case 0x0f: /* PUBREC */
      if (step != PUBLISHING || qos_up != 2 || count < 4) return;
      step = RELEASING;
      ask(0x10, message + 2, 2, NULL);
      return;
    case 0x0e: /* PUBCOMP */
      if (step == RELEASING) publish_next();
      return;
    case 0x10: /* PUBREL */
      if (count < 4) return;
      released = 0;
      answer(0x0e, message + 2, 2);
      return;
    case 0x0a: /* REGISTER: the name is known, or does not matter here */
      if (count >= 6) answer(0x0b, (const uint8_t[]){message[2], message[3], message[4], message[5], 0}, 5);
      return;
    case 0x0c:
      if (count >= 7) on_publish(message, count);
      return;
    case 0x18:
      if (step == LEAVING) {
        printf("done\n");
        exit(0);
      }
      return;
    default:
      return;
  }
}

static void on_octets(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    stream[stream_count++] = bytes[i];
    must(stream[0] != 1, "longer than 255 octets: not for this device");
    if (stream_count < 2 || stream_count < stream[0]) continue;
    stream_count = 0;
    on_message(stream, stream[0]);
  }
  if (step == LISTENING && downs == 3 && released == 0) {
    step = LEAVING;
    ask(0x18, NULL, 0, NULL);
  }
}

static void on_subscribed(void) {
  printf("link\n");
  stream_count = 0;
  if (waiting[0] != 0) {
    repeat_at = 0; /* on a new link: what was not answered */
    return;
  }
  if (step != CONNECTING) return;
  ask(0x04, (const uint8_t[]){0x04, 0x01, 0, 60}, 4, client_id);
}

/* ---- packets ---- */

static void on_packet(const uint8_t *packet, const char *name) {
  if (packet[0] == 2 && (get16(packet + 1) >> 12 & 3) == 2 && get16(packet + 7) == 4) {
    /* The MTU is 23, so nothing for us is in more than one packet. */
    return on_att(packet + 9, get16(packet + 5));
  }
  if (packet[0] != 4) return;
  if (packet[1] == 0x05) { /* the link is gone */
    link_handle = -1;
    subscribed = false;
    advertise(name);
  } else if (packet[1] == 0x3e && packet[3] == 0x01 && packet[4] == 0) {
    link_handle = (int)get16(packet + 5);
  } else if (packet[1] == 0x3e && packet[3] == 0x06) { /* other parameters: as the gateway likes */
    uint8_t reply[14] = {0};
    memcpy(reply, packet + 4, 10);
    command(0x2020, reply, sizeof reply);
  }
}

static size_t packet_length(const uint8_t *bytes, size_t count) {
  if (count < 5) return 0;
  size_t length = bytes[0] == 4 ? 3u + bytes[2] : 5u + get16(bytes + 3);
  return length <= count ? length : 0;
}

int main(int count, char **words) {
  must(count == 3, "profile-device SOCKET CLIENTID");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  must(strlen(words[1]) < sizeof address.sun_path && strlen(words[2]) < 20, "too long");
  strcpy(address.sun_path, words[1]);
  client_id = words[2];
  snprintf(topic[0], sizeof topic[0], "up/%s", client_id);
  snprintf(topic[1], sizeof topic[1], "down/%s", client_id);
  setvbuf(stdout, NULL, _IOLBF, 0);
  controller = socket(AF_UNIX, SOCK_STREAM, 0);
  must(connect(controller, (struct sockaddr *)&address, sizeof address) == 0, "no controller");
  command(0x0c03, NULL, 0);
  advertise(client_id);
  static uint8_t bytes[4096];
  size_t have = 0;
  for (long end = now_ms() + GIVE_UP_MS; now_ms() < end; repeat()) {
    struct pollfd readable = {.fd = controller, .events = POLLIN};
    if (poll(&readable, 1, 200) <= 0) continue;
    ssize_t got = read(controller, bytes + have, sizeof bytes - have);
    must(got > 0, "the controller is gone");
    have += (size_t)got;
    for (size_t length; (length = packet_length(bytes, have)) > 0; have -= length, memmove(bytes, bytes + length, have)) {
      on_packet(bytes, client_id);
    }
  }
  must(false, "gave up");
}
