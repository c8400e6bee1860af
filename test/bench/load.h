/*
 * Load for an MQTT-SN gateway: the parts that the files load*.c share. Many small devices run in one thread, and one connection to the broker
 * receives what they send and sends to them.
 *
 * load.c has the modes and the options, load-devices.c the devices, load-broker.c the connection to the broker, load-measure.c latencies and
 * the gateway's process. Compile all four together.
 */
#ifndef LOAD_H
#define LOAD_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

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

struct options {
  const char *mode, *prefix, *gateway, *broker;
  int n, qos, window, messages, size, pid;
  double seconds, rate, loss, retry_s;
  uint64_t seed;
};

extern struct options opt;
extern struct device *devices;
extern int udp, tcp; /* sockets; tcp -1: there is no connection to the broker */
extern struct sockaddr_in gateway_address, broker_address;
extern uint64_t random_state; /* and the seed, see main */
extern bool running; /* new messages are begun */

/* Counts of the measured part. */
extern uint64_t sent, done, delivered, duplicates, misrouted, repeats, gave_up, rejected, kicked, pings;
extern uint64_t broker_acked, broker_outstanding;
enum { HISTOGRAM = 4096 };
extern uint64_t answer_us[HISTOGRAM], way_us[HISTOGRAM]; /* latencies: logarithmic, 64 steps per octave */

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static inline bool lose(void) { return opt.loss > 0 && (double)(next_random() % 1000000) < opt.loss * 10000; }

/* load-measure.c */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
void note(uint64_t *histogram, uint64_t ns);
double percentile_ms(const uint64_t *histogram, double share);
double cpu_of(int pid);
long rss_kb_of(int pid);
uint64_t kernel_drops(void);

/* load-broker.c */
void open_broker(const char *filter);
void publish_down(int device, uint32_t seq);
void broker_read(void);
void broker_flush(void);
size_t broker_waiting(void); /* octets that are not written yet */

/* load-devices.c */
extern int setting_up, set_up; /* devices whose set-up is in progress, and ready ones */
extern bool wants_up, wants_down, wants_sleep;
void begin(int number);
void publish_up(int number);
void echo_once(int number);
void ask(int number, const uint8_t *octets, int length, int awaits);
int with_text(uint8_t *octets, int head, const char *format, int number);
void fill_payload(uint8_t *at, int device, uint32_t seq);
void arrived(const uint8_t *payload, size_t length, int at_device);
void step(int timeout_ms);

/* load.c */
void on_done(int number);
void on_broker_done(void);

#endif
