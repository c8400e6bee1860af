/* The board on a PC: time passes at once, what is sent is printed as hexadecimal digits, measurements are read
 * from standard input ("2137 2980", or "-" for a sensor that does not answer), and the kept number is in a file.
 *
 *   sensor FILE [KEY]
 *
 * FILE: for the kept number. KEY: 32 to 128 hexadecimal digits; without one the sensor is not authenticated. */
#include "../app/board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../app/app.h"

static const char *kept_file;
static uint32_t now_ms;
static bool at_end;

bool board_measure(measurement_t *measurement) {
  char line[32];
  long centidegrees;
  unsigned long millivolts;
  if (fgets(line, sizeof line, stdin) == NULL) {
    at_end = true;
    return false;
  }
  if (sscanf(line, "%ld %lu", &centidegrees, &millivolts) != 2) return false;
  measurement->centidegrees = (int16_t)centidegrees;
  measurement->millivolts = (uint16_t)millivolts;
  return true;
}

void board_advertise(const uint8_t *advertisement, size_t bytes, uint16_t interval_ms) {
  printf("%lu ms every %u ms ", (unsigned long)now_ms, (unsigned)interval_ms);
  for (size_t i = 0; i < bytes; i++) printf("%02x", advertisement[i]);
  printf("\n");
}

void board_quiet(void) { printf("%lu ms quiet\n", (unsigned long)now_ms); }

void board_sleep(uint32_t ms) {
  now_ms += ms;
  fflush(stdout);
}

uint32_t board_kept(void) {
  unsigned long number = 0;
  FILE *file = fopen(kept_file, "r");
  if (file == NULL) return 0;
  if (fscanf(file, "%lu", &number) != 1) number = 0;
  fclose(file);
  return (uint32_t)number;
}

bool board_keep(uint32_t number) {
  FILE *file = fopen(kept_file, "w");
  if (file == NULL) return false;
  fprintf(file, "%lu\n", (unsigned long)number);
  return fclose(file) == 0;
}

void board_address(uint8_t address[6]) {
  static const uint8_t mine[6] = {0xc0, 0x98, 0xe5, 0x00, 0x00, 0x01};
  memcpy(address, mine, sizeof mine);
}

uint16_t board_dice(void) { return 0xfffe; /* so that a short run shows the change from 65535 to 0 */ }

static size_t read_key(const char *text, uint8_t key[64]) {
  size_t count = strlen(text) / 2;
  if (count < 16 || count > 64) return 0;
  for (size_t i = 0; i < count; i++) {
    unsigned octet;
    if (sscanf(text + 2 * i, "%2x", &octet) != 1) return 0;
    key[i] = (uint8_t)octet;
  }
  return count;
}

int main(int argc, char **argv) {
  app_config_t config = {
      .sender = {.company_id = BROADCAST_COMPANY_TEST, .topic = 7},
      .measure_seconds = 60,
      .heartbeat_seconds = 600,
      .step_centidegrees = 10,
      .advertise_seconds = 5,
      .interval_ms = 1000,
  };
  uint8_t key[64];
  app_t app;
  if (argc < 2) {
    fprintf(stderr, "sensor FILE [KEY] <measurements\n");
    return 2;
  }
  kept_file = argv[1];
  if (argc > 2) {
    config.sender.key = key;
    config.sender.key_bytes = read_key(argv[2], key);
    if (config.sender.key_bytes == 0) {
      fprintf(stderr, "a key has 32 to 128 hexadecimal digits\n");
      return 2;
    }
  }
  app_start(&app, &config);
  while (!at_end) app_round(&app);
  return 0;
}
