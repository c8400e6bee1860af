/* What the application wants of a board. zephyr/src/board.c does it on an nRF52, host/board.c on a PC. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  int16_t centidegrees; /* 2137: 21.37 degrees Celsius */
  uint16_t millivolts;  /* of the coin cell */
} measurement_t;

/* False: the sensor did not answer. */
bool board_measure(measurement_t *measurement);

/* Advertises, not connectable, at about this interval, until `board_quiet`. */
void board_advertise(const uint8_t *advertisement, size_t bytes, uint16_t interval_ms);
void board_quiet(void);

/* Sleeps. The radio goes on by itself. */
void board_sleep(uint32_t ms);

/* One number that survives a loss of power; 0 if none was ever stored. False: it could not be stored. */
uint32_t board_kept(void);
bool board_keep(uint32_t number);

/* A public or static random address, as it is written. It never changes. */
void board_address(uint8_t address[6]);

/* Anything, different at each start. */
uint16_t board_dice(void);

#endif
