/* A serial line, raw: 8 data bits, no echo, no line ends, nothing interpreted. Never blocks. */
#ifndef SERIAL_H
#define SERIAL_H

/* Opens it; -1 with errno. A speed that the system does not know is EINVAL. */
int serial_open(const char *path, long baud);

#endif
