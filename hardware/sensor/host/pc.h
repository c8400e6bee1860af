/* What the boards that are made of a PC have in common: its clock, and a radio, a thermometer and a lamp of words. */
#ifndef PC_H
#define PC_H

#include <stdbool.h>
#include <stdint.h>

/* Monotonic milliseconds, which wrap around. */
uint32_t pc_millis(void);

/* The last state that `board_radio` set; off at the start. */
bool pc_radio_is_on(void);

#endif
