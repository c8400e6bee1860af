/*
 * DTLS 1.2 with a pre-shared key, between the client of mqttsn.h and a UDP socket, by mbed TLS as the user has it: 2.28 or
 * 3.x. No socket and no clock inside: the caller gives time and datagrams, and gets datagrams to send, messages, and how
 * long it may sleep. Nothing here waits.
 *
 *   mqttsn_config_t.send -> mqttsn_dtls_send        config.send    -> the socket
 *   the socket -> mqttsn_dtls_receive               config.deliver -> mqttsn_receive
 *
 * The first message shakes hands, and waits meanwhile. What was agreed on then lasts, through sleep and restarts of the
 * gateway; with a connection id from any address. When the gateway does not know it any more it says nothing: a CONNECT
 * that is repeated because the last one had no answer shakes hands anew.
 *
 * Not for use from an interrupt and the main program at once. The same rules for time as in mqttsn.h.
 */
#ifndef MQTTSN_DTLS_H
#define MQTTSN_DTLS_H

#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mqttsn.h"

/* Sizes and times, set when compiling (-DMQTTSN_DTLS_...=). */
#ifndef MQTTSN_DTLS_RECEIVED_BYTES
#define MQTTSN_DTLS_RECEIVED_BYTES 256 /* longest message that is received; longer ones are dropped */
#endif
#ifndef MQTTSN_DTLS_DATAGRAM_BYTES
#define MQTTSN_DTLS_DATAGRAM_BYTES 1200 /* longest datagram that is sent; at least 200 */
#endif
#ifndef MQTTSN_DTLS_REPEAT_MS
#define MQTTSN_DTLS_REPEAT_MS 1000 /* a flight of the handshake is repeated after so long, then after twice that, … */
#endif
#ifndef MQTTSN_DTLS_REPEAT_MS_MAX
#define MQTTSN_DTLS_REPEAT_MS_MAX 16000 /* … and given up after this one: in all, 31 s without an answer */
#endif
#ifndef MQTTSN_DTLS_SUITES /* the first is preferred */
#define MQTTSN_DTLS_SUITES MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8
#endif

/* Connection ids as RFC 9146 has them. Up to 3.2 mbed TLS has those of a draft, which no gateway of ours knows. */
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID) && MBEDTLS_VERSION_NUMBER >= 0x03030000
#if !defined(MBEDTLS_SSL_DTLS_CONNECTION_ID_COMPAT) || MBEDTLS_SSL_DTLS_CONNECTION_ID_COMPAT == 0
#define MQTTSN_DTLS_HAS_CID
#endif
#endif

typedef enum {
  MQTTSN_DTLS_CLOSED = 0, /* the next message shakes hands */
  MQTTSN_DTLS_SHAKING,    /* the newest message waits */
  MQTTSN_DTLS_OPEN,
} mqttsn_dtls_state_t;

typedef enum {
  MQTTSN_DTLS_OK = 0,
  MQTTSN_DTLS_NO_ANSWER,  /* nobody answered the handshake: the gateway is not there, or the network */
  MQTTSN_DTLS_WRONG_KEY,  /* the gateway answered until the key was used, then no more: it has another key of this identity, or
                           * does not know the identity. It says nothing by design [RFC 4279 2], so this is concluded from
                           * silence: twice in a row it is the key, once it may be a network that loses much. A gateway whose
                           * disk is full looks the same, and who spoils a handshake on the way */
  MQTTSN_DTLS_REFUSED,    /* it said so, by `alert`: 40 no cipher suite in common, 70 no DTLS 1.2. Anybody on the way can say it */
  MQTTSN_DTLS_PUT_OUT,    /* what was agreed on was ended by the gateway: the key was taken away, or is another */
  MQTTSN_DTLS_GOODBYE,    /* … was ended by close_notify */
  MQTTSN_DTLS_TOO_LONG,   /* for MQTTSN_MESSAGE_BYTES or MQTTSN_DTLS_DATAGRAM_BYTES */
  MQTTSN_DTLS_TROUBLE,    /* of mbed TLS itself (no random octets): `library_error` */
  MQTTSN_DTLS_NO_MEMORY,  /* mbed TLS got less memory than it needs: give it more. `library_error` */
} mqttsn_dtls_result_t;

typedef struct {
  const char *identity; /* 1 to 128 octets, terminated */
  const uint8_t *key;   /* 16 to 64 octets, random; as many as MBEDTLS_PSK_MAX_LEN allows. Copied by `mqttsn_dtls_init` */
  size_t key_bytes;
  void *context;        /* handed to all of the functions */
  /* Sends one datagram to the gateway; it may be lost. */
  void (*send)(void *context, const uint8_t *bytes, size_t count);
  /* A message came, and it was the gateway's. To be handed to `mqttsn_receive`; `mqttsn_dtls_send` may be called from within. */
  void (*deliver)(void *context, const uint8_t *message, size_t bytes);
  /* The handshake is done (MQTTSN_DTLS_OK, `state` open), or it or what it agreed on is over (any other). To note only: from
   * within it none of the functions below may be called. */
  void (*on_change)(void *context, mqttsn_dtls_result_t result);
  /* Random octets that cannot be guessed, from the processor or the system. 0: done; otherwise the handshake fails. */
  int (*random)(void *context, unsigned char *to, size_t count);
} mqttsn_dtls_config_t;

/* Its content is its own, but for what a comment names. About 0.6 KB of its own, and what mbed TLS's two structures take. */
typedef struct {
  mqttsn_dtls_config_t config;
  mqttsn_dtls_state_t state; /* may be read */
  bool has_cid;              /* may be read when open: an address that changes does no harm */
  uint8_t alert;             /* may be read after MQTTSN_DTLS_REFUSED */
  int library_error;         /* may be read after MQTTSN_DTLS_TROUBLE and NO_MEMORY: mbed TLS's */
  bool key_used;             /* in this handshake */
  bool lacks_memory;         /* … so that what the key was used for may be wrong */
  bool heard;                /* since the handshake */
  uint8_t asked;             /* CONNECTs that left since something came */
  uint32_t now;
  bool timer_runs;
  uint32_t timer_at;
  uint32_t timer_between_ms;
  uint32_t timer_end_ms;
  const uint8_t *datagram; /* that is being received; NULL: none, or taken */
  size_t datagram_bytes;
  mbedtls_ssl_context ssl;
  mbedtls_ssl_config settings;
  uint16_t held_bytes; /* 0: no message waits for the handshake */
  uint8_t held[MQTTSN_MESSAGE_BYTES];
  uint8_t received[MQTTSN_DTLS_RECEIVED_BYTES];
} mqttsn_dtls_t;

/* Nothing is sent. What `config` points to, but for identity and key, must outlive it. Ends with `mqttsn_dtls_free` also where it failed. */
mqttsn_dtls_result_t mqttsn_dtls_init(mqttsn_dtls_t *dtls, const mqttsn_dtls_config_t *config, uint32_t now);
void mqttsn_dtls_free(mqttsn_dtls_t *dtls);

/* One message for the gateway. */
mqttsn_dtls_result_t mqttsn_dtls_send(mqttsn_dtls_t *dtls, const uint8_t *message, size_t bytes, uint32_t now);

/* A datagram that came from the gateway's address. */
void mqttsn_dtls_receive(mqttsn_dtls_t *dtls, const uint8_t *datagram, size_t bytes, uint32_t now);

/* To be called when `mqttsn_dtls_wait` milliseconds have passed; earlier or later does no harm. */
void mqttsn_dtls_poll(mqttsn_dtls_t *dtls, uint32_t now);

/* UINT32_MAX: only a datagram or a message will change anything. */
uint32_t mqttsn_dtls_wait(const mqttsn_dtls_t *dtls, uint32_t now);

/* The address of this device is, or may be, another one: it slept behind a router, or joined the network again. Without a
 * connection id the next message shakes hands first, and one that waits is dropped; with one there is nothing to do. */
void mqttsn_dtls_moved(mqttsn_dtls_t *dtls);

/* close_notify: the gateway deletes the state of DTLS. Do not call it before sleep. */
void mqttsn_dtls_close(mqttsn_dtls_t *dtls, uint32_t now);

#endif
