/* Messages and octets, every type that a client sends or receives. [MQTT-SN 1.2 §5] */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  ADVERTISE = 0x00,
  SEARCHGW = 0x01,
  GWINFO = 0x02,
  CONNECT = 0x04,
  CONNACK = 0x05,
  WILLTOPICREQ = 0x06,
  WILLTOPIC = 0x07,
  WILLMSGREQ = 0x08,
  WILLMSG = 0x09,
  REGISTER = 0x0A,
  REGACK = 0x0B,
  PUBLISH = 0x0C,
  PUBACK = 0x0D,
  PUBCOMP = 0x0E,
  PUBREC = 0x0F,
  PUBREL = 0x10,
  SUBSCRIBE = 0x12,
  SUBACK = 0x13,
  UNSUBSCRIBE = 0x14,
  UNSUBACK = 0x15,
  PINGREQ = 0x16,
  PINGRESP = 0x17,
  DISCONNECT = 0x18,
  WILLTOPICUPD = 0x1A,
  WILLTOPICRESP = 0x1B,
  WILLMSGUPD = 0x1C,
  WILLMSGRESP = 0x1D,
};

/* Flags. [§5.3.4] */
enum { FLAG_DUP = 0x80, FLAG_QOS = 0x60, FLAG_RETAIN = 0x10, FLAG_WILL = 0x08, FLAG_CLEAN = 0x04, FLAG_TOPIC = 0x03 };
enum { QOS_SHIFT = 5, QOS_MINUS_ONE = 3 };

typedef struct {
  uint8_t type;
  uint8_t flags;
  uint8_t code; /* return code, gateway id, radius, protocol id */
  uint16_t topic_id;
  uint16_t msg_id;
  uint16_t duration;
  bool is_short; /* the form without its optional part: an empty WILLTOPIC, a DISCONNECT without a duration */
  const uint8_t *rest; /* what the message ends with: a name, a payload, a client id */
  size_t rest_bytes;
} message_t;

/* Returns the size; 0: it does not fit. */
size_t sn_wire_encode(const message_t *message, uint8_t *to, size_t room);

/* Exactly one message, whole, of a size that its type may have. `rest` points into `bytes`. */
bool sn_wire_decode(const uint8_t *bytes, size_t count, message_t *message);

/* Octets of Length at the head of this message: 1 or 3. */
size_t sn_wire_length_bytes(const uint8_t *bytes);

#endif
