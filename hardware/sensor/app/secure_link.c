#include "secure_link.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { KEY_BYTES_MIN = 16, KEY_BYTES_MAX = 64, DATAGRAM_BYTES = 1500 };

static secure_link_config_t settings;
static mqttsn_dtls_t dtls;
static struct sockaddr_in gateway;
static int udp = -1;

static void on_datagram(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  (void)!sendto(udp, bytes, count, 0, (const struct sockaddr *)&gateway, sizeof gateway);
}

static void on_message(void *context, const uint8_t *message, size_t bytes) {
  (void)context;
  settings.on_message(message, bytes);
}

static void on_change(void *context, mqttsn_dtls_result_t result) {
  (void)context;
  settings.on_change(result);
}

static int digit(char character) {
  const char *digits = "0123456789abcdef";
  const char *at = strchr(digits, character >= 'A' && character <= 'F' ? character - 'A' + 'a' : character);
  return at == NULL || character == '\0' ? -1 : (int)(at - digits);
}

/* Octets of the key; 0: it is none. */
static size_t read_key(const char *text, uint8_t *key) {
  size_t count = strlen(text) / 2;
  if (strlen(text) % 2 != 0 || count < KEY_BYTES_MIN || count > KEY_BYTES_MAX) return 0;
  for (size_t i = 0; i < count; i++) {
    int high = digit(text[2 * i]);
    int low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return 0;
    key[i] = (uint8_t)(high << 4 | low);
  }
  return count;
}

bool secure_link_open(const secure_link_config_t *config) {
  uint8_t key[KEY_BYTES_MAX];
  mqttsn_dtls_config_t secure = {
      .identity = config->identity, .key = key, .send = on_datagram, .deliver = on_message, .on_change = on_change, .random = config->random};
  mqttsn_dtls_result_t result;
  settings = *config;
  gateway.sin_family = AF_INET;
  gateway.sin_port = htons(config->port);
  secure.key_bytes = read_key(config->key, key);
  if (secure.key_bytes == 0 || inet_pton(AF_INET, config->gateway, &gateway.sin_addr) != 1) return false;
  result = mqttsn_dtls_init(&dtls, &secure, config->now());
  memset(key, 0, sizeof key);
  udp = socket(AF_INET, SOCK_DGRAM, 0);
  return result == MQTTSN_DTLS_OK && udp >= 0;
}

void secure_link_send(const uint8_t *message, size_t bytes) { (void)mqttsn_dtls_send(&dtls, message, bytes, settings.now()); }

void secure_link_wait(uint32_t ms) {
  static uint8_t datagram[DATAGRAM_BYTES];
  uint32_t wait = mqttsn_dtls_wait(&dtls, settings.now());
  struct timeval patience;
  struct sockaddr_in from;
  socklen_t from_bytes = sizeof from;
  ssize_t bytes;
  if (wait > ms) wait = ms;
  patience.tv_sec = (time_t)(wait / 1000);
  patience.tv_usec = (suseconds_t)(wait % 1000 * 1000 + 1000); /* none at all would be for ever */
  setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  bytes = recvfrom(udp, datagram, sizeof datagram, 0, (struct sockaddr *)&from, &from_bytes);
  if (bytes > 0 && from.sin_addr.s_addr == gateway.sin_addr.s_addr && from.sin_port == gateway.sin_port)
    mqttsn_dtls_receive(&dtls, datagram, (size_t)bytes, settings.now());
  mqttsn_dtls_poll(&dtls, settings.now());
}

void secure_link_moved(void) { mqttsn_dtls_moved(&dtls); }
