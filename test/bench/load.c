/*
 * Load for an MQTT-SN gateway: many small devices in one thread, and one connection to the broker that sees what they
 * send and sends to them. Prints one line of JSON.
 *
 * Every device has an address of its own (127.32.0.1 and up) behind one socket: the source of each datagram is chosen
 * with IP_PKTINFO, so 100,000 devices cost no descriptor. Each payload carries time, device and number; what is lost,
 * doubled or went astray is counted message by message. See bench.ts for who starts it, and `usage` for the modes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, DATAGRAM_MAX = 320, PAYLOAD_MIN = 16, PAYLOAD_MAX = 200, TRIES_MAX = 20, LOSS_SETTLE_S = 180 };
enum { CONNECT = 0x04, CONNACK, REGISTER = 0x0a, REGACK, PUBLISH, PUBACK, PUBCOMP, PUBREC, PUBREL };
enum { SUBSCRIBE = 0x12, SUBACK, PINGREQ = 0x16, PINGRESP, DISCONNECT };

/* What a device waits for; 0 = nothing. The values are the types of the answers. */
struct device {
  uint16_t topic_id, msg_id, received_id; /* received_id: a QoS 2 message from the gateway, not released yet */
  uint8_t awaits, tries, length, size_hint;
  bool ready, asleep;
  uint32_t sent_seq, top_seq;
  uint64_t seen; /* bit i: top_seq - i came */
  uint64_t first_ns, due_ns;
  uint8_t last[DATAGRAM_MAX]; /* what is repeated while there is no answer */
};

static struct {
  const char *mode, *prefix, *gateway, *broker;
  int n, qos, window, messages, size, pid;
  double seconds, rate, loss, retry_s;
  uint64_t seed;
} opt = {"up", "ld", "127.0.0.1:1883", "127.0.0.1:1884", 100, 1, 100, 10, 20, 0, 5, 0, 0, 1, 1};

static struct device *devices;
static int udp, tcp = -1;
static struct sockaddr_in gateway_address, broker_address;
static uint64_t random_state = 88172645463325252u; /* and the seed, see main */
static bool running; /* new messages are begun */

/* Counts of the measured part. */
static uint64_t sent, done, delivered, duplicates, misrouted, repeats, gave_up, rejected, kicked, pings;
static uint64_t broker_acked, broker_outstanding;
static uint64_t answer_us[4096], way_us[4096]; /* latencies: logarithmic, 64 steps per octave */

static void die(const char *format, ...) {
  va_list list;
  va_start(list, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
  va_end(list);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static bool lose(void) { return opt.loss > 0 && (double)(next_random() % 1000000) < opt.loss * 10000; }

/* ---- latencies ---- */

static void note(uint64_t *histogram, uint64_t ns) {
  uint64_t us = ns / 1000;
  int shift = us < 64 ? 0 : 58 - __builtin_clzll(us);
  int place = us < 64 ? (int)us : (shift << 5) + (int)(us >> shift) + 0;
  if (place > 4095) place = 4095;
  histogram[place]++;
}

static double middle_of(int place) {
  if (place < 64) return place;
  int shift = (place >> 5) - 1;
  return (double)((uint64_t)(place - (shift << 5)) << shift) + (double)(1u << shift) / 2;
}

static double percentile_ms(const uint64_t *histogram, double share) {
  uint64_t total = 0, sum = 0;
  for (int i = 0; i < 4096; i++) total += histogram[i];
  for (int i = 0; i < 4096; i++) {
    sum += histogram[i];
    if (total > 0 && (double)sum >= share * (double)total) return middle_of(i) / 1000;
  }
  return 0;
}

/* ---- datagrams ---- */

static struct {
  struct mmsghdr header[BATCH];
  struct iovec part[BATCH];
  char control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
  uint8_t octets[BATCH][DATAGRAM_MAX];
  int count;
} out, in;

static uint32_t address_of(int device) { return 0x7f200001u + (uint32_t)device; }

static void flush(void) {
  for (int at = 0; at < out.count;) {
    int n = sendmmsg(udp, out.header + at, (unsigned)(out.count - at), 0);
    if (n > 0) {
      at += n;
    } else if (errno == EAGAIN || errno == ENOBUFS || errno == ECONNREFUSED || errno == EINTR) {
      struct pollfd wait = {udp, POLLOUT, 0};
      poll(&wait, 1, 10);
    } else {
      die("sendmmsg: %s", strerror(errno));
    }
  }
  out.count = 0;
}

static void put(int device, const uint8_t *octets, size_t length) {
  if (lose()) return;
  if (out.count == BATCH) flush();
  int i = out.count++;
  memcpy(out.octets[i], octets, length);
  out.part[i] = (struct iovec){out.octets[i], length};
  struct msghdr *header = &out.header[i].msg_hdr;
  *header = (struct msghdr){&gateway_address, sizeof gateway_address, &out.part[i], 1, out.control[i],
                            sizeof out.control[i], 0};
  struct cmsghdr *control = CMSG_FIRSTHDR(header);
  control->cmsg_level = IPPROTO_IP;
  control->cmsg_type = IP_PKTINFO;
  control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
  struct in_pktinfo info = {0};
  info.ipi_spec_dst.s_addr = htonl(address_of(device));
  memcpy(CMSG_DATA(control), &info, sizeof info);
}

/* Sends something that is answered, and repeats it until then. */
static void ask(int number, const uint8_t *octets, int length, int awaits) {
  struct device *device = devices + number;
  memcpy(device->last, octets, (size_t)length);
  device->length = (uint8_t)length;
  device->awaits = (uint8_t)awaits;
  device->tries = 0;
  device->due_ns = now_ns() + (uint64_t)((awaits == PINGRESP ? 30 : opt.retry_s) * 1e9);
  put(number, octets, (size_t)length);
}

static int with_text(uint8_t *octets, int head, const char *format, int number) {
  int n = snprintf((char *)octets + head, DATAGRAM_MAX - (size_t)head, format, opt.prefix, number);
  octets[0] = (uint8_t)(head + n);
  return head + n;
}

static uint16_t next_id(struct device *device) {
  if (++device->msg_id == 0) device->msg_id = 1;
  return device->msg_id;
}

static void fill_payload(uint8_t *at, int device, uint32_t seq) {
  uint64_t time = now_ns();
  uint32_t number = (uint32_t)device;
  memset(at, 'x', (size_t)opt.size);
  memcpy(at, &time, 8);
  memcpy(at + 8, &number, 4);
  memcpy(at + 12, &seq, 4);
}

static void publish_up(int number) {
  struct device *device = devices + number;
  uint8_t octets[DATAGRAM_MAX];
  uint16_t id = opt.qos > 0 ? next_id(device) : 0;
  octets[0] = (uint8_t)(7 + opt.size);
  octets[1] = PUBLISH;
  octets[2] = (uint8_t)(opt.qos << 5);
  octets[3] = (uint8_t)(device->topic_id >> 8);
  octets[4] = (uint8_t)device->topic_id;
  octets[5] = (uint8_t)(id >> 8);
  octets[6] = (uint8_t)id;
  fill_payload(octets + 7, number, ++device->sent_seq);
  device->first_ns = now_ns();
  sent++;
  if (opt.qos == 0) put(number, octets, octets[0]);
  else ask(number, octets, octets[0], opt.qos == 1 ? PUBACK : PUBREC);
}

static void echo_once(int number) {
  struct device *device = devices + number;
  uint8_t octets[DATAGRAM_MAX];
  fill_payload(octets + 7, number, ++device->sent_seq);
  octets[0] = (uint8_t)(7 + opt.size);
  octets[1] = 0x7f;
  device->first_ns = now_ns();
  sent++;
  ask(number, octets, 7 + opt.size, 0x7f);
}

/* A message arrived where it was meant to, or not. Answers whether it is the first time. */
static void arrived(const uint8_t *payload, size_t length, int at_device) {
  uint64_t time;
  uint32_t number, seq;
  if (length < PAYLOAD_MIN) return;
  memcpy(&time, payload, 8);
  memcpy(&number, payload + 8, 4);
  memcpy(&seq, payload + 12, 4);
  if (number >= (uint32_t)opt.n && number != UINT32_MAX) {
    misrouted++;
    return;
  }
  if (number != UINT32_MAX && (int)number != at_device) {
    misrouted++;
    return;
  }
  struct device *device = devices + at_device;
  if (seq > device->top_seq) {
    uint32_t ahead = seq - device->top_seq;
    device->seen = ahead >= 64 ? 0 : device->seen << ahead;
    device->seen |= 1;
    device->top_seq = seq;
  } else {
    uint32_t behind = device->top_seq - seq;
    if (behind >= 64 || (device->seen >> behind & 1)) {
      duplicates++;
      return;
    }
    device->seen |= (uint64_t)1 << behind;
  }
  delivered++;
  note(way_us, now_ns() - time);
}

/* ---- the broker: MQTT 3.1.1, just enough ---- */

static uint8_t *to_broker, from_broker[1 << 20];
static size_t to_broker_length, to_broker_size, from_broker_length;
static uint16_t broker_id;
static bool broker_ready;
static void on_broker_done(void);

static void broker_write(const uint8_t *octets, size_t length) {
  if (to_broker_length + length > to_broker_size) {
    to_broker_size = 2 * (to_broker_length + length);
    to_broker = realloc(to_broker, to_broker_size);
    if (!to_broker) die("no memory");
  }
  memcpy(to_broker + to_broker_length, octets, length);
  to_broker_length += length;
}

static void broker_flush(void) {
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
static void publish_down(int device, uint32_t seq) {
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

static void broker_read(void) {
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

static void step(int timeout_ms);

static void open_broker(const char *filter) {
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

/* ---- devices ---- */

static int setting_up, set_up; /* devices under way, and ready */
static bool wants_up, wants_down, wants_sleep;

static void begin(int number) {
  uint8_t octets[DATAGRAM_MAX] = {0, CONNECT, 0x04, 1, 3600 >> 8, 3600 & 0xff};
  setting_up++;
  devices[number].first_ns = now_ns();
  ask(number, octets, with_text(octets, 6, "%s%06d", number), CONNACK);
}

static void is_ready(int number) {
  devices[number].ready = true;
  devices[number].awaits = 0;
  setting_up--;
  set_up++;
}

/* The next step of the set-up, after the answer to the one before. */
static void go_on(int number, int after) {
  struct device *device = devices + number;
  uint8_t octets[DATAGRAM_MAX];
  uint16_t id = next_id(device);
  if (after == CONNACK) note(answer_us, now_ns() - device->first_ns);
  if (after < REGACK && wants_up) {
    octets[1] = REGISTER;
    octets[2] = octets[3] = 0;
    octets[4] = (uint8_t)(id >> 8);
    octets[5] = (uint8_t)id;
    ask(number, octets, with_text(octets, 6, "%s/u/%06d", number), REGACK);
  } else if (after < SUBACK && wants_down) {
    octets[1] = SUBSCRIBE;
    octets[2] = (uint8_t)(opt.qos << 5);
    octets[3] = (uint8_t)(id >> 8);
    octets[4] = (uint8_t)id;
    const char *format = strcmp(opt.mode, "fanout") == 0 ? "%s/f" : "%s/d/%06d";
    ask(number, octets, with_text(octets, 5, format, number), SUBACK);
  } else if (after < DISCONNECT && wants_sleep) {
    const uint8_t sleep[] = {4, DISCONNECT, 3600 >> 8, 3600 & 0xff};
    ask(number, sleep, 4, DISCONNECT);
  } else {
    is_ready(number);
  }
}

static void on_done(int number);

static void reply(int number, int type, const uint8_t *from, int length, int code) {
  uint8_t octets[8] = {(uint8_t)(2 + length + (code >= 0 ? 1 : 0)), (uint8_t)type};
  memcpy(octets + 2, from, (size_t)length);
  if (code >= 0) octets[2 + length] = (uint8_t)code;
  put(number, octets, octets[0]);
}

static void on_publish(int number, const uint8_t *octets, size_t length) {
  struct device *device = devices + number;
  int qos = octets[2] >> 5 & 3;
  uint16_t id = (uint16_t)(octets[5] << 8 | octets[6]);
  if (qos == 2) {
    if (device->received_id != id) arrived(octets + 7, length - 7, number);
    device->received_id = id;
    reply(number, PUBREC, octets + 5, 2, -1);
    return;
  }
  if (qos == 1) reply(number, PUBACK, octets + 3, 4, 0);
  arrived(octets + 7, length - 7, number);
}

static void on_datagram(int number, const uint8_t *octets, size_t length) {
  struct device *device = devices + number;
  if (strcmp(opt.mode, "echo") == 0) {
    if (device->awaits == 0) return;
    device->awaits = 0;
    on_done(number);
    return;
  }
  if (length < 2 || octets[0] != length) return;
  int type = octets[1];
  if (type == PUBLISH && length >= 7) {
    uint64_t before = delivered;
    on_publish(number, octets, length);
    if (delivered > before && !wants_sleep) on_done(number);
    return;
  }
  if (type == REGISTER) {
    reply(number, REGACK, octets + 2, 4, 0);
    return;
  }
  if (type == PUBREL) {
    device->received_id = 0;
    reply(number, PUBCOMP, octets + 2, 2, -1);
    return;
  }
  if (type == DISCONNECT && device->awaits != DISCONNECT) {
    kicked++;
    return;
  }
  if (type != device->awaits) return;
  switch (type) {
    case CONNACK:
      if (octets[2] == 1) device->tries = 0, device->due_ns = now_ns() + 200000000u; /* congestion: later */
      else if (octets[2] != 0) rejected++, device->awaits = 0;
      else go_on(number, CONNACK);
      return;
    case REGACK:
      device->topic_id = (uint16_t)(octets[2] << 8 | octets[3]);
      go_on(number, REGACK);
      return;
    case SUBACK:
      go_on(number, SUBACK);
      return;
    case DISCONNECT:
      go_on(number, DISCONNECT);
      return;
    case PUBACK:
      if ((octets[4] << 8 | octets[5]) != device->msg_id) return;
      device->awaits = 0;
      if (octets[6] != 0) rejected++, sent--, device->sent_seq--;
      else on_done(number);
      return;
    case PUBREC: {
      if ((octets[2] << 8 | octets[3]) != device->msg_id) return;
      const uint8_t release[] = {4, PUBREL, octets[2], octets[3]};
      ask(number, release, 4, PUBCOMP);
      return;
    }
    case PUBCOMP:
      if ((octets[2] << 8 | octets[3]) != device->msg_id) return;
      device->awaits = 0;
      on_done(number);
      return;
    case PINGRESP:
      device->awaits = 0;
      on_done(number);
      return;
    default:
      return;
  }
}

static void read_datagrams(void) {
  for (;;) {
    for (int i = 0; i < BATCH; i++) {
      in.part[i] = (struct iovec){in.octets[i], DATAGRAM_MAX};
      in.header[i].msg_hdr =
          (struct msghdr){0, 0, &in.part[i], 1, in.control[i], sizeof in.control[i], 0};
    }
    int count = recvmmsg(udp, in.header, BATCH, MSG_DONTWAIT, 0);
    if (count <= 0) return;
    for (int i = 0; i < count; i++) {
      struct cmsghdr *control = CMSG_FIRSTHDR(&in.header[i].msg_hdr);
      if (!control || control->cmsg_type != IP_PKTINFO) continue;
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(control), sizeof info);
      uint32_t number = ntohl(info.ipi_addr.s_addr) - address_of(0);
      if (number >= (uint32_t)opt.n || lose()) continue;
      on_datagram((int)number, in.octets[i], in.header[i].msg_len);
    }
    if (count < BATCH) return;
  }
}

static void repeat_unanswered(void) {
  static uint64_t next_ns;
  uint64_t now = now_ns();
  if (now < next_ns) return;
  next_ns = now + 50000000u;
  for (int i = 0; i < opt.n; i++) {
    struct device *device = devices + i;
    if (device->awaits == 0 || device->due_ns > now) continue;
    if (++device->tries > TRIES_MAX) {
      gave_up++;
      device->awaits = 0;
      continue;
    }
    if (device->last[1] == PUBLISH || device->last[1] == SUBSCRIBE) device->last[2] |= 0x80;
    device->due_ns = now + (uint64_t)(opt.retry_s * 1e9);
    repeats++;
    put(i, device->last, device->length);
  }
}

/* One turn: what is due goes out, what came is read. */
static void step(int timeout_ms) {
  repeat_unanswered();
  flush();
  if (tcp >= 0) broker_flush();
  struct pollfd wait[2] = {{udp, POLLIN, 0}, {tcp, (short)(POLLIN | (to_broker_length ? POLLOUT : 0)), 0}};
  poll(wait, tcp >= 0 ? 2 : 1, timeout_ms);
  if (wait[0].revents & POLLIN) read_datagrams();
  if (tcp >= 0 && (wait[1].revents & (POLLIN | POLLHUP))) broker_read();
  flush();
  if (tcp >= 0) broker_flush();
}

/* ---- the gateway's process, as the kernel sees it ---- */

static double cpu_of(int pid) {
  char path[64], line[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = pid > 0 ? fopen(path, "r") : NULL;
  if (!file) return 0;
  unsigned long user = 0, system = 0;
  if (fgets(line, sizeof line, file)) {
    char *at = strrchr(line, ')');
    if (at) sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  }
  fclose(file);
  return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static long rss_kb_of(int pid) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *file = pid > 0 ? fopen(path, "r") : NULL;
  long kb = 0;
  while (file && fgets(line, sizeof line, file)) sscanf(line, "VmRSS: %ld", &kb);
  if (file) fclose(file);
  return kb;
}

/* Datagrams that the kernel dropped at the gateway's sockets: no room in the receive buffer. */
static uint64_t kernel_drops(void) {
  FILE *file = fopen("/proc/net/udp", "r");
  char line[512];
  uint64_t total = 0;
  while (file && fgets(line, sizeof line, file)) {
    unsigned port = 0;
    unsigned long drops = 0;
    if (sscanf(line, " %*d: %*8x:%x %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu", &port, &drops) == 2 &&
        port == ntohs(gateway_address.sin_port))
      total += drops;
  }
  if (file) fclose(file);
  return total;
}

/* ---- modes ---- */

static int next_device; /* whose turn it is */

/* At QoS 2 a broker such as mosquitto drops what is more than 20 publications under way: the rest waits here. */
enum { BROKER_QOS2_MAX = 20 };
static int *held_back; /* device numbers, a ring */
static size_t held_first, held_count, held_size;
static uint32_t fan_seq;
static uint64_t fan_base;

static void hold_back(int number) {
  if (held_count == held_size) {
    size_t size = held_size == 0 ? 1024 : 2 * held_size;
    int *larger = malloc(size * sizeof *larger);
    if (!larger) die("no memory");
    for (size_t i = 0; i < held_count; i++) larger[i] = held_back[(held_first + i) % held_size];
    free(held_back);
    held_back = larger;
    held_first = 0;
    held_size = size;
  }
  held_back[(held_first + held_count++) % held_size] = number;
}

static void begin_down(int number) {
  if (opt.qos == 2 && broker_outstanding >= BROKER_QOS2_MAX) {
    hold_back(number);
    return;
  }
  sent++;
  publish_down(number, ++devices[number].sent_seq);
}

/* A closed loop goes on where an answer (up) or a message (down) came. */
static void on_done(int number) {
  done++;
  if (strcmp(opt.mode, "up") == 0 || strcmp(opt.mode, "echo") == 0) note(answer_us, now_ns() - devices[number].first_ns);
  if (!running) return;
  if (strcmp(opt.mode, "up") == 0 && opt.qos > 0) publish_up(number);
  else if (strcmp(opt.mode, "echo") == 0) {
    /* The window moves over all devices, so that every one takes part. */
    for (int tried = 0; tried < opt.n; tried++) {
      next_device = (next_device + 1) % opt.n;
      if (devices[next_device].awaits == 0) break;
    }
    echo_once(next_device);
  } else if (strcmp(opt.mode, "down") == 0 && opt.rate <= 0) {
    begin_down(next_device++ % opt.n);
  }
}

static void on_broker_done(void) {
  if (held_count == 0 || broker_outstanding >= BROKER_QOS2_MAX) return;
  int number = held_back[held_first];
  held_first = (held_first + 1) % held_size;
  held_count--;
  begin_down(number);
}

static void set_up_all(void) {
  uint64_t end = now_ns() + 300000000000u;
  int next = 0;
  while (set_up < opt.n && now_ns() < end && rejected + gave_up == 0) {
    while (next < opt.n && setting_up < opt.window) begin(next++);
    step(5);
  }
}

static bool outstanding(void) {
  for (int i = 0; i < opt.n; i++) if (devices[i].awaits != 0) return true;
  return false;
}

static void settle(double seconds) {
  uint64_t end = now_ns() + (uint64_t)(seconds * 1e9);
  uint64_t want = strcmp(opt.mode, "echo") == 0 ? 0 : sent;
  while (now_ns() < end && (delivered < want || outstanding() || broker_outstanding > 0)) {
    step(5);
    want = strcmp(opt.mode, "echo") == 0 ? 0 : sent; /* what was held back is sent now */
  }
  if (duplicates == 0 && opt.qos > 0) for (int i = 0; i < 20; i++) step(5); /* a late double would show here */
}

static void usage(void) {
  fputs("load -m MODE -g GATEWAY:PORT [-b BROKER:PORT] [-n devices] [-d seconds] [-q qos] [-r rate/s] [-w window]\n"
        "     [-k messages] [-s payload octets] [-x loss %] [-t repeat after s] [-i id prefix] [-p gateway's pid]\n"
        "     [-S seed of the losses]\n"
        "  connect  every device connects, `window` at a time\n"
        "  up       QoS 1, 2: one PUBLISH outstanding per device; QoS 0: at `rate`\n"
        "  down     `window` messages outstanding in all, or at `rate`\n"
        "  fanout   one topic, every device subscribes; `messages`, each after the one before reached all\n"
        "  sleep    `messages` for every sleeper, then all wake at once\n"
        "  idle     devices connect, register and subscribe; READY; then nothing until the end of standard input\n"
        "  echo     the peer is a plain UDP echo; `window` outstanding\n", stderr);
  exit(2);
}

static struct sockaddr_in parse(const char *text) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  char host[64] = {0};
  const char *colon = strrchr(text, ':');
  if (!colon || colon - text >= 64) die("no HOST:PORT: %s", text);
  memcpy(host, text, (size_t)(colon - text));
  address.sin_port = htons((uint16_t)atoi(colon + 1));
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("no address: %s", host);
  return address;
}

int main(int argc, char **argv) {
  for (int o; (o = getopt(argc, argv, "m:g:b:n:d:q:r:w:k:s:x:t:i:p:S:")) != -1;) {
    switch (o) {
      case 'm': opt.mode = optarg; break;
      case 'g': opt.gateway = optarg; break;
      case 'b': opt.broker = optarg; break;
      case 'n': opt.n = atoi(optarg); break;
      case 'd': opt.seconds = atof(optarg); break;
      case 'q': opt.qos = atoi(optarg); break;
      case 'r': opt.rate = atof(optarg); break;
      case 'w': opt.window = atoi(optarg); break;
      case 'k': opt.messages = atoi(optarg); break;
      case 's': opt.size = atoi(optarg); break;
      case 'x': opt.loss = atof(optarg); break;
      case 't': opt.retry_s = atof(optarg); break;
      case 'i': opt.prefix = optarg; break;
      case 'p': opt.pid = atoi(optarg); break;
      case 'S': opt.seed = strtoull(optarg, NULL, 10); break;
      default: usage();
    }
  }
  const char *modes[] = {"connect", "up", "down", "fanout", "sleep", "idle", "echo"};
  bool known = false;
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) known |= strcmp(modes[i], opt.mode) == 0;
  if (!known || opt.n < 1 || opt.n > 900000 || opt.size < PAYLOAD_MIN || opt.size > PAYLOAD_MAX || opt.qos < 0 ||
      opt.qos > 2 || opt.window < 1 || strlen(opt.prefix) > 8)
    usage();
  bool is_echo = strcmp(opt.mode, "echo") == 0, is_up = strcmp(opt.mode, "up") == 0;
  bool is_idle = strcmp(opt.mode, "idle") == 0, is_connect = strcmp(opt.mode, "connect") == 0;
  wants_sleep = strcmp(opt.mode, "sleep") == 0;
  wants_up = is_up || is_idle;
  wants_down = !is_up && !is_echo && !is_connect;
  random_state ^= opt.seed * 0x9e3779b97f4a7c15u;
  for (int i = 0; i < 20; i++) next_random();
  gateway_address = parse(opt.gateway);
  broker_address = parse(opt.broker);
  devices = calloc((size_t)opt.n, sizeof *devices);
  if (!devices) die("no memory");

  udp = socket(AF_INET, SOCK_DGRAM, 0);
  int on = 1, buffer = 8 << 20;
  setsockopt(udp, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  if (setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
    setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
  setsockopt(udp, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
  if (bind(udp, (struct sockaddr *)&any, sizeof any) < 0) die("bind: %s", strerror(errno));
  if (!is_echo && !is_connect && !is_idle) open_broker(is_up ? "u/#" : NULL);

  uint64_t began = now_ns(), drops = kernel_drops();
  double cpu = cpu_of(opt.pid);
  if (!is_echo) set_up_all();
  if (set_up < opt.n && !is_echo) die("%d of %d devices are set up; %llu rejected, %llu gave up", set_up, opt.n,
                                      (unsigned long long)rejected, (unsigned long long)gave_up);
  double setup_s = (double)(now_ns() - began) / 1e9;
  uint64_t setup_repeats = repeats;
  if (is_idle) {
    printf("READY\n");
    fflush(stdout);
    fcntl(0, F_SETFL, O_NONBLOCK);
    for (char octet; read(0, &octet, 1) != 0;) step(20);
  }
  if (!is_connect) {
    memset(answer_us, 0, sizeof answer_us);
    if (!wants_sleep) {
      for (int i = 0; i < 4; i++) step(10); /* the broker has the last subscription */
    }
    repeats = 0;
    began = now_ns();
    drops = kernel_drops();
    cpu = cpu_of(opt.pid);
  }
  uint64_t end = began + (uint64_t)(opt.seconds * 1e9);
  double seconds = 0, spent = 0;
  uint64_t counted = 0;
  running = true;

  if (is_connect) {
    counted = (uint64_t)set_up;
  } else if (is_echo) {
    for (int i = 0; i < opt.window && i < opt.n; i++) echo_once(next_device = i);
    while (now_ns() < end) step(5);
    counted = done;
  } else if (is_up && opt.qos > 0) {
    for (int i = 0; i < opt.n; i++) publish_up(i);
    while (now_ns() < end) step(5);
    counted = done;
  } else if (is_up || (strcmp(opt.mode, "down") == 0 && opt.rate > 0)) {
    if (opt.rate <= 0) usage();
    uint64_t begun = 0;
    for (uint64_t now; (now = now_ns()) < end;) {
      uint64_t want = (uint64_t)((double)(now - began) / 1e9 * opt.rate);
      for (; begun < want; begun++) {
        int number = (int)(begun % (uint64_t)opt.n);
        if (is_up) publish_up(number);
        else begin_down(number);
      }
      step(1);
    }
    counted = delivered;
  } else if (strcmp(opt.mode, "down") == 0) {
    for (int i = 0; i < opt.window; i++) begin_down(next_device++ % opt.n);
    while (now_ns() < end) step(5);
    counted = delivered;
  } else if (strcmp(opt.mode, "fanout") == 0) {
    uint64_t limit = began + 60000000000u;
    for (int k = 0; k < opt.messages; k++) {
      fan_seq++;
      fan_base = delivered;
      sent += (uint64_t)opt.n;
      publish_down(-1, fan_seq);
      while (delivered < fan_base + (uint64_t)opt.n && now_ns() < limit) step(5);
    }
    counted = delivered;
  } else if (wants_sleep) {
    for (int k = 0; k < opt.messages; k++)
      for (int i = 0; i < opt.n; i++) {
        while (broker_outstanding >= 500 || to_broker_length > 65536) step(5);
        begin_down(i);
      }
    while (broker_outstanding > 0) step(5);
    uint64_t quiet = now_ns() + 2000000000u; /* the broker has handed all over */
    while (now_ns() < quiet) step(20);
    if (delivered > 0) die("%llu messages reached sleepers", (unsigned long long)delivered);
    memset(way_us, 0, sizeof way_us);
    began = now_ns();
    cpu = cpu_of(opt.pid);
    for (int i = 0; i < opt.n; i++) {
      uint8_t octets[DATAGRAM_MAX] = {0, PINGREQ};
      pings++;
      devices[i].first_ns = now_ns();
      ask(i, octets, with_text(octets, 2, "%s%06d", i), PINGRESP);
    }
    while (outstanding() && now_ns() < began + 60000000000u) step(5);
    pings += repeats;
    counted = delivered;
  }
  running = false;
  seconds = is_connect ? setup_s : (double)(now_ns() - began) / 1e9;
  spent = cpu_of(opt.pid) - cpu;
  if (!is_idle && !is_connect) settle(opt.loss > 0 ? LOSS_SETTLE_S : 5);

  uint64_t lost = is_echo || is_connect || is_idle || delivered >= sent ? 0 : sent - delivered;
  printf("{\"mode\":\"%s\",\"n\":%d,\"qos\":%d,\"seconds\":%.3f,\"setup_s\":%.3f,\"messages\":%llu,\"per_s\":%.0f,"
         "\"per_cpu_s\":%.0f,\"cpu_s\":%.2f,\"rss_kb\":%ld,",
         opt.mode, opt.n, opt.qos, seconds, setup_s, (unsigned long long)counted, (double)counted / seconds,
         spent > 0 ? (double)counted / spent : 0, spent, rss_kb_of(opt.pid));
  printf("\"answer_p50_ms\":%.3f,\"answer_p99_ms\":%.3f,\"way_p50_ms\":%.3f,\"way_p99_ms\":%.3f,",
         percentile_ms(answer_us, 0.5), percentile_ms(answer_us, 0.99), percentile_ms(way_us, 0.5),
         percentile_ms(way_us, 0.99));
  printf("\"sent\":%llu,\"delivered\":%llu,\"lost\":%llu,\"duplicates\":%llu,\"misrouted\":%llu,\"repeats\":%llu,"
         "\"setup_repeats\":%llu,\"rejected\":%llu,\"kicked\":%llu,\"gave_up\":%llu,\"pings\":%llu,\"kernel_drops\":%llu}\n",
         (unsigned long long)sent, (unsigned long long)delivered, (unsigned long long)lost,
         (unsigned long long)duplicates, (unsigned long long)misrouted, (unsigned long long)repeats,
         (unsigned long long)setup_repeats, (unsigned long long)rejected, (unsigned long long)kicked,
         (unsigned long long)gave_up, (unsigned long long)pings, (unsigned long long)(kernel_drops() - drops));
  return 0;
}
