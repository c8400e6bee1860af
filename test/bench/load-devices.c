/* The devices: their datagrams, their set-up, and what they repeat. See load.h. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int setting_up, set_up;
bool wants_up, wants_down, wants_sleep;

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
void ask(int number, const uint8_t *octets, int length, int awaits) {
  struct device *device = devices + number;
  memcpy(device->last, octets, (size_t)length);
  device->length = (uint8_t)length;
  device->awaits = (uint8_t)awaits;
  device->tries = 0;
  device->due_ns = now_ns() + (uint64_t)((awaits == PINGRESP ? 30 : opt.retry_s) * 1e9);
  put(number, octets, (size_t)length);
}

int with_text(uint8_t *octets, int head, const char *format, int number) {
  int n = snprintf((char *)octets + head, DATAGRAM_MAX - (size_t)head, format, opt.prefix, number);
  octets[0] = (uint8_t)(head + n);
  return head + n;
}

static uint16_t next_id(struct device *device) {
  if (++device->msg_id == 0) device->msg_id = 1;
  return device->msg_id;
}

void fill_payload(uint8_t *at, int device, uint32_t seq) {
  uint64_t time = now_ns();
  uint32_t number = (uint32_t)device;
  memset(at, 'x', (size_t)opt.size);
  memcpy(at, &time, 8);
  memcpy(at + 8, &number, 4);
  memcpy(at + 12, &seq, 4);
}

void publish_up(int number) {
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

void echo_once(int number) {
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
void arrived(const uint8_t *payload, size_t length, int at_device) {
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

/* ---- devices ---- */

void begin(int number) {
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
void step(int timeout_ms) {
  repeat_unanswered();
  flush();
  if (tcp >= 0) broker_flush();
  struct pollfd wait[2] = {{udp, POLLIN, 0}, {tcp, (short)(POLLIN | (broker_waiting() > 0 ? POLLOUT : 0)), 0}};
  poll(wait, tcp >= 0 ? 2 : 1, timeout_ms);
  if (wait[0].revents & POLLIN) read_datagrams();
  if (tcp >= 0 && (wait[1].revents & (POLLIN | POLLHUP))) broker_read();
  flush();
  if (tcp >= 0) broker_flush();
}
