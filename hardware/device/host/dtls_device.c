/*
 * A device with a key on Linux: the library and ports/mqttsn_dtls_mbedtls.c, on a UDP socket. It does what it is told line by
 * line, each when the last is done, and says what happens.
 *
 *   dtls_device IDENTITY KEY-FILE GATEWAY PORT [RETRY-SECONDS]
 *
 * KEY-FILE: the key in hexadecimal. GATEWAY: an IPv4 address. The client id is the identity. Lines:
 *
 *   connect                     publish TOPIC QOS TEXT     sleep SECONDS     disconnect
 *   subscribe TOPIC QOS         pause SECONDS              wake              rebind (another port)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mqttsn.h"
#include "mqttsn_dtls.h"
#ifdef MBEDTLS_MEMORY_BUFFER_ALLOC_C
#include <mbedtls/memory_buffer_alloc.h>
#endif

enum { KEY_BYTES_MAX = 64, LINE_BYTES = 512, WAIT_MS_MAX = 1000, AGAIN_MS = 1000 };

static mqttsn_t client;
static mqttsn_dtls_t dtls;
static struct sockaddr_in gateway;
static int udp = -1;
static bool comes_back; /* the connection was lost, and is made again at `due` */
static uint32_t due;    /* no line is read before */
static char input[LINE_BYTES];
static size_t input_bytes;
static bool input_ended;

/* Of an mbed TLS that is built without a heap (ports/mbedtls_psk_config.h). */
#ifndef MEMORY_BYTES
#define MEMORY_BYTES 8192
#endif
static void give_memory(void) {
#ifdef MBEDTLS_MEMORY_BUFFER_ALLOC_C
  static unsigned char memory[MEMORY_BYTES];
  mbedtls_memory_buffer_alloc_init(memory, sizeof memory);
#endif
}

static void say_memory(void) {
#if defined(MBEDTLS_MEMORY_BUFFER_ALLOC_C) && defined(MBEDTLS_MEMORY_DEBUG)
  size_t used, blocks;
  mbedtls_memory_buffer_alloc_max_get(&used, &blocks);
  printf("memory of mbed TLS: %zu in %zu blocks at most\n", used, blocks);
#endif
}

static uint32_t now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint32_t)(time.tv_sec * 1000 + time.tv_nsec / 1000000);
}

static bool is_due(uint32_t at) { return now_ms() - at < UINT32_C(0x80000000); }

static void open_socket(void) {
  if (udp >= 0) close(udp);
  udp = socket(AF_INET, SOCK_DGRAM, 0);
  if (udp < 0 || connect(udp, (const struct sockaddr *)&gateway, sizeof gateway) != 0 || fcntl(udp, F_SETFL, O_NONBLOCK) != 0) {
    perror("socket");
    exit(1);
  }
}

/* ---- what DTLS wants */

static void on_datagram(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  (void)!send(udp, bytes, count, 0);
}

static void on_message(void *context, const uint8_t *message, size_t bytes) {
  (void)context;
  mqttsn_receive(&client, message, bytes, now_ms());
}

static void on_change(void *context, mqttsn_dtls_result_t result) {
  static unsigned wrong_keys; /* in a row */
  static const char *const words[] = {"open",    "no answer", "wrong key or identity", "refused",  "put out",
                                      "goodbye", "too long",  "trouble",               "no memory"};
  (void)context;
  printf("dtls %s", words[result]);
  if (result == MQTTSN_DTLS_OK && dtls.has_cid) printf(", with a connection id");
  if (result == MQTTSN_DTLS_REFUSED) printf(" by alert %u", dtls.alert);
  if (result == MQTTSN_DTLS_TROUBLE || result == MQTTSN_DTLS_NO_MEMORY) printf(" -0x%04x", (unsigned)-dtls.library_error);
  printf("\n");
  wrong_keys = result == MQTTSN_DTLS_WRONG_KEY ? wrong_keys + 1 : 0;
  if (wrong_keys == 2) exit(3); /* no accident: trying again changes nothing */
}

static int on_random(void *context, unsigned char *to, size_t count) {
  (void)context;
  return getrandom(to, count, 0) == (ssize_t)count ? 0 : -1;
}

/* ---- what the library wants */

static void on_send(void *context, const uint8_t *bytes, size_t count, mqttsn_to_t to, uint8_t radius) {
  (void)context;
  (void)radius;
  if (to == MQTTSN_TO_GATEWAY) (void)mqttsn_dtls_send(&dtls, bytes, count, now_ms()); /* there is no key that all have */
}

static void on_event(void *context, const mqttsn_event_t *event) {
  static const char *const words[] = {"gateway",    "gateway gone", "connected",    "disconnected", "asleep",    "drained",
                                      "published",  "subscribed",   "unsubscribed", "will updated", "congested", "failed",
                                      "message"};
  (void)context;
  if (event->kind == MQTTSN_EVENT_MESSAGE) {
    printf("message %.*s %u %.*s\n", (int)event->topic.name_bytes, event->topic.name, event->qos, (int)event->payload_bytes,
           (const char *)event->payload);
    return;
  }
  printf("%s\n", words[event->kind]);
  if (event->kind == MQTTSN_EVENT_DISCONNECTED && !event->asked) {
    comes_back = true;
    due = now_ms() + AGAIN_MS;
  }
}

/* ---- lines */

static void say_result(mqttsn_result_t result) {
  if (result != MQTTSN_OK) printf("not done: %d\n", result);
}

static void obey(char *line) {
  uint32_t now = now_ms();
  const char *verb = strtok(line, " ");
  const char *first = strtok(NULL, " ");
  const char *second = strtok(NULL, " ");
  const char *rest = strtok(NULL, "");
  mqttsn_topic_t topic;
  if (verb == NULL) return;
  if (strcmp(verb, "connect") == 0) say_result(mqttsn_connect(&client, now));
  else if (strcmp(verb, "disconnect") == 0) say_result(mqttsn_disconnect(&client, now));
  else if (strcmp(verb, "wake") == 0) say_result(mqttsn_wake(&client, now));
  else if (strcmp(verb, "rebind") == 0) {
    open_socket();
    mqttsn_dtls_moved(&dtls);
    printf("rebound\n");
  } else if (first == NULL) printf("not understood\n");
  else if (strcmp(verb, "sleep") == 0) say_result(mqttsn_sleep(&client, (uint16_t)atoi(first), now));
  else if (strcmp(verb, "pause") == 0) due = now + (uint32_t)atoi(first) * 1000;
  else if (second == NULL) printf("not understood\n");
  else {
    topic = mqttsn_name(first);
    if (strcmp(verb, "subscribe") == 0) say_result(mqttsn_subscribe(&client, &topic, (uint8_t)atoi(second), NULL, now));
    else if (strcmp(verb, "publish") == 0 && rest != NULL)
      say_result(mqttsn_publish(&client, &topic, (uint8_t)atoi(second), false, (const uint8_t *)rest, strlen(rest), NULL, now));
    else printf("not understood\n");
  }
}

/* No request is open for which the next line would have to wait. */
static bool may_obey(void) { return mqttsn_idle(&client) && !comes_back && is_due(due); }

static bool may_read(void) { return !input_ended && input_bytes < sizeof input; }

static void read_input(void) {
  ssize_t count = read(STDIN_FILENO, input + input_bytes, sizeof input - input_bytes);
  if (count <= 0) input_ended = true;
  else input_bytes += (size_t)count;
}

static bool obey_next_line(void) {
  char line[LINE_BYTES];
  char *end = memchr(input, '\n', input_bytes);
  size_t bytes;
  if (end == NULL && input_bytes == sizeof input) exit(2);
  if (end == NULL) return false;
  bytes = (size_t)(end - input);
  memcpy(line, input, bytes);
  line[bytes] = '\0';
  input_bytes -= bytes + 1;
  memmove(input, end + 1, input_bytes);
  obey(line);
  return true;
}

/* Octets of the key; 0: there is none in this file. */
static size_t read_key(const char *name, uint8_t *key) {
  FILE *file = fopen(name, "r");
  size_t count = 0;
  unsigned octet;
  if (file == NULL) return 0;
  while (count < KEY_BYTES_MAX && fscanf(file, "%2x", &octet) == 1) key[count++] = (uint8_t)octet;
  fclose(file);
  return count;
}

static void receive_all(void) {
  uint8_t datagram[1500];
  for (;;) {
    ssize_t count = recv(udp, datagram, sizeof datagram, 0);
    if (count < 0 && errno == ECONNREFUSED) continue; /* nobody was there: the word of a datagram before */
    if (count < 0) return;
    mqttsn_dtls_receive(&dtls, datagram, (size_t)count, now_ms());
  }
}

static int milliseconds_to_wait(void) {
  uint32_t wait = WAIT_MS_MAX;
  if (mqttsn_wait(&client, now_ms()) < wait) wait = mqttsn_wait(&client, now_ms());
  if (mqttsn_dtls_wait(&dtls, now_ms()) < wait) wait = mqttsn_dtls_wait(&dtls, now_ms());
  if (!is_due(due) && due - now_ms() < wait) wait = due - now_ms();
  return (int)wait;
}

int main(int argc, char **argv) {
  uint8_t key[KEY_BYTES_MAX];
  mqttsn_dtls_config_t secure = {.key = key, .send = on_datagram, .deliver = on_message, .on_change = on_change, .random = on_random};
  mqttsn_config_t config = {.keep_alive_seconds = 60, .retry_seconds = 10, .retry_limit = 4, .congestion_seconds = 300,
                            .search_seconds = 5, .send = on_send, .on_event = on_event};
  mqttsn_dtls_result_t result;
  setvbuf(stdout, NULL, _IOLBF, 0);
  gateway.sin_family = AF_INET;
  if (argc < 5 || inet_pton(AF_INET, argv[3], &gateway.sin_addr) != 1 || (secure.key_bytes = read_key(argv[2], key)) < 16) {
    fprintf(stderr, "dtls_device IDENTITY KEY-FILE GATEWAY PORT [RETRY-SECONDS]\n");
    return 2;
  }
  gateway.sin_port = htons((uint16_t)atoi(argv[4]));
  if (argc > 5) config.retry_seconds = (uint16_t)atoi(argv[5]);
  secure.identity = config.client_id = argv[1];
  if (on_random(NULL, (unsigned char *)&config.seed, sizeof config.seed) != 0) return 1;
  open_socket();
  due = now_ms();
  mqttsn_init(&client, &config, now_ms());
  give_memory();
  result = mqttsn_dtls_init(&dtls, &secure, now_ms());
  memset(key, 0, sizeof key);
  if (result != MQTTSN_DTLS_OK) {
    fprintf(stderr, "mbed TLS: -0x%04x\n", (unsigned)-dtls.library_error);
    return 1;
  }
  while (!(input_ended && may_obey() && memchr(input, '\n', input_bytes) == NULL)) {
    struct pollfd ready[2] = {{.fd = udp, .events = POLLIN}, {.fd = may_read() ? STDIN_FILENO : -1, .events = POLLIN}};
    if (poll(ready, 2, milliseconds_to_wait()) > 0) {
      if (ready[0].revents != 0) receive_all();
      if (ready[1].revents != 0) read_input();
    }
    mqttsn_dtls_poll(&dtls, now_ms());
    mqttsn_poll(&client, now_ms());
    if (comes_back && is_due(due)) {
      comes_back = false;
      say_result(mqttsn_connect(&client, now_ms()));
    }
    while (may_obey() && obey_next_line()) continue;
  }
  mqttsn_dtls_close(&dtls, now_ms()); /* what was agreed on ends with this process */
  mqttsn_dtls_free(&dtls);
  say_memory();
  return 0;
}
