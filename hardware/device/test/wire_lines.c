/* A datagram in hexadecimal a line: "bad", or the decoded fields and the message encoded from them. For the wire vectors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

enum { OCTETS_MAX = 66000 };

static void print_hex(const uint8_t *bytes, size_t count) {
  if (count == 0) (void)putchar('-');
  for (size_t i = 0; i < count; i++) (void)printf("%02x", bytes[i]);
}

int main(void) {
  static char line[2 * OCTETS_MAX + 2];
  static uint8_t encoded[OCTETS_MAX];
  while (fgets(line, sizeof line, stdin) != NULL) {
    size_t count = strlen(line) / 2;
    uint8_t *bytes = malloc(count > 0 ? count : 1); /* exactly as long, so that the sanitizer sees a step beyond */
    message_t message;
    if (bytes == NULL) return 1;
    for (size_t i = 0; i < count; i++) {
      char digits[3] = {line[2 * i], line[2 * i + 1], '\0'};
      bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    if (!sn_wire_decode(bytes, count, &message)) {
      (void)puts("bad");
    } else {
      (void)printf("%u %u %u %u %u %u %d ", message.type, message.flags, message.code, message.topic_id, message.msg_id,
                   message.duration, message.is_short);
      print_hex(message.rest, message.rest_bytes);
      (void)putchar(' ');
      print_hex(encoded, sn_wire_encode(&message, encoded, sizeof encoded));
      (void)putchar('\n');
    }
    free(bytes);
  }
  return 0;
}
