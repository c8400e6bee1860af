/* mqttsn_dtls.h by mbed TLS 2.28 or 3.x. mbed TLS is called when something came or is due, and finds either the one datagram
 * that came or nothing; so none of its calls waits. */
#include <string.h>

#include "mqttsn_dtls.h"

#include <mbedtls/cipher.h>
#include <mbedtls/md.h>
#include <mbedtls/platform.h>

#if defined(MBEDTLS_USE_PSA_CRYPTO) || defined(MBEDTLS_SSL_PROTO_TLS1_3)
#include <psa/crypto.h>
#endif

#if !defined(MBEDTLS_SSL_PROTO_DTLS) || !defined(MBEDTLS_KEY_EXCHANGE_PSK_ENABLED)
#error "mbed TLS needs MBEDTLS_SSL_PROTO_DTLS and MBEDTLS_KEY_EXCHANGE_PSK_ENABLED"
#endif

enum { RECORD_HEAD_BYTES = 13, RECORD_LENGTH_AT = 11, RECORD_EPOCH_AT = 3, ALERT_BYTES = 2, FATAL = 2 };
enum { CONTENT_ALERT = 21 };
enum { CONNECT_TYPE = 0x04 };
/* For one datagram: of calls, each of which takes a record at least. */
enum { STEPS_MAX = 16 };
/* CONNECTs without an answer after which the context is not believed in any more: the repetition shakes hands. One in which
 * the gateway has never been heard was agreed on a moment ago, so that something else delays its answer. */
enum { DOUBT_WHEN_HEARD = 1, DOUBT_WHEN_NEW = 4 };

static const int suites[] = {MQTTSN_DTLS_SUITES, 0};

static uint32_t number_at(const uint8_t *bytes) { return (uint32_t)bytes[0] << 8 | bytes[1]; }

/* Once the key was used, silence means something else. */
static void note_key_use(mqttsn_dtls_t *dtls, const uint8_t *bytes, size_t count) {
  for (size_t at = 0; at + RECORD_HEAD_BYTES <= count; at += RECORD_HEAD_BYTES + number_at(bytes + at + RECORD_LENGTH_AT)) {
    if (number_at(bytes + at + RECORD_EPOCH_AT) == 0) continue;
    dtls->key_used = true;
    return; /* what follows may have the longer head of a connection id */
  }
}

/* What mbed TLS needs for Finished: a copy of its hash, then a working space and an HMAC. It does not look whether it got the
 * first, so that with too little memory its Finished is a wrong one, and silence follows as after a wrong key. */
static bool has_memory(void) {
  enum { WORKING_BYTES = 128 };
  const mbedtls_md_info_t *sha256 = mbedtls_md_info_from_type(MBEDTLS_MD_SHA256);
  mbedtls_md_context_t hash;
  void *space;
  bool is_enough;
  mbedtls_md_init(&hash);
  is_enough = mbedtls_md_setup(&hash, sha256, 0) == 0;
  mbedtls_md_free(&hash);
  space = mbedtls_calloc(1, WORKING_BYTES);
  mbedtls_md_init(&hash);
  is_enough = is_enough && space != NULL && mbedtls_md_setup(&hash, sha256, 1) == 0;
  mbedtls_md_free(&hash);
  mbedtls_free(space);
  return is_enough;
}

static int on_library_send(void *context, const unsigned char *bytes, size_t count) {
  mqttsn_dtls_t *dtls = context;
  if (dtls->state == MQTTSN_DTLS_SHAKING) {
    note_key_use(dtls, bytes, count);
    if (dtls->key_used && !has_memory()) dtls->lacks_memory = true;
  }
  dtls->config.send(dtls->config.context, bytes, count);
  return (int)count; /* one that is lost is repeated like any other */
}

static int on_library_receive(void *context, unsigned char *to, size_t room) {
  mqttsn_dtls_t *dtls = context;
  size_t count = dtls->datagram_bytes;
  if (dtls->datagram == NULL) return MBEDTLS_ERR_SSL_WANT_READ;
  if (count > room) count = room; /* and is then no record */
  memcpy(to, dtls->datagram, count);
  dtls->datagram = NULL;
  return (int)count;
}

static void on_library_timer(void *context, uint32_t between_ms, uint32_t end_ms) {
  mqttsn_dtls_t *dtls = context;
  dtls->timer_runs = end_ms != 0;
  dtls->timer_at = dtls->now;
  dtls->timer_between_ms = between_ms;
  dtls->timer_end_ms = end_ms;
}

static int library_timer(void *context) {
  const mqttsn_dtls_t *dtls = context;
  uint32_t passed = dtls->now - dtls->timer_at;
  if (!dtls->timer_runs) return -1;
  if (passed >= dtls->timer_end_ms) return 2;
  return passed >= dtls->timer_between_ms ? 1 : 0;
}

static int library_random(void *context, unsigned char *to, size_t count) {
  const mqttsn_dtls_t *dtls = context;
  return dtls->config.random(dtls->config.context, to, count);
}

/* What is kept of the context is mbed TLS's memory; nothing is sent in it any more. */
static void end(mqttsn_dtls_t *dtls, mqttsn_dtls_result_t result) {
  dtls->state = MQTTSN_DTLS_CLOSED;
  dtls->timer_runs = false;
  dtls->held_bytes = 0;
  dtls->datagram = NULL;
  dtls->config.on_change(dtls->config.context, result);
}

static bool is_of_memory(int error) {
  switch (error) {
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
    case MBEDTLS_ERR_MD_ALLOC_FAILED:
    case MBEDTLS_ERR_CIPHER_ALLOC_FAILED: return true;
    default: return false;
  }
}

/* The gateway's Finished is authentic and does not fit: it is our own hash that is wrong, for want of memory. */
static bool is_wrong_hash(int error) {
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
  return error == MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE;
#else
  return error == MBEDTLS_ERR_SSL_BAD_HS_FINISHED;
#endif
}

/* Before `end`, because mbed TLS's memory is checked in its present state. */
static void end_with(mqttsn_dtls_t *dtls, int error) {
  bool was_open = dtls->state == MQTTSN_DTLS_OPEN;
  bool lacked = !was_open && dtls->key_used && (dtls->lacks_memory || is_wrong_hash(error) || !has_memory());
  dtls->library_error = error;
  if (lacked || is_of_memory(error)) end(dtls, MQTTSN_DTLS_NO_MEMORY);
  else if (error == MBEDTLS_ERR_SSL_TIMEOUT) end(dtls, dtls->key_used ? MQTTSN_DTLS_WRONG_KEY : MQTTSN_DTLS_NO_ANSWER);
  else if (error == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) end(dtls, MQTTSN_DTLS_GOODBYE);
  else if (error != MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) end(dtls, MQTTSN_DTLS_TROUBLE);
  else end(dtls, was_open ? MQTTSN_DTLS_PUT_OUT : MQTTSN_DTLS_REFUSED);
}

/* The form with a Length of three octets is no CONNECT's: a client id has 23 at most. */
static bool is_connect(const uint8_t *message, size_t bytes) { return bytes > 1 && message[1] == CONNECT_TYPE; }

static mqttsn_dtls_result_t write_message(mqttsn_dtls_t *dtls, const uint8_t *message, size_t bytes) {
  int written = mbedtls_ssl_write(&dtls->ssl, message, bytes);
  if (written == (int)bytes) {
    if (is_connect(message, bytes) && dtls->asked < UINT8_MAX) dtls->asked++;
    return MQTTSN_DTLS_OK;
  }
  if (written == MBEDTLS_ERR_SSL_BAD_INPUT_DATA) return MQTTSN_DTLS_TOO_LONG;
  end_with(dtls, written);
  return is_of_memory(written) ? MQTTSN_DTLS_NO_MEMORY : MQTTSN_DTLS_TROUBLE;
}

static void opened(mqttsn_dtls_t *dtls) {
  size_t bytes = dtls->held_bytes;
  dtls->state = MQTTSN_DTLS_OPEN;
  dtls->timer_runs = false;
  dtls->heard = false;
  dtls->asked = 0;
  dtls->has_cid = false;
#ifdef MQTTSN_DTLS_HAS_CID
  {
    int enabled = MBEDTLS_SSL_CID_DISABLED;
    if (mbedtls_ssl_get_peer_cid(&dtls->ssl, &enabled, NULL, NULL) == 0) dtls->has_cid = enabled == MBEDTLS_SSL_CID_ENABLED;
  }
#endif
  dtls->held_bytes = 0;
  if (bytes > 0) (void)write_message(dtls, dtls->held, bytes);
  if (dtls->state == MQTTSN_DTLS_OPEN) dtls->config.on_change(dtls->config.context, MQTTSN_DTLS_OK);
}

/* Continues the handshake, as far as the received datagrams allow. */
static void shake(mqttsn_dtls_t *dtls) {
  int result = mbedtls_ssl_handshake(&dtls->ssl);
  if (result == 0) opened(dtls);
  else if (result != MBEDTLS_ERR_SSL_WANT_READ && result != MBEDTLS_ERR_SSL_WANT_WRITE) end_with(dtls, result);
}

static void start(mqttsn_dtls_t *dtls) {
  int result = mbedtls_ssl_session_reset(&dtls->ssl);
#ifdef MQTTSN_DTLS_HAS_CID
  /* In answers to us there is no need of one: this socket has one gateway. */
  if (result == 0) result = mbedtls_ssl_set_cid(&dtls->ssl, MBEDTLS_SSL_CID_ENABLED, (const unsigned char *)"", 0);
#endif
  dtls->state = MQTTSN_DTLS_SHAKING;
  dtls->key_used = false;
  dtls->lacks_memory = false;
  dtls->alert = 0;
  dtls->datagram = NULL;
  if (result != 0) end_with(dtls, result);
  else shake(dtls);
}

/* A message of which there was more than room is read to its end. */
static bool drop_rest(mqttsn_dtls_t *dtls) {
  bool longer = mbedtls_ssl_get_bytes_avail(&dtls->ssl) > 0;
  while (mbedtls_ssl_get_bytes_avail(&dtls->ssl) > 0) {
    if (mbedtls_ssl_read(&dtls->ssl, dtls->received, sizeof dtls->received) <= 0) break;
  }
  return longer;
}

static void read_all(mqttsn_dtls_t *dtls) {
  for (int steps = 0; steps < STEPS_MAX && dtls->state == MQTTSN_DTLS_OPEN; steps++) {
    int count = mbedtls_ssl_read(&dtls->ssl, dtls->received, sizeof dtls->received);
    if (count > 0) {
      dtls->heard = true;
      dtls->asked = 0;
      if (!drop_rest(dtls)) dtls->config.deliver(dtls->config.context, dtls->received, (size_t)count);
    } else if (count == MBEDTLS_ERR_SSL_WANT_READ || count == MBEDTLS_ERR_SSL_WANT_WRITE) {
      if (dtls->datagram == NULL) return;
    } else if (count != 0) {
      end_with(dtls, count);
      return;
    }
  }
}

static void only_dtls_1_2(mbedtls_ssl_config *settings) {
#if MBEDTLS_VERSION_NUMBER >= 0x03020000
  mbedtls_ssl_conf_min_tls_version(settings, MBEDTLS_SSL_VERSION_TLS1_2);
  mbedtls_ssl_conf_max_tls_version(settings, MBEDTLS_SSL_VERSION_TLS1_2);
#else
  mbedtls_ssl_conf_min_version(settings, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
  mbedtls_ssl_conf_max_version(settings, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
}

static mqttsn_dtls_result_t set_up(mqttsn_dtls_t *dtls) {
  mbedtls_ssl_config *settings = &dtls->settings;
  const mqttsn_dtls_config_t *config = &dtls->config;
  int result;
#if defined(MBEDTLS_USE_PSA_CRYPTO) || defined(MBEDTLS_SSL_PROTO_TLS1_3)
  if (psa_crypto_init() != PSA_SUCCESS) return MQTTSN_DTLS_TROUBLE;
#endif
  result = mbedtls_ssl_config_defaults(settings, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_DATAGRAM, MBEDTLS_SSL_PRESET_DEFAULT);
  if (result == 0) {
    only_dtls_1_2(settings);
    mbedtls_ssl_conf_ciphersuites(settings, suites);
    mbedtls_ssl_conf_handshake_timeout(settings, MQTTSN_DTLS_REPEAT_MS, MQTTSN_DTLS_REPEAT_MS_MAX);
    mbedtls_ssl_conf_rng(settings, library_random, dtls);
    result = mbedtls_ssl_conf_psk(settings, config->key, config->key_bytes, (const unsigned char *)config->identity,
                                  strlen(config->identity));
  }
#ifdef MQTTSN_DTLS_HAS_CID
  if (result == 0) result = mbedtls_ssl_conf_cid(settings, 0, MBEDTLS_SSL_UNEXPECTED_CID_IGNORE);
#endif
  if (result == 0) result = mbedtls_ssl_setup(&dtls->ssl, settings);
  if (result == 0) {
    mbedtls_ssl_set_mtu(&dtls->ssl, MQTTSN_DTLS_DATAGRAM_BYTES);
    mbedtls_ssl_set_bio(&dtls->ssl, dtls, on_library_send, on_library_receive, NULL);
    mbedtls_ssl_set_timer_cb(&dtls->ssl, dtls, on_library_timer, library_timer);
    /* They are mbed TLS's now, and the caller may wipe them. */
    dtls->config.key = NULL;
    dtls->config.identity = NULL;
  }
  dtls->library_error = result;
  if (result == 0) return MQTTSN_DTLS_OK;
  return is_of_memory(result) ? MQTTSN_DTLS_NO_MEMORY : MQTTSN_DTLS_TROUBLE;
}

mqttsn_dtls_result_t mqttsn_dtls_init(mqttsn_dtls_t *dtls, const mqttsn_dtls_config_t *config, uint32_t now) {
  memset(dtls, 0, sizeof *dtls);
  dtls->config = *config;
  dtls->now = now;
  mbedtls_ssl_init(&dtls->ssl);
  mbedtls_ssl_config_init(&dtls->settings);
  return set_up(dtls);
}

void mqttsn_dtls_free(mqttsn_dtls_t *dtls) {
  dtls->state = MQTTSN_DTLS_CLOSED;
  mbedtls_ssl_free(&dtls->ssl);
  mbedtls_ssl_config_free(&dtls->settings);
}

static bool believes(const mqttsn_dtls_t *dtls) {
  return dtls->state == MQTTSN_DTLS_OPEN && dtls->asked < (dtls->heard ? DOUBT_WHEN_HEARD : DOUBT_WHEN_NEW);
}

mqttsn_dtls_result_t mqttsn_dtls_send(mqttsn_dtls_t *dtls, const uint8_t *message, size_t bytes, uint32_t now) {
  dtls->now = now;
  if (bytes == 0 || bytes > sizeof dtls->held) return MQTTSN_DTLS_TOO_LONG;
  if (dtls->state == MQTTSN_DTLS_OPEN && (believes(dtls) || !is_connect(message, bytes))) return write_message(dtls, message, bytes);
  memcpy(dtls->held, message, bytes);
  dtls->held_bytes = (uint16_t)bytes;
  if (dtls->state != MQTTSN_DTLS_SHAKING) start(dtls);
  return MQTTSN_DTLS_OK;
}

/* What a refusal says is not in mbed TLS's answer: the alert itself is looked at, while nothing is sealed yet. */
static void note_alert(mqttsn_dtls_t *dtls, const uint8_t *datagram, size_t bytes) {
  if (bytes < RECORD_HEAD_BYTES + ALERT_BYTES || datagram[0] != CONTENT_ALERT || datagram[RECORD_HEAD_BYTES] != FATAL) return;
  dtls->alert = datagram[RECORD_HEAD_BYTES + 1];
}

void mqttsn_dtls_receive(mqttsn_dtls_t *dtls, const uint8_t *datagram, size_t bytes, uint32_t now) {
  dtls->now = now;
  if (dtls->state == MQTTSN_DTLS_CLOSED || bytes == 0) return;
  dtls->datagram = datagram;
  dtls->datagram_bytes = bytes;
  if (dtls->state == MQTTSN_DTLS_SHAKING) note_alert(dtls, datagram, bytes);
  /* Where a repetition is due it comes first, and the datagram is taken by the next call. */
  for (int steps = 0; steps < STEPS_MAX && dtls->state == MQTTSN_DTLS_SHAKING && dtls->datagram != NULL; steps++) shake(dtls);
  if (dtls->state == MQTTSN_DTLS_OPEN) read_all(dtls);
  dtls->datagram = NULL;
}

void mqttsn_dtls_poll(mqttsn_dtls_t *dtls, uint32_t now) {
  dtls->now = now;
  if (dtls->state == MQTTSN_DTLS_SHAKING && library_timer(dtls) == 2) shake(dtls);
}

uint32_t mqttsn_dtls_wait(const mqttsn_dtls_t *dtls, uint32_t now) {
  uint32_t passed = now - dtls->timer_at;
  if (dtls->state != MQTTSN_DTLS_SHAKING || !dtls->timer_runs) return UINT32_MAX;
  return passed >= dtls->timer_end_ms ? 0 : dtls->timer_end_ms - passed;
}

void mqttsn_dtls_moved(mqttsn_dtls_t *dtls) {
  if (dtls->state == MQTTSN_DTLS_OPEN && dtls->has_cid) return;
  dtls->state = MQTTSN_DTLS_CLOSED; /* a handshake under way was with the old address */
  dtls->timer_runs = false;
  dtls->held_bytes = 0;
}

void mqttsn_dtls_close(mqttsn_dtls_t *dtls, uint32_t now) {
  dtls->now = now;
  if (dtls->state == MQTTSN_DTLS_OPEN) (void)mbedtls_ssl_close_notify(&dtls->ssl);
  dtls->state = MQTTSN_DTLS_CLOSED;
  dtls->timer_runs = false;
  dtls->held_bytes = 0;
}
