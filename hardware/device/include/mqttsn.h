/*
 * An MQTT-SN 1.2 client for microcontrollers, in C99: no heap, no threads, no clock and no socket inside. The caller gives
 * time and datagrams, and gets datagrams to send, events, and how long it may sleep.
 *
 * One client is one `mqttsn_t`, about 400 octets with the sizes below; nothing is shared between clients. Not for use from
 * an interrupt and the main program at once.
 *
 * Time is milliseconds of any clock that only goes forward; it may wrap around at 2^32. A wait is at most 24 days.
 */
#ifndef MQTTSN_H
#define MQTTSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sizes, set when compiling (-DMQTTSN_...=). */
#ifndef MQTTSN_MESSAGE_BYTES
#define MQTTSN_MESSAGE_BYTES 128 /* longest message that is sent, head included; what is received may be longer */
#endif
#ifndef MQTTSN_TOPICS
#define MQTTSN_TOPICS 4 /* topic names whose ids are remembered; beyond, places are given away in turn, and registered again */
#endif
#ifndef MQTTSN_TOPIC_BYTES
#define MQTTSN_TOPIC_BYTES 32 /* longest topic name */
#endif
#ifndef MQTTSN_GATEWAY_ADDRESS_BYTES
#define MQTTSN_GATEWAY_ADDRESS_BYTES 18 /* longest `gateway_address` */
#endif
#ifndef MQTTSN_TAKEN
#define MQTTSN_TAKEN 4 /* QoS 2 messages remembered as taken; beyond, the gateway hears "congestion" and comes again */
#endif

typedef enum {
  MQTTSN_OK = 0,
  MQTTSN_BUSY,        /* a request is under way; try again after its event */
  MQTTSN_WRONG_STATE, /* not while the client is in this state */
  MQTTSN_TOO_LONG,    /* for MQTTSN_MESSAGE_BYTES or MQTTSN_TOPIC_BYTES */
  MQTTSN_WRONG_TOPIC, /* an empty name, a name with a wildcard to publish to, or a name at QoS -1 */
} mqttsn_result_t;

/* The client's states, as the gateway sees them too. [MQTT-SN 1.2 §6.14] */
typedef enum { MQTTSN_DISCONNECTED = 0, MQTTSN_ACTIVE, MQTTSN_ASLEEP, MQTTSN_AWAKE } mqttsn_state_t;

/* [§5.3.10] */
enum {
  MQTTSN_ACCEPTED = 0,
  MQTTSN_CONGESTION = 1,
  MQTTSN_INVALID_TOPIC_ID = 2,
  MQTTSN_NOT_SUPPORTED = 3,
  /*
   * Not an answer of the gateway: the connection was lost during the request, and the next one could not continue it. Its result is not
   * known.
   */
  MQTTSN_INTERRUPTED = 255,
};

typedef enum {
  MQTTSN_TOPIC_NAME = 0,
  MQTTSN_TOPIC_PREDEFINED = 1,
  MQTTSN_TOPIC_SHORT = 2,
} mqttsn_topic_kind_t;

/* A topic in one of its three forms. Its name is looked at during the call only. */
typedef struct {
  mqttsn_topic_kind_t kind;
  uint16_t id;      /* predefined id, or the two characters of a short name, the first one high */
  const char *name; /* not terminated; NULL in an event when the name is not known */
  size_t name_bytes;
} mqttsn_topic_t;

mqttsn_topic_t mqttsn_name(const char *terminated);
mqttsn_topic_t mqttsn_predefined(uint16_t id);
mqttsn_topic_t mqttsn_short(char first, char second);

typedef struct {
  const char *topic; /* terminated */
  const uint8_t *payload;
  size_t payload_bytes;
  uint8_t qos; /* 0, 1 or 2 */
  bool retain;
} mqttsn_will_t;

typedef enum {
  MQTTSN_EVENT_GATEWAY,      /* a gateway was heard: `gateway`. The datagram's sender is its address, or `address` */
  MQTTSN_EVENT_GATEWAY_GONE, /* it has not advertised for N_ADV periods [§6.1] */
  MQTTSN_EVENT_CONNECTED,
  MQTTSN_EVENT_DISCONNECTED, /* `asked`: by mqttsn_disconnect. Otherwise the gateway said so, or does not answer */
  MQTTSN_EVENT_ASLEEP,       /* the gateway knows that we sleep */
  MQTTSN_EVENT_DRAINED,      /* asleep again: that was all that waited */
  MQTTSN_EVENT_PUBLISHED,    /* `msg_id`: at QoS 1 and 2 the gateway has it */
  MQTTSN_EVENT_SUBSCRIBED,   /* `msg_id`, `qos` as granted */
  MQTTSN_EVENT_UNSUBSCRIBED, /* `msg_id` */
  MQTTSN_EVENT_WILL_UPDATED, /* `msg_id` */
  MQTTSN_EVENT_CONGESTED,    /* the gateway asked for patience; the request is made again by itself */
  MQTTSN_EVENT_FAILED,       /* `msg_id` (0: the CONNECT), `return_code`: the gateway will not have it */
  MQTTSN_EVENT_MESSAGE,      /* `topic`, `payload`, `qos`, `retain`, `dup` */
} mqttsn_event_kind_t;

typedef struct {
  mqttsn_event_kind_t kind;
  uint16_t msg_id;
  uint8_t return_code;
  uint8_t qos;
  bool asked;
  bool retain;
  bool dup;
  uint8_t gateway;
  const uint8_t *address; /* GwAdd of a GWINFO that another client sent; NULL otherwise */
  size_t address_bytes;
  mqttsn_topic_t topic;
  const uint8_t *payload; /* valid during the call */
  size_t payload_bytes;
} mqttsn_event_t;

typedef enum { MQTTSN_TO_GATEWAY, MQTTSN_TO_EVERYBODY } mqttsn_to_t;

typedef struct {
  const char *client_id; /* 1 to 23 characters, terminated; must outlive the client */
  bool clean_session;
  uint16_t keep_alive_seconds;  /* 0: the gateway does not watch */
  const mqttsn_will_t *will;    /* or NULL; must outlive the client */
  uint16_t retry_seconds;       /* T_retry; the standard says 10 to 15 [§7.2] */
  uint8_t retry_limit;          /* N_retry; 3 to 5 */
  uint16_t congestion_seconds;  /* T_WAIT; the standard says more than 5 minutes */
  uint16_t search_seconds;      /* T_SEARCHGW: SEARCHGW leaves after a random part of it; 5 */
  uint32_t seed;                /* different in each device: it spreads SEARCHGW, and MsgIds after a loss of power */
  /* Of your gateway, in your network's form: other clients' SEARCHGW are answered with it. 0 octets: they are not. [§6.1] */
  const uint8_t *gateway_address;
  uint8_t gateway_address_bytes;
  uint8_t gateway_id;
  void *context;                /* handed to both functions */
  /* Sends one datagram; it may be lost. Called from within the functions below. `radius`: hops, with EVERYBODY only. */
  void (*send)(void *context, const uint8_t *bytes, size_t count, mqttsn_to_t to, uint8_t radius);
  /* Tells. From within it the functions below may be called. */
  void (*on_event)(void *context, const mqttsn_event_t *event);
} mqttsn_config_t;

/* The rest of this file's types are the client's own: their size matters, their content does not. */
typedef struct {
  uint16_t id; /* 0: not registered (any more) */
  uint8_t name_bytes;
  char name[MQTTSN_TOPIC_BYTES];
} mqttsn_topic_entry_t;

typedef struct {
  uint16_t msg_id; /* 0: free */
  bool released;
  uint8_t contents; /* a hash of topic id and payload: one in 256 others has the same */
  uint32_t at; /* taken, or released */
} mqttsn_taken_t;

typedef struct {
  mqttsn_config_t config;
  mqttsn_state_t state;
  uint16_t last_msg_id;
  uint32_t sent_at; /* the last datagram: keep-alive counts from here */

  /* CONNECT, DISCONNECT, PINGREQ: made from the configuration when they are sent. */
  struct {
    uint8_t kind;
    uint8_t stage;
    uint8_t tries;
    bool paused;
    uint8_t late_answers; /* to copies of the DISCONNECT that put it to sleep: until the next PINGRESP */
    uint16_t sleep_seconds;
    uint32_t due;
  } control;

  /* PUBLISH, SUBSCRIBE, UNSUBSCRIBE, WILLTOPICUPD, WILLMSGUPD: kept as it is sent. */
  struct {
    uint8_t kind;
    uint8_t stage;
    uint8_t tries;
    bool paused;
    bool sent;       /* at least once: the next time it is a repetition */
    bool resumed;    /* in another connection than it was sent in first */
    bool registered; /* again, after "invalid topic id" */
    uint8_t topic;   /* 1 + place in `topics`; 0: its topic needs no registration */
    uint16_t msg_id;
    uint16_t register_id;
    uint32_t due;
    uint32_t first_at; /* when it was sent first */
    uint16_t bytes;
    uint8_t message[MQTTSN_MESSAGE_BYTES];
  } exchange;

  mqttsn_topic_entry_t topics[MQTTSN_TOPICS];
  uint8_t next_topic; /* place that is given away next */
  mqttsn_taken_t taken[MQTTSN_TAKEN];

  bool searching;
  uint8_t search_radius;
  uint32_t search_due;
  uint32_t search_pause_ms;
  bool answers; /* GWINFO is due for somebody else's SEARCHGW */
  uint8_t answer_radius;
  uint32_t answer_due;
  uint32_t random;
  bool gateway_advertises;
  uint8_t gateway;
  uint32_t gateway_due;
} mqttsn_t;

/* Begins again. `config` is copied, what it points to is not. */
void mqttsn_init(mqttsn_t *client, const mqttsn_config_t *config, uint32_t now);

mqttsn_state_t mqttsn_state(const mqttsn_t *client);

/* No request is open: the next one is accepted. */
bool mqttsn_idle(const mqttsn_t *client);

/* A datagram came. What is no message, or not for a client, is passed over. */
void mqttsn_receive(mqttsn_t *client, const uint8_t *bytes, size_t count, uint32_t now);

/* To be called when `mqttsn_wait` milliseconds have passed; earlier or later does no harm. */
void mqttsn_poll(mqttsn_t *client, uint32_t now);

/* Milliseconds until `mqttsn_poll` has something to do; UINT32_MAX: only a datagram or a request will change anything. */
uint32_t mqttsn_wait(const mqttsn_t *client, uint32_t now);

/* Asks who is there; MQTTSN_EVENT_GATEWAY tells. Ever more seldom, until a gateway is heard or `mqttsn_connect`. [§6.1] */
mqttsn_result_t mqttsn_search(mqttsn_t *client, uint8_t radius, uint32_t now);

/* CONNECT, with the will of the configuration if there is one. From any state: out of sleep the session goes on, and what
 * waited is delivered. A request that was interrupted by the loss of the gateway goes on behind it, unless the gateway may have forgotten what
 * it already did: then MQTTSN_EVENT_FAILED with MQTTSN_INTERRUPTED. [§6.2, §6.3] */
mqttsn_result_t mqttsn_connect(mqttsn_t *client, uint32_t now);

/* DISCONNECT. [§6.12] */
mqttsn_result_t mqttsn_disconnect(mqttsn_t *client, uint32_t now);

/* DISCONNECT with a duration; MQTTSN_EVENT_ASLEEP follows, and until then the radio must stay on. [§6.14] */
mqttsn_result_t mqttsn_sleep(mqttsn_t *client, uint16_t seconds, uint32_t now);

/* PINGREQ with the client id: what waits comes now, MQTTSN_EVENT_DRAINED ends it. At least once per sleep duration. */
mqttsn_result_t mqttsn_wake(mqttsn_t *client, uint32_t now);

/* QoS 0, 1 or 2. A name is registered first where that is due. `*msg_id` (may be NULL) comes back in PUBLISHED or FAILED. At
 * QoS 0 PUBLISHED says that it was sent. [§6.5, §6.6] */
mqttsn_result_t mqttsn_publish(mqttsn_t *client, const mqttsn_topic_t *topic, uint8_t qos, bool retain,
                               const uint8_t *payload, size_t payload_bytes, uint16_t *msg_id, uint32_t now);

/* QoS -1: predefined or short topics, in any state, to nobody's acknowledgement. [§6.8] */
mqttsn_result_t mqttsn_publish_unconnected(mqttsn_t *client, const mqttsn_topic_t *topic, bool retain,
                                           const uint8_t *payload, size_t payload_bytes, uint32_t now);

/* Names may hold wildcards. [§6.9] */
mqttsn_result_t mqttsn_subscribe(mqttsn_t *client, const mqttsn_topic_t *topic, uint8_t qos, uint16_t *msg_id,
                                 uint32_t now);
mqttsn_result_t mqttsn_unsubscribe(mqttsn_t *client, const mqttsn_topic_t *topic, uint16_t *msg_id, uint32_t now);

/* The will at the gateway, not that of the configuration. `will` NULL: none any more. [§6.4] */
mqttsn_result_t mqttsn_update_will_topic(mqttsn_t *client, const mqttsn_will_t *will, uint16_t *msg_id, uint32_t now);
mqttsn_result_t mqttsn_update_will_message(mqttsn_t *client, const uint8_t *payload, size_t payload_bytes,
                                           uint16_t *msg_id, uint32_t now);

#endif
