#define _DEFAULT_SOURCE
#include "serial.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/file.h>
#include <termios.h>
#include <unistd.h>

static const struct {
  long baud;
  speed_t speed;
} speeds[] = {{1200, B1200},     {2400, B2400},     {4800, B4800},     {9600, B9600},     {19200, B19200},
              {38400, B38400},   {57600, B57600},   {115200, B115200}, {230400, B230400}, {460800, B460800},
              {500000, B500000}, {921600, B921600}, {1000000, B1000000}};

static int set_up(int fd, long baud) {
  struct termios line;
  size_t i = 0;
  while (i < sizeof speeds / sizeof *speeds && speeds[i].baud != baud) i++;
  if (i == sizeof speeds / sizeof *speeds) {
    errno = EINVAL;
    return -1;
  }
  /* Another program on the same line would take half of every message. */
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) return -1;
  if (tcgetattr(fd, &line) != 0) return -1;
  cfmakeraw(&line);
  line.c_cflag |= CLOCAL | CREAD;
  line.c_cflag &= ~(tcflag_t)(CSTOPB | CRTSCTS);
  line.c_cc[VMIN] = 1;
  line.c_cc[VTIME] = 0;
  cfsetispeed(&line, speeds[i].speed);
  cfsetospeed(&line, speeds[i].speed);
  if (tcsetattr(fd, TCSANOW, &line) != 0) return -1;
  return tcflush(fd, TCIFLUSH);
}

int serial_open(const char *path, long baud) {
  int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -1;
  if (set_up(fd, baud) != 0) {
    int why = errno;
    close(fd);
    errno = why;
    return -1;
  }
  return fd;
}
