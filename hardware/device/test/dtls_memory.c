/*
 * The port over an mbed TLS that gets too little memory: what the device is told. A device and mbed TLS's own server in one
 * process, on a time that stands still but for the timers of the handshake. The device may have ever more memory (`limit`), then each of its
 * allocations fails once (`once`); the linker puts `__wrap_calloc` in the place of calloc. As the gateway, the server says nothing where
 * it cannot open what came. Prints a line for each: `limit 2048: no memory`.
 */
#include <mbedtls/ssl_cookie.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqttsn.h"
#include "mqttsn_dtls.h"

#if defined(MBEDTLS_USE_PSA_CRYPTO) || defined(MBEDTLS_SSL_PROTO_TLS1_3)
#include <psa/crypto.h>
#endif

enum { DATAGRAM = 2048, PLACES = 16, LIMIT_STEP = 64, LIMIT_FINE = 3072, ROUNDS_MAX = 200, CONTENT_ALERT = 21 };
static const uint8_t key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* ---- memory that fails when it is told to */

static bool counts;        /* the device is running */
static long allocations;   /* of the device, in this run */
static long fails_at = -1; /* number of the one that fails */
static size_t limit;       /* octets that the device may have at a time; 0: as many as there are */
static size_t used, used_most;

/* Before each block. */
struct head {
  size_t size;
  bool is_device;
};
enum { HEAD_BYTES = 32 };

void *__real_calloc(size_t count, size_t size);
void __real_free(void *block);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *block);

void *__wrap_calloc(size_t count, size_t size) {
  uint8_t *block;
  size_t bytes = count * size;
  if (counts && (allocations++ == fails_at || (limit != 0 && used + bytes > limit))) return NULL;
  block = __real_calloc(1, HEAD_BYTES + bytes);
  if (block == NULL) return NULL;
  *(struct head *)block = (struct head){bytes, counts};
  if (counts) used += bytes;
  if (used > used_most) used_most = used;
  return block + HEAD_BYTES;
}

void __wrap_free(void *block) {
  struct head *head = block == NULL ? NULL : (struct head *)((uint8_t *)block - HEAD_BYTES);
  if (head != NULL && head->is_device) used -= head->size;
  __real_free(head);
}

/* ---- the way between them */

struct line {
  uint8_t bytes[PLACES][DATAGRAM];
  size_t lengths[PLACES];
  int first, count;
};
static struct line up, down;

static void put(struct line *line, const uint8_t *bytes, size_t count) {
  int place = (line->first + line->count) % PLACES;
  if (line->count == PLACES || count > DATAGRAM) return; /* lost */
  memcpy(line->bytes[place], bytes, count);
  line->lengths[place] = count;
  line->count++;
}

static size_t take(struct line *line, uint8_t *bytes) {
  size_t count = line->lengths[line->first];
  if (line->count == 0) return 0;
  memcpy(bytes, line->bytes[line->first], count);
  line->first = (line->first + 1) % PLACES;
  line->count--;
  return count;
}

static int some_random(void *context, unsigned char *to, size_t count) {
  (void)context;
  for (size_t i = 0; i < count; i++) to[i] = (unsigned char)rand();
  return 0;
}

/* ---- the server: its time never ends */

static mbedtls_ssl_context server;
static mbedtls_ssl_config server_settings;
static mbedtls_ssl_cookie_ctx cookies;
static bool server_open;

static int server_send(void *context, const unsigned char *bytes, size_t count) {
  (void)context;
  if (bytes[0] != CONTENT_ALERT) put(&down, bytes, count);
  return (int)count;
}
static int server_receive(void *context, unsigned char *to, size_t room) {
  uint8_t bytes[DATAGRAM];
  size_t count = take(&up, bytes);
  (void)context;
  if (count == 0) return MBEDTLS_ERR_SSL_WANT_READ;
  if (count > room) count = room;
  memcpy(to, bytes, count);
  return (int)count;
}
static void server_timer(void *context, uint32_t between_ms, uint32_t end_ms) { (void)context, (void)between_ms, (void)end_ms; }
static int server_time(void *context) { return (void)context, 0; }

static void must(int result, const char *what) {
  if (result == 0) return;
  fprintf(stderr, "%s: -0x%04x\n", what, (unsigned)-result);
  exit(1);
}

static void server_restart(void) {
  must(mbedtls_ssl_session_reset(&server), "reset");
  must(mbedtls_ssl_set_client_transport_id(&server, (const unsigned char *)"device", 6), "transport id");
  server_open = false;
}

static void server_start(void) {
  static bool is_made;
  if (!is_made) {
    mbedtls_ssl_init(&server);
    mbedtls_ssl_config_init(&server_settings);
    mbedtls_ssl_cookie_init(&cookies);
    must(mbedtls_ssl_config_defaults(&server_settings, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_DATAGRAM,
                                     MBEDTLS_SSL_PRESET_DEFAULT),
         "defaults");
    mbedtls_ssl_conf_rng(&server_settings, some_random, NULL);
    must(mbedtls_ssl_conf_psk(&server_settings, key, sizeof key, (const unsigned char *)"dev1", 4), "key");
    must(mbedtls_ssl_cookie_setup(&cookies, some_random, NULL), "cookies");
    mbedtls_ssl_conf_dtls_cookies(&server_settings, mbedtls_ssl_cookie_write, mbedtls_ssl_cookie_check, &cookies);
    must(mbedtls_ssl_setup(&server, &server_settings), "server");
    mbedtls_ssl_set_bio(&server, NULL, server_send, server_receive, NULL);
    mbedtls_ssl_set_timer_cb(&server, NULL, server_timer, server_time);
    is_made = true;
  }
  server_restart();
}

static void server_step(void) {
  uint8_t octets[64];
  int result = server_open ? mbedtls_ssl_read(&server, octets, sizeof octets) : mbedtls_ssl_handshake(&server);
  if (server_open) return;
  if (result == 0) server_open = true;
  else if (result != MBEDTLS_ERR_SSL_WANT_READ) server_restart(); /* a cookie was asked for, or the device gave up */
}

/* ---- the device */

static int told; /* -1: nothing yet */
static int told_error;
static mqttsn_dtls_t device;

static void on_send(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  put(&up, bytes, count);
}
static void on_message(void *context, const uint8_t *message, size_t bytes) { (void)context, (void)message, (void)bytes; }
static void on_change(void *context, mqttsn_dtls_result_t result) {
  (void)context;
  if (told < 0) told = (int)result, told_error = device.library_error;
}

/* Returns the result that the device was told, or that the first call returned. */
static int run(void) {
  static const uint8_t ping[2] = {2, 0x16};
  mqttsn_dtls_config_t config = {.identity = "dev1", .key = key, .key_bytes = sizeof key, .send = on_send,
                                 .deliver = on_message, .on_change = on_change, .random = some_random};
  uint32_t now = 0;
  uint8_t bytes[DATAGRAM];
  size_t count;
  mqttsn_dtls_result_t result;
  up.count = down.count = 0;
  allocations = 0;
  used_most = 0;
  told = -1;
  server_start();
  counts = true;
  told_error = 0;
  result = mqttsn_dtls_init(&device, &config, now);
  if (result != MQTTSN_DTLS_OK) told = (int)result, told_error = device.library_error;
  else (void)mqttsn_dtls_send(&device, ping, sizeof ping, now);
  for (int round = 0; round < ROUNDS_MAX && told < 0; round++) {
    counts = false;
    for (int steps = 0; steps < PLACES; steps++) server_step();
    counts = true;
    if (down.count == 0) {
      uint32_t wait = mqttsn_dtls_wait(&device, now);
      if (wait != UINT32_MAX) now += wait;
      mqttsn_dtls_poll(&device, now);
      continue;
    }
    while (told < 0 && (count = take(&down, bytes)) > 0) mqttsn_dtls_receive(&device, bytes, count, now);
  }
  counts = false;
  mqttsn_dtls_free(&device);
  return told;
}

static void say(const char *how, long number, int result) {
  static const char *const words[] = {"open", "no answer", "wrong key", "refused", "put out", "goodbye", "too long", "trouble",
                                      "no memory"};
  printf("%s %ld: %s", how, number, result < 0 ? "nothing" : words[result]);
  if (told_error != 0) printf(" -0x%04x", (unsigned)-told_error);
  printf("\n");
}

int main(void) {
  long all;
  size_t most;
#if defined(MBEDTLS_USE_PSA_CRYPTO) || defined(MBEDTLS_SSL_PROTO_TLS1_3)
  if (psa_crypto_init() != PSA_SUCCESS) return 1;
#endif
  say("enough", 0, run());
  all = allocations;
  most = used_most;
  if (used != 0) printf("left behind: %zu\n", used);
  /* Most of it is two buffers, which it gets first or not at all. */
  for (limit = LIMIT_STEP; limit < most - LIMIT_FINE; limit *= 2) say("limit", (long)limit, run());
  for (limit = most - LIMIT_FINE; limit < most + LIMIT_STEP; limit += LIMIT_STEP) say("limit", (long)limit, run());
  limit = 0;
  for (fails_at = 0; fails_at < all; fails_at++) say("once", fails_at, run());
  if (used != 0) printf("left behind: %zu\n", used);
  mbedtls_ssl_free(&server);
  mbedtls_ssl_config_free(&server_settings);
  mbedtls_ssl_cookie_free(&cookies);
  return 0;
}
