/*
 * Load for an MQTT-SN gateway: many small devices in one thread, and one connection to the broker that receives what they
 * send and sends to them. Prints one line of JSON. load.h says which file has which part.
 *
 * Every device has its own address (127.32.0.1 and up) behind one socket: IP_PKTINFO chooses the source of each datagram,
 * so 100,000 devices need no descriptor of their own. Each payload has time, device and number. Messages that are lost,
 * doubled or delivered to the wrong device are counted one by one. bench.ts starts this program; `usage` lists the modes.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct options opt = {"up", "ld", "127.0.0.1:1883", "127.0.0.1:1884", 100, 1, 100, 10, 20, 0, 5, 0, 0, 1, 1};
struct device *devices;
int udp, tcp = -1;
struct sockaddr_in gateway_address, broker_address;
uint64_t random_state = 88172645463325252u;
bool running;
uint64_t sent, done, delivered, duplicates, misrouted, repeats, gave_up, rejected, kicked, pings;
uint64_t broker_acked, broker_outstanding;
uint64_t answer_us[HISTOGRAM], way_us[HISTOGRAM];

static int next_device; /* whose turn it is */

/** At QoS 2 a broker such as mosquitto drops what is more than 20 open publications: the others wait here. */
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
void on_done(int number) {
  done++;
  if (strcmp(opt.mode, "up") == 0 || strcmp(opt.mode, "echo") == 0) note(answer_us, now_ns() - devices[number].first_ns);
  if (!running) return;
  if (strcmp(opt.mode, "up") == 0 && opt.qos > 0 && opt.rate <= 0) publish_up(number);
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

/**
 * Open loop with answers: publications begun + 1 to want of a fixed rate. A device with a message under way is passed over; where all have
 * one, the rest waits. An answer is counted from when its publication was due, so that waiting is not left out. Answers how many began.
 */
static uint64_t publish_up_due(uint64_t began_ns, uint64_t begun, uint64_t want) {
  uint64_t first = begun;
  for (int busy = 0; begun < want && busy < opt.n;) {
    next_device = (next_device + 1) % opt.n;
    if (devices[next_device].awaits != 0) {
      busy++;
      continue;
    }
    busy = 0;
    publish_up(next_device);
    devices[next_device].first_ns = began_ns + (uint64_t)((double)begun / opt.rate * 1e9);
    begun++;
  }
  return begun - first;
}

void on_broker_done(void) {
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
  } else if (is_up && opt.qos > 0 && opt.rate > 0) {
    uint64_t begun = 0;
    for (uint64_t now; (now = now_ns()) < end;) {
      begun += publish_up_due(began, begun, (uint64_t)((double)(now - began) / 1e9 * opt.rate));
      step(1);
    }
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
        while (broker_outstanding >= 500 || broker_waiting() > 65536) step(5);
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
