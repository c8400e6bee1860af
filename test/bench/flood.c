/*
 * A flood of one datagram from many addresses: what a stranger who sends ClientHellos from everywhere does, and a device that has run wild
 * (one address). The source of each datagram is chosen with IP_PKTINFO (127.64.0.1 and up), so 100,000 addresses cost no descriptor.
 * Answers are counted and not looked at. Prints one line of JSON; scripts/flood-figures.mjs starts it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, DATAGRAM_MAX = 1400, RANDOM_OCTETS = 28 };

static struct {
  const char *first, *message;
  int port, addresses, random_at;
  double seconds, rate;
} opt = {NULL, NULL, 0, 1, -1, 1, 0};

static struct sockaddr_in gateway = {.sin_family = AF_INET};
static int udp;
static uint64_t sent, refused, answers, answer_octets;

static struct {
  struct mmsghdr header[BATCH];
  struct iovec part[BATCH];
  char control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
  uint8_t octets[BATCH][DATAGRAM_MAX];
} out, in;

static void die(const char *what) {
  fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t next_random(void) {
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static size_t octets_of(const char *hex, uint8_t *octets) {
  size_t length = strlen(hex) / 2;
  if (length > DATAGRAM_MAX) length = DATAGRAM_MAX;
  for (size_t i = 0; i < length; i++) {
    unsigned octet;
    if (sscanf(hex + 2 * i, "%2x", &octet) != 1) break;
    octets[i] = (uint8_t)octet;
  }
  return length;
}

/* Place `i` of the batch, from the address with this number. */
static void put(int i, const uint8_t *octets, size_t length, uint64_t number) {
  memcpy(out.octets[i], octets, length);
  out.part[i] = (struct iovec){out.octets[i], length};
  struct msghdr *header = &out.header[i].msg_hdr;
  *header =
      (struct msghdr){&gateway, sizeof gateway, &out.part[i], 1, out.control[i], sizeof out.control[i], 0};
  struct cmsghdr *control = CMSG_FIRSTHDR(header);
  control->cmsg_level = IPPROTO_IP;
  control->cmsg_type = IP_PKTINFO;
  control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
  struct in_pktinfo info = {0};
  info.ipi_spec_dst.s_addr = htonl(0x7f400001u + (uint32_t)(number % (uint64_t)opt.addresses));
  memcpy(CMSG_DATA(control), &info, sizeof info);
}

static void receive(void) {
  for (;;) {
    for (int i = 0; i < BATCH; i++) {
      in.part[i] = (struct iovec){in.octets[i], DATAGRAM_MAX};
      in.header[i].msg_hdr = (struct msghdr){.msg_iov = &in.part[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(udp, in.header, BATCH, MSG_DONTWAIT, NULL);
    if (n <= 0) return;
    answers += (uint64_t)n;
    for (int i = 0; i < n; i++) answer_octets += in.header[i].msg_len;
  }
}

static void send_batch(int count) {
  for (int at = 0; at < count;) {
    int n = sendmmsg(udp, out.header + at, (unsigned)(count - at), 0);
    if (n > 0) {
      at += n;
      sent += (uint64_t)n;
    } else if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR) {
      refused++;
      struct pollfd wait = {udp, POLLOUT, 0};
      poll(&wait, 1, 10);
    } else {
      die("sendmmsg");
    }
  }
}

/* Said once before the flood, as a CONNECT, until it is answered. */
static void say_first(void) {
  uint8_t octets[DATAGRAM_MAX];
  size_t length = octets_of(opt.first, octets);
  for (int i = 0; i < 50 && answers == 0; i++) {
    put(0, octets, length, 0);
    send_batch(1);
    struct pollfd wait = {udp, POLLIN, 0};
    poll(&wait, 1, 100);
    receive();
  }
  if (answers == 0) die("no answer to what was said first");
  sent = answers = answer_octets = 0;
}

int main(int count, char **words) {
  for (int letter; (letter = getopt(count, words, "p:n:r:d:f:m:o:")) != -1;) {
    switch (letter) {
      case 'p': opt.port = atoi(optarg); break;
      case 'n': opt.addresses = atoi(optarg); break;
      case 'r': opt.rate = atof(optarg); break;
      case 'd': opt.seconds = atof(optarg); break;
      case 'f': opt.first = optarg; break;
      case 'm': opt.message = optarg; break;
      case 'o': opt.random_at = atoi(optarg); break;
      default: opt.message = NULL;
    }
  }
  uint8_t octets[DATAGRAM_MAX];
  size_t length = opt.message ? octets_of(opt.message, octets) : 0;
  if (opt.port == 0 || opt.addresses < 1 || length == 0 || opt.random_at + RANDOM_OCTETS > (int)length) {
    fputs("usage: flood -p PORT -m HEX [-n ADDRESSES] [-r PER SECOND, 0: as fast as it goes] [-d SECONDS]\n"
          "             [-f HEX said first and answered] [-o PLACE OF 28 RANDOM OCTETS]\n",
          stderr);
    return 2;
  }
  udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int octets_of_buffer = 4 << 20;
  setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &octets_of_buffer, sizeof octets_of_buffer);
  struct sockaddr_in own = {.sin_family = AF_INET};
  if (udp < 0 || bind(udp, (struct sockaddr *)&own, sizeof own) < 0) die("no socket");
  gateway.sin_port = htons((uint16_t)opt.port);
  gateway.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (opt.first) say_first();
  double began = now_s(), until = began + opt.seconds;
  uint64_t number = 0;
  for (double now = began; now < until; now = now_s()) {
    double due = opt.rate > 0 ? (now - began) * opt.rate - (double)sent : BATCH;
    int batch = due > BATCH ? BATCH : (int)due;
    for (int i = 0; i < batch; i++) {
      if (opt.random_at >= 0)
        for (int at = 0; at < RANDOM_OCTETS; at++) octets[opt.random_at + at] = (uint8_t)(next_random() >> 32);
      put(i, octets, length, number++);
    }
    send_batch(batch);
    receive();
    if (batch < BATCH && opt.rate > 0) usleep(1000);
  }
  double took = now_s() - began;
  usleep(200000);
  receive();
  printf("{\"sent\":%llu,\"octets\":%llu,\"answers\":%llu,\"answerOctets\":%llu,\"perSecond\":%.0f}\n",
         (unsigned long long)sent, (unsigned long long)(sent * length), (unsigned long long)answers,
         (unsigned long long)answer_octets, (double)sent / took);
  return 0;
}
