/*
 * A forwarder [MQTT-SN 1.2 5.5]: nodes behind a radio module on a serial line, to a gateway by UDP.
 *
 *   line -> gateway   an encapsulation goes as it is; a plain message is wrapped under the node id of -n
 *   gateway -> line   an encapsulation goes as it is; one for the node of -n is unwrapped
 *
 * It keeps no sessions and repeats nothing: what is lost is repeated by the node or the gateway. It ends by SIGTERM only:
 * a line that is pulled out, a gateway that is away and a name that is not known are tried again.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "serial.h"
#include "signals.h"
#include "stream.h"

enum {
  ENCAPSULATED = 0xfe,
  NODE_ID_MAX = 252,
  RESYNC_MS = 200,
  PAUSE_MS = 1000,
  PAUSE_MAX_MS = 30000,
  /* Waits for a slow line; beyond, the message is lost and counted. */
  WAITING_MAX = 8192,
};

struct forwarder {
  const char *device, *host, *port;
  long baud;
  uint8_t node[NODE_ID_MAX];
  size_t node_length;
  int verbose;

  int line, gateway;
  uint64_t line_again, gateway_again, line_pause, gateway_pause;
  struct stream stream;
  uint8_t waiting[WAITING_MAX];
  size_t waiting_length;

  struct {
    uint64_t up, down, no_node, not_ours, lost_up, lost_down;
  } count;
};

static void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
}

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static uint64_t next_pause(uint64_t pause) {
  if (pause == 0) return PAUSE_MS;
  return pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
}

/* ---- the line ---- */

static void line_failed(struct forwarder *f, const char *why) {
  if (f->line_pause == 0) say("%s: %s; tried again by itself", f->device, why);
  if (f->line >= 0) close(f->line);
  f->line = -1;
  f->waiting_length = 0;
  stream_reset(&f->stream);
  f->line_pause = next_pause(f->line_pause);
  f->line_again = now_ms() + f->line_pause;
}

static void line_open(struct forwarder *f) {
  f->line = serial_open(f->device, f->baud);
  if (f->line < 0) {
    line_failed(f, errno == EWOULDBLOCK ? "another program has it" : strerror(errno));
    return;
  }
  f->line_pause = 0;
  say("%s: open, %ld baud", f->device, f->baud);
}

static void line_drain(struct forwarder *f) {
  if (f->line < 0 || f->waiting_length == 0) return;
  ssize_t written = write(f->line, f->waiting, f->waiting_length);
  if (written < 0) {
    if (errno != EAGAIN && errno != EINTR) line_failed(f, strerror(errno));
    return;
  }
  f->waiting_length -= (size_t)written;
  memmove(f->waiting, f->waiting + written, f->waiting_length);
}

/* All of a message or nothing. */
static void line_write(struct forwarder *f, const uint8_t *bytes, size_t length) {
  if (f->line < 0 || length > sizeof f->waiting - f->waiting_length) {
    f->count.lost_down++;
    return;
  }
  memcpy(f->waiting + f->waiting_length, bytes, length);
  f->waiting_length += length;
  f->count.down++;
  line_drain(f);
}

/* ---- the gateway ---- */

static void gateway_failed(struct forwarder *f, const char *why) {
  if (f->gateway_pause == 0) say("%s port %s: %s; tried again by itself", f->host, f->port, why);
  if (f->gateway >= 0) close(f->gateway);
  f->gateway = -1;
  f->gateway_pause = next_pause(f->gateway_pause);
  f->gateway_again = now_ms() + f->gateway_pause;
}

/* Connected, so that the kernel passes only datagrams of the gateway. */
static void gateway_open(struct forwarder *f) {
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
  struct addrinfo *found = NULL;
  int problem = getaddrinfo(f->host, f->port, &hints, &found);
  if (problem != 0) {
    gateway_failed(f, gai_strerror(problem));
    return;
  }
  int why = 0;
  for (struct addrinfo *each = found; each && f->gateway < 0; each = each->ai_next) {
    int fd = socket(each->ai_family, SOCK_DGRAM, 0);
    if (fd >= 0 && connect(fd, each->ai_addr, each->ai_addrlen) == 0) {
      f->gateway = fd;
    } else {
      why = errno;
      if (fd >= 0) close(fd);
    }
  }
  freeaddrinfo(found);
  if (f->gateway < 0) {
    gateway_failed(f, strerror(why));
    return;
  }
  f->gateway_pause = 0;
  say("gateway: %s port %s", f->host, f->port);
}

/* ECONNREFUSED: the gateway restarts. The same socket stays in use. */
static int is_gone(int error) {
  return error != ECONNREFUSED && error != EAGAIN && error != EINTR && error != EMSGSIZE && error != ENOBUFS;
}

static void gateway_send(struct forwarder *f, const uint8_t *bytes, size_t length) {
  if (f->gateway >= 0 && send(f->gateway, bytes, length, MSG_DONTWAIT) == (ssize_t)length) {
    f->count.up++;
    return;
  }
  f->count.lost_up++;
  if (f->gateway >= 0 && is_gone(errno)) gateway_failed(f, strerror(errno));
}

/* ---- the two ways ---- */

static void upwards(void *context, const uint8_t *piece, size_t length) {
  struct forwarder *f = context;
  uint8_t wrapped[STREAM_PIECE_MAX];
  if (f->verbose) say("up    %zu octets", length);
  if (piece[0] != 1 && piece[1] == ENCAPSULATED) {
    gateway_send(f, piece, length);
    return;
  }
  if (f->node_length == 0) {
    if (f->count.no_node++ == 0) say("a plain message came; to forward it, name its node: -n");
    return;
  }
  size_t header = 3 + f->node_length;
  wrapped[0] = (uint8_t)header;
  wrapped[1] = ENCAPSULATED;
  wrapped[2] = 0; /* Ctrl: a radius means nothing on this way */
  memcpy(wrapped + 3, f->node, f->node_length);
  memcpy(wrapped + header, piece, length);
  gateway_send(f, wrapped, header + length);
}

static void downwards(struct forwarder *f, const uint8_t *bytes, size_t length) {
  long piece = stream_piece_length(bytes, length);
  if (f->verbose) say("down  %zu octets", length);
  if (piece < 0 || (size_t)piece != length || bytes[0] == 1 || bytes[1] != ENCAPSULATED) {
    f->count.not_ours++; /* ADVERTISE, say: what comes down belongs to a node */
    return;
  }
  size_t header = bytes[0];
  if (f->node_length > 0 && header == 3 + f->node_length && memcmp(bytes + 3, f->node, f->node_length) == 0) {
    bytes += header;
    length -= header;
  }
  line_write(f, bytes, length);
}

static void read_line(struct forwarder *f) {
  uint8_t chunk[512];
  ssize_t got = read(f->line, chunk, sizeof chunk);
  if (got > 0) {
    stream_take(&f->stream, chunk, (size_t)got, now_ms(), RESYNC_MS, upwards, f);
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    line_failed(f, got == 0 ? "it was unplugged" : strerror(errno));
  }
}

static void read_gateway(struct forwarder *f) {
  uint8_t datagram[STREAM_PIECE_MAX + 1];
  ssize_t got = recv(f->gateway, datagram, sizeof datagram, MSG_DONTWAIT);
  if (got >= 0) {
    downwards(f, datagram, (size_t)got);
  } else if (is_gone(errno)) {
    gateway_failed(f, strerror(errno));
  }
}

static void report(const struct forwarder *f) {
  say("up %llu, down %llu; lost up %llu, down %llu; without a node %llu, not for a node %llu; noise %llu octets",
      (unsigned long long)f->count.up, (unsigned long long)f->count.down, (unsigned long long)f->count.lost_up,
      (unsigned long long)f->count.lost_down, (unsigned long long)f->count.no_node,
      (unsigned long long)f->count.not_ours, (unsigned long long)f->stream.discarded);
}

static int milliseconds_to(uint64_t at, uint64_t now) {
  return at > now ? (int)(at - now) : 0;
}

static void run(struct forwarder *f) {
  while (!signals_ending) {
    uint64_t now = now_ms();
    if (f->line < 0 && now >= f->line_again) line_open(f);
    if (f->gateway < 0 && now >= f->gateway_again) gateway_open(f);
    int wait = -1;
    if (f->line < 0) wait = milliseconds_to(f->line_again, now);
    if (f->gateway < 0) {
      int other = milliseconds_to(f->gateway_again, now);
      if (wait < 0 || other < wait) wait = other;
    }
    struct pollfd watched[2] = {
        {.fd = f->line, .events = (short)(POLLIN | (f->waiting_length > 0 ? POLLOUT : 0))},
        {.fd = f->gateway, .events = POLLIN},
    };
    int ready = poll(watched, 2, wait);
    if (signals_asked()) {
      report(f);
    }
    if (ready <= 0) continue;
    if (watched[0].revents & POLLOUT) line_drain(f);
    if (f->line >= 0 && (watched[0].revents & (POLLIN | POLLHUP | POLLERR))) read_line(f);
    if (f->gateway >= 0 && (watched[1].revents & (POLLIN | POLLERR))) read_gateway(f);
  }
}

/* ---- the command line ---- */

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static int parse_node(struct forwarder *f, const char *text) {
  size_t digits = strlen(text);
  if (digits == 0 || digits % 2 != 0 || digits / 2 > NODE_ID_MAX) return 0;
  for (size_t i = 0; i < digits; i += 2) {
    int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) return 0;
    f->node[i / 2] = (uint8_t)(high * 16 + low);
  }
  f->node_length = digits / 2;
  return 1;
}

static int usage(void) {
  say("usage: mqtt-sn-forwarder -d DEVICE [-b BAUD] -g GATEWAY [-p PORT] [-n NODE-ID-IN-HEX] [-v]");
  return 2;
}

static int parse(struct forwarder *f, int count, char **words) {
  int option;
  while ((option = getopt(count, words, "d:b:g:p:n:v")) != -1) {
    switch (option) {
      case 'd':
        f->device = optarg;
        break;
      case 'b':
        f->baud = strtol(optarg, NULL, 10);
        break;
      case 'g':
        f->host = optarg;
        break;
      case 'p':
        f->port = optarg;
        break;
      case 'n':
        if (!parse_node(f, optarg)) return 0;
        break;
      case 'v':
        f->verbose = 1;
        break;
      default:
        return 0;
    }
  }
  return optind == count && f->device && f->host;
}

int main(int count, char **words) {
  static struct forwarder f = {.port = "1883", .baud = 115200, .line = -1, .gateway = -1};
  if (!parse(&f, count, words)) return usage();
  signals_catch();
  run(&f);
  report(&f);
  return 0;
}
