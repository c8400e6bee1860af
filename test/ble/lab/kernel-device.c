/*
 * A device whose pairing is that of Linux: the kernel's Security Manager answers, and this program says what it is to do
 * (by the management interface) and serves the UART service on the socket of the attribute protocol, as bluetoothd would.
 *
 *   kernel-device INDEX IO-CAPABILITY SECURE-CONNECTIONS PASSKEY NAME
 *
 * IO-CAPABILITY: 3 NoInputNoOutput, or 2 KeyboardOnly: then PASSKEY is typed when the kernel asks for it, for a kernel that shows
 * digits makes them up. SECURE-CONNECTIONS: 0 or 1. Subscription and writes demand an encrypted link, with a keyboard one that
 * was paired with a passkey. Its one message is CONNECT, at each new link. On standard output: what happened, a line each. A
 * line on standard input: it hangs up.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FAMILY = 31, L2CAP = 0, HCI = 1, CONTROL = 3, SOL_BT = 274, SECURITY = 4, LE_PUBLIC = 1 };
enum { SET_POWERED = 0x05, SET_CONNECTABLE = 0x07, SET_BONDABLE = 0x09, SET_LE = 0x0d, SET_IO = 0x18, CONFIRM = 0x1c, TYPE_PASSKEY = 0x1e,
       SET_SECURE = 0x2d, ADD_ADVERTISING = 0x3e };
enum { SERVICE = 1, TX_DECLARATION, TX, TX_CONFIGURATION, RX_DECLARATION, RX };

struct address_of_hci { unsigned short family, index, channel; };
struct address_of_l2cap { unsigned short family, psm; uint8_t address[6]; unsigned short cid; uint8_t type; };
struct security { uint8_t level, key_octets; };

static const uint8_t uart[16] = {0x9e, 0xca, 0xdc, 0x24, 0x0e, 0xe5, 0xa9, 0xe0, 0x93, 0xf3, 0xa3, 0xb5, 1, 0, 0x40, 0x6e};
static int control, attributes = -1, listening;
static unsigned index_of_adapter;
static uint8_t level_wanted;
static unsigned passkey;

static void must(bool holds, const char *what) {
  if (holds) return;
  perror(what);
  exit(1);
}

static void put16(uint8_t *at, unsigned value) { at[0] = (uint8_t)value, at[1] = (uint8_t)(value >> 8); }
static unsigned get16(const uint8_t *at) { return at[0] | (unsigned)at[1] << 8; }
static void uuid_of(uint8_t *to, uint8_t which) { memcpy(to, uart, sizeof uart), to[12] = which; }

/* ---- the kernel's management ---- */

static void on_management(void) {
  uint8_t said[1024];
  ssize_t got = read(control, said, sizeof said);
  if (got < 6 || get16(said + 2) != index_of_adapter) return;
  const uint8_t *data = said + 6;
  switch (get16(said)) {
    case 0x000a: printf("key\n"); break;
    case 0x000b: printf("link\n"); break;
    case 0x000c: printf("no link\n"); break;
    case 0x0011: printf("not paired: %u\n", data[7]); break;
    case 0x000f: { /* may it pair? Nobody is asked here, as by a device without keys and display. */
      uint8_t reply[6 + 7];
      put16(reply, CONFIRM), put16(reply + 2, index_of_adapter), put16(reply + 4, 7);
      memcpy(reply + 6, data, 7);
      must(write(control, reply, sizeof reply) == sizeof reply, "confirm");
      printf("confirmed\n");
      break;
    }
    case 0x0010: {
      uint8_t reply[6 + 11];
      put16(reply, TYPE_PASSKEY), put16(reply + 2, index_of_adapter), put16(reply + 4, 11);
      memcpy(reply + 6, data, 7);
      put16(reply + 13, passkey & 0xffff), put16(reply + 15, passkey >> 16);
      must(write(control, reply, sizeof reply) == sizeof reply, "passkey");
      printf("typed\n");
      break;
    }
    default: break;
  }
}

static void manage(unsigned opcode, const void *data, unsigned count) {
  uint8_t command[6 + 256];
  put16(command, opcode), put16(command + 2, index_of_adapter), put16(command + 4, count);
  memcpy(command + 6, data, count);
  must(write(control, command, 6 + count) == (ssize_t)(6 + count), "command");
  for (int i = 0; i < 100; i++) {
    uint8_t said[1024];
    ssize_t got = read(control, said, sizeof said);
    if (got < 9 || get16(said) > 2 || get16(said + 6) != opcode) continue;
    if (said[8] != 0) fprintf(stderr, "command %x: status %u\n", opcode, said[8]), exit(1);
    return;
  }
  must(false, "no answer to a command");
}

static void set(unsigned opcode, uint8_t value) { manage(opcode, &value, 1); }

static void set_up(uint8_t io, bool secure, const char *name) {
  struct address_of_hci all = {FAMILY, 0xffff, CONTROL};
  control = socket(FAMILY, SOCK_RAW, HCI);
  must(control >= 0 && bind(control, (struct sockaddr *)&all, sizeof all) == 0, "management");
  set(SET_POWERED, 0);
  set(SET_LE, 1);
  set(SET_SECURE, secure ? 1 : 0);
  set(SET_BONDABLE, 1);
  set(SET_CONNECTABLE, 1);
  set(SET_IO, io);
  set(SET_POWERED, 1);
  uint8_t advertising[11 + 18 + 31] = {1, 3 /* connectable, discoverable */, 0, 0, 0, 0, 0, 0, 0, 18};
  uint8_t *data = advertising + 11;
  data[0] = 17, data[1] = 7;
  memcpy(data + 2, uart, sizeof uart);
  data[18] = (uint8_t)(strlen(name) + 1), data[19] = 9;
  memcpy(data + 20, name, strlen(name));
  advertising[10] = (uint8_t)(2 + strlen(name));
  manage(ADD_ADVERTISING, advertising, 11 + 18 + advertising[10]);
}

/* ---- attributes ---- */

static void att(const uint8_t *pdu, size_t count) {
  if (attributes >= 0 && write(attributes, pdu, count) < 0) fprintf(stderr, "att: %s\n", strerror(errno));
}

static void refuse(const uint8_t *request, uint8_t code) {
  uint8_t answer[5] = {0x01, request[0], request[1], request[2], code};
  att(answer, sizeof answer);
}

static bool is_secure(void) {
  struct security now = {0, 0};
  socklen_t size = sizeof now;
  must(getsockopt(attributes, SOL_BT, SECURITY, &now, &size) == 0, "security");
  return now.level >= level_wanted;
}

static void read_by_type(const uint8_t *request) {
  unsigned first = get16(request + 1), last = get16(request + 3), type = get16(request + 5);
  if (type == 0x2902 && first <= TX_CONFIGURATION && last >= TX_CONFIGURATION) {
    uint8_t answer[6] = {0x09, 4, TX_CONFIGURATION, 0, 0, 0};
    return att(answer, sizeof answer);
  }
  unsigned declaration = first <= TX_DECLARATION ? TX_DECLARATION : RX_DECLARATION;
  if (type != 0x2803 || first > RX_DECLARATION || last < declaration) return refuse(request, 0x0a);
  bool speaks = declaration == TX_DECLARATION;
  uint8_t answer[23] = {0x09, 21, (uint8_t)declaration, 0, speaks ? 0x10 : 0x0c, speaks ? TX : RX, 0};
  uuid_of(answer + 7, speaks ? 3 : 2);
  att(answer, sizeof answer);
}

/* MQTT-SN: one CONNECT, so that the gateway has something to answer. */
static void greet(void) {
  static const uint8_t connect[] = {0x1b, TX, 0, 12, 0x04, 0x04, 0x01, 0, 60, 'k', 'e', 'r', 'n', 'e', 'l'};
  att(connect, sizeof connect);
}

static void on_att(const uint8_t *request, size_t count) {
  if (count < 3) return;
  unsigned handle = get16(request + 1);
  switch (request[0]) {
    case 0x10: {
      if (count < 7 || handle > SERVICE || get16(request + 5) != 0x2800) return refuse(request, 0x0a);
      uint8_t answer[22] = {0x11, 20, SERVICE, 0, RX, 0};
      uuid_of(answer + 6, 1);
      return att(answer, sizeof answer);
    }
    case 0x08: return count < 7 ? refuse(request, 0x0a) : read_by_type(request);
    case 0x12: {
      uint8_t confirmed = 0x13;
      if (handle != RX && handle != TX_CONFIGURATION) return refuse(request, 0x03);
      if (!is_secure()) return refuse(request, 0x05);
      att(&confirmed, 1);
      if (handle == TX_CONFIGURATION) printf("subscribed\n"), greet();
      return;
    }
    case 0x52:
      if (handle == RX && is_secure()) printf("answered %02x%02x\n", request[3], count > 4 ? request[4] : 0);
      return;
    default:
      if ((request[0] & 1) == 0) refuse(request, 0x06);
  }
}

static void on_link(void) {
  uint8_t request[512];
  ssize_t got = read(attributes, request, sizeof request);
  if (got > 0) return on_att(request, (size_t)got);
  close(attributes);
  attributes = -1;
}

int main(int count, char **words) {
  must(count == 6, "kernel-device INDEX IO-CAPABILITY SECURE-CONNECTIONS PASSKEY NAME");
  index_of_adapter = (unsigned)atoi(words[1]);
  uint8_t io = (uint8_t)atoi(words[2]);
  passkey = (unsigned)atoi(words[4]);
  level_wanted = io == 3 ? 2 : 3;
  setvbuf(stdout, NULL, _IOLBF, 0);
  set_up(io, words[3][0] == '1', words[5]);
  struct address_of_l2cap here = {.family = FAMILY, .cid = 4, .type = LE_PUBLIC};
  listening = socket(FAMILY, SOCK_SEQPACKET, L2CAP);
  must(listening >= 0 && bind(listening, (struct sockaddr *)&here, sizeof here) == 0 && listen(listening, 1) == 0, "attributes");
  printf("advertises\n");
  for (;;) {
    struct pollfd ready[4] = {{control, POLLIN, 0}, {listening, POLLIN, 0}, {attributes, POLLIN, 0}, {0, POLLIN, 0}};
    must(poll(ready, 4, -1) > 0, "poll");
    if (ready[0].revents) on_management();
    if (ready[1].revents) {
      int next = accept(listening, NULL, NULL);
      if (attributes >= 0) close(attributes);
      attributes = next;
      if (attributes >= 0) printf("accepted\n");
    }
    if (ready[2].revents && attributes >= 0) on_link();
    if (ready[3].revents) {
      char line[64];
      if (read(0, line, sizeof line) <= 0) return 0;
      if (attributes >= 0) close(attributes);
      attributes = -1;
    }
  }
}
