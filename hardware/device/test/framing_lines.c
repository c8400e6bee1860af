/* "now octets" a line, in hexadecimal the latter: what messages are complete with them, then how many were thrown away. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqttsn_framing.h"

enum { OCTETS_MAX = 8192 };

static void on_message(void *context, const uint8_t *message, size_t message_bytes) {
  (void)context;
  for (size_t i = 0; i < message_bytes; i++) (void)printf("%02x", message[i]);
  (void)putchar(' ');
}

int main(int count, char **arguments) {
  static char line[2 * OCTETS_MAX + 32];
  size_t room = count > 1 ? strtoul(arguments[1], NULL, 10) : 128;
  uint8_t *buffer = malloc(room);
  mqttsn_framing_t framing;
  if (buffer == NULL) return 1;
  mqttsn_framing_init(&framing, buffer, room, 2000);
  while (fgets(line, sizeof line, stdin) != NULL) {
    char *hex;
    uint32_t now = (uint32_t)strtoul(line, &hex, 10);
    size_t octets = (strlen(hex) - 1) / 2;
    uint8_t *bytes = malloc(octets > 0 ? octets : 1);
    if (bytes == NULL) return 1;
    hex++;
    for (size_t i = 0; i < octets; i++) {
      char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
      bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    mqttsn_framing_take(&framing, bytes, octets, now, on_message, NULL);
    (void)printf("%lu\n", (unsigned long)framing.discarded);
    free(bytes);
  }
  free(buffer);
  return 0;
}
