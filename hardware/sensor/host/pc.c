#include "pc.h"

#include <stdio.h>
#include <time.h>

#include "../app/board.h"

static bool radio_is_on;

uint32_t pc_millis(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint32_t)(time.tv_sec * 1000 + time.tv_nsec / 1000000);
}

bool pc_radio_is_on(void) { return radio_is_on; }

void board_radio(bool on) {
  radio_is_on = on;
  printf("radio %s\n", on ? "on" : "off");
}

bool board_measure(int16_t *centidegrees) {
  static int16_t warming = 2137;
  *centidegrees = warming++;
  return true;
}

void board_led(bool on) { printf("led %s\n", on ? "on" : "off"); }
