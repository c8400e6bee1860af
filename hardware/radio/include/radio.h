/*
 * A remote radio: a small board beside the sensors that carries their Bluetooth LE links and passes their messages to the
 * gateway and back, each in a forwarder encapsulation. [MQTT-SN 1.2 §5.5; docs/guide/ble-profile.md for the links]
 *
 * This is the application: which device to connect to, which link to end, which message belongs where. No heap, no thread,
 * no clock, no socket, no Bluetooth: the port gives it what happened and the time in milliseconds, and does what it asks for.
 * Call it from one thread. It keeps no sessions and repeats nothing: what is lost is repeated by the device or the gateway.
 */
#ifndef RADIO_H
#define RADIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mqttsn_framing.h"

/* Sizes, set when compiling. */
#ifndef RADIO_LINKS
#define RADIO_LINKS 4 /* at once; at most what the board's Bluetooth can do */
#endif
#ifndef RADIO_MESSAGE_BYTES
#define RADIO_MESSAGE_BYTES 256 /* the longest message, in both directions */
#endif
#ifndef RADIO_KNOWN
#define RADIO_KNOWN 32 /* advertisers that are remembered */
#endif
#ifndef RADIO_HELD
#define RADIO_HELD 8 /* messages for devices that have no link now */
#endif

enum {
  RADIO_ADDRESS_BYTES = 7,
  RADIO_HEAD_BYTES = 3 + RADIO_ADDRESS_BYTES,
  RADIO_DATAGRAM_BYTES = RADIO_HEAD_BYTES + RADIO_MESSAGE_BYTES,
  RADIO_TICK_MS = 100, /* radio_poll is called at least so often */
};

/* 0 public, 1 random; then the address as it is written, c0:98:... first. It is the device's node id at the gateway. */
typedef struct {
  uint8_t octets[RADIO_ADDRESS_BYTES];
} radio_address_t;

typedef enum {
  RADIO_CONNECTABLE,  /* an advertisement of a device that takes links */
  RADIO_SCAN_ANSWER,  /* its scan response: may name the service, does not say whether it takes links */
} radio_report_t;

typedef struct {
  uint8_t service[16];    /* devices that advertise it are connected to; low octet first, as it is sent by radio */
  uint32_t connect_ms;    /* from `connect` to radio_linked, at the longest */
  uint32_t hold_ms;       /* a message for a device without a link is kept for so long */
  uint32_t linger_ms;     /* after the gateway's DISCONNECT, or its PINGRESP to a sleeper, the link ends */
  uint32_t silent_ms;     /* a new link on which no MQTT-SN message comes ends */
  uint32_t turn_ms;       /* a link that was silent for so long is ended when others wait; */
  uint32_t turn_ms_max;   /* if there is none, one that is so old */
  uint32_t resync_ms;     /* a part of a message that does not go on is thrown away */
  void *context;          /* given to each of these */
  /* Connect, find the service, subscribe; then radio_linked. Or radio_unlinked: it did not succeed. */
  void (*connect)(void *context, const radio_address_t *device);
  /* End the link, or the attempt; then radio_unlinked. */
  void (*hang_up)(void *context, const radio_address_t *device);
  /* A whole message to a device, in as many writes as it takes, behind those before it. False: no room, it is lost. */
  bool (*write)(void *context, const radio_address_t *device, const uint8_t *message, size_t bytes);
  /* To the gateway: one datagram by UDP, or octets of a serial line. */
  void (*up)(void *context, const uint8_t *encapsulated, size_t bytes);
} radio_config_t;

typedef struct {
  uint32_t up, down;      /* messages passed on */
  uint32_t held;          /* of those, kept for a while first */
  uint32_t expired;       /* kept too long, or pushed out by others */
  uint32_t no_room;       /* `write` had no room */
  uint32_t too_long;      /* more than RADIO_MESSAGE_BYTES */
  uint32_t not_ours;      /* from the gateway, and not an encapsulation for a device of ours; ADVERTISE, say */
  uint32_t nested;        /* an encapsulation from a device: none is behind a device */
  uint32_t links, failed; /* links made; attempts that came to nothing */
  uint32_t turns;         /* links ended because others waited */
  uint32_t discarded;     /* octets of devices that were no message */
} radio_counts_t;

typedef enum { RADIO_FREE, RADIO_CONNECTING, RADIO_LINKED, RADIO_ENDING } radio_state_t;

typedef struct {
  radio_state_t state;
  radio_address_t device;
  uint32_t since;        /* of this state */
  uint32_t last_message; /* up or down */
  uint32_t linger_since;
  bool spoke;      /* an MQTT-SN message came on it */
  bool wakes;      /* a sleeper that asks for its messages */
  bool lingers;
  mqttsn_framing_t framing;
  uint8_t buffer[RADIO_MESSAGE_BYTES];
} radio_link_t;

typedef struct {
  bool used, connectable, has_service, waits;
  radio_address_t device;
  uint32_t seen_at, waits_since, rest_since, rest_ms;
  uint8_t failures;
} radio_known_t;

typedef struct {
  bool used;
  radio_address_t device;
  uint32_t since;
  size_t bytes;
  uint8_t message[RADIO_MESSAGE_BYTES];
} radio_held_t;

typedef struct {
  radio_config_t config;
  radio_link_t links[RADIO_LINKS];
  radio_known_t known[RADIO_KNOWN];
  radio_held_t held[RADIO_HELD]; /* oldest first */
  radio_counts_t counts;
} radio_t;

/* As docs/guide/ble-profile.md says, with the Nordic UART Service. The functions and `context` are yours to set. */
void radio_defaults(radio_config_t *config);

/* `config` is copied. */
void radio_init(radio_t *radio, const radio_config_t *config);

/* An advertisement was heard: its data, as it is sent by radio. */
void radio_seen(radio_t *radio, const radio_address_t *device, radio_report_t report, const uint8_t *data, size_t bytes,
                uint32_t now);

/* The link stands and the port has subscribed: messages can go both ways. */
void radio_linked(radio_t *radio, const radio_address_t *device, uint32_t now);

/* There is no link (any more), or an attempt came to nothing. Of a device that has none: nothing happens. */
void radio_unlinked(radio_t *radio, const radio_address_t *device, uint32_t now);

/* Octets came from a device: a notification, or an indication. */
void radio_octets(radio_t *radio, const radio_address_t *device, const uint8_t *octets, size_t count, uint32_t now);

/* From the gateway: one datagram, or one piece of a serial line. */
void radio_from_gateway(radio_t *radio, const uint8_t *datagram, size_t bytes, uint32_t now);

/* What is due by now; at least every RADIO_TICK_MS. */
void radio_poll(radio_t *radio, uint32_t now);

#endif
