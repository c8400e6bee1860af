/* Signals of a program that runs until it is ended: SIGTERM and SIGINT end it, SIGUSR1 prints its counters. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/* To end. */
extern volatile sig_atomic_t signals_ending;

/* From now on; a system call that waits is interrupted. */
void signals_catch(void);

/* Was SIGUSR1 sent since the last call? */
bool signals_asked(void);

#endif
