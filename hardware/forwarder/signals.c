#define _POSIX_C_SOURCE 200809L

#include "signals.h"

#include <stddef.h>

volatile sig_atomic_t signals_ending;
static volatile sig_atomic_t asked;

static void on_end(int signal_number) {
  (void)signal_number;
  signals_ending = 1;
}

static void on_ask(int signal_number) {
  (void)signal_number;
  asked = 1;
}

void signals_catch(void) {
  struct sigaction end = {.sa_handler = on_end}, ask = {.sa_handler = on_ask};
  sigaction(SIGTERM, &end, NULL);
  sigaction(SIGINT, &end, NULL);
  sigaction(SIGUSR1, &ask, NULL);
}

bool signals_asked(void) {
  bool was_asked = asked != 0;
  asked = 0;
  return was_asked;
}
